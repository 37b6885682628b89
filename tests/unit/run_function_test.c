/* A function: its loads, generations, slots and queue, and its end. */
#include "run_fixture.h"

#define SAYS(text) "return function() return '" text "' end"
#define HOLDS      "return function() return hold('run') end"
#define SLOW_LOAD                                                                                  \
    "local x <close> = setmetatable({}, {__close = function() note('closed') end})\n"              \
    "hold('load') return function() return 'late' end"

/* ---- loading ---- */

/* What a run that waits has left behind is collected, and what it holds is not for long after. */
static void who_waits_leaves_no_garbage(void **state)
{
    struct run_fixture *fx = *state;
    struct asked asked;
    load_function(fx, "return function()\n"
                      "  local kept, waste = ('k'):rep(100000)\n"
                      "  for i = 1, 100 do waste = ('x'):rep(3000 + i) end\n"
                      "  waste = nil hold('run') return kept:sub(1, 1)\n"
                      "end");
    struct vm *vm = fx->function->current->vm;
    size_t before = vm->used;
    ask(fx, &asked);
    assert_int_equal(holds.count, 1);
    size_t most = vm->used;
    assert_true(most > before + 150000);
    while (vm->used > before + 120000)
        uv_run(&fx->loop, UV_RUN_ONCE);
    assert_true(vm->used > before + 50000); /* `kept`, less what the load had left */
    let_go("run");
    wait_until(fx, &asked.answered);
    while (vm->used > before + 20000)
        uv_run(&fx->loop, UV_RUN_ONCE);
    exchange_release(asked.ex);
}

static void a_load_at_once(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SAYS("one"));
    assert_int_equal(fx->told, 1);
    assert_null(fx->function->loading);
    assert_int_equal(fx->function->generation, 1);
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "one");
}

static void a_load_that_waits(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SLOW_LOAD);
    assert_int_equal(fx->told, 0);
    assert_non_null(fx->function->loading);
    ask(fx, &a);
    assert_false(a.answered);
    assert_false(function_is_idle(fx->function));
    let_go("load");
    assert_int_equal(fx->told, 1);
    assert_answer(&a, 200, "late");
    assert_true(function_is_idle(fx->function));
    assert_string_equal(holds.notes, "closed ");
}

static void a_change_while_it_loads(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SLOW_LOAD);
    script(fx, SAYS("two"));
    load(fx);
    load(fx);
    assert_int_equal(fx->told, 0);
    let_go("load");
    assert_int_equal(fx->told, 2); /* both changes in one load more */
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "two");
    assert_int_equal(fx->function->generation, 2);
}

static void what_does_not_load(void **state)
{
    struct run_fixture *fx = *state;
    static const char *const texts[] = {"return function(",
                                        "error('no')",
                                        "return 5",
                                        "error({})",
                                        "hold('load') error('later')",
                                        "return { handler = function() end, timeout = 'soon' }"};
    struct asked a;
    load_function(fx, "return nil");
    assert_true(fx->function->failed);
    ask_and_wait(fx, &a);
    assert_answer(&a, 500, "LoadError");
    script(fx, SAYS("good"));
    load(fx);
    assert_false(fx->function->failed);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        unsigned told = fx->told;
        script(fx, texts[i]);
        load(fx);
        if (fx->function->loading != NULL)
            let_go("load");
        assert_int_equal(fx->told, told + 1);
        assert_true(fx->function->failed);
        assert_non_null(strstr(fx->function->error.text, "f.lua"));
        assert_int_equal(fx->function->generation, 1);
        ask_and_wait(fx, &a);
        assert_answer(&a, 200, "good");
    }
}

static void a_load_that_takes_too_long_fails(void **state)
{
    struct run_fixture *fx = *state;
    load_function(fx, SLOW_LOAD);
    uv_timer_t *timer = &fx->function->loading->load_timer;
    assert_true(uv_timer_get_due_in(timer) > (uint64_t)(LIMIT_FN_LOAD_TIMEOUT * 900));
    uv_timer_start(timer, timer->timer_cb, 0, 0); /* that time is over */
    while (fx->told == 0)
        uv_run(&fx->loop, UV_RUN_ONCE);
    assert_true(fx->function->failed);
    assert_non_null(strstr(fx->function->error.text, "loading took longer than"));
    assert_int_equal(holds.cancelled, 1);
    assert_string_equal(holds.notes, "closed ");
}

/* ---- in the place of another one ---- */

static struct function *succeed(struct run_fixture *fx)
{
    struct function *before = fx->function;
    fx->function = function_new(&fx->spec, &fx->services, run_bindings, before);
    assert_non_null(fx->function);
    fx->function->owner = fx;
    fx->function->on_loaded = run_told;
    return before;
}

static void what_served_is_made_again_under_the_new_spec(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "return function(e, c) return 'good ' .. c.functionVersion .. ' ' ..\n"
                      "c.memoryLimitInMB end");
    script(fx, "return function(");
    fx->spec.memory = 16 << 20;
    struct function *before = succeed(fx);
    load(fx);
    assert_int_equal(fx->told, 2); /* once, when both loads were over */
    assert_true(fx->function->failed);
    assert_non_null(strstr(fx->function->error.text, "f.lua:1"));
    assert_true(origin_changed(before->origin) && !origin_changed(fx->function->origin));
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "good 2 16");
    function_free(before);
    script(fx, SAYS("mended"));
    load(fx);
    assert_false(fx->function->failed);
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "mended");
}

static void what_served_is_made_again_and_waits(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SLOW_LOAD);
    let_go("load");
    script(fx, "return 5");
    struct function *before = succeed(fx);
    load(fx);
    ask(fx, &a);
    assert_int_equal(fx->told, 1);
    let_go("load");
    assert_int_equal(fx->told, 2);
    assert_answer(&a, 200, "late");
    assert_true(fx->function->failed);
    function_free(before);
}

static int refuse(struct function *function, struct instance *instance, struct err *err)
{
    (void)function;
    (void)instance;
    return err_set(err, -1, "there is no issuer");
}

/* The same files under another spec: what they do not load under is not the files' fault. */
static void the_same_files_are_not_tried_twice(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "note('load') return function() return 'x' end");
    struct function *before = succeed(fx);
    fx->function->prepare = refuse;
    load(fx);
    assert_string_equal(holds.notes, "load load ");
    assert_int_equal(fx->told, 2);
    assert_true(fx->function->failed);
    assert_null(fx->function->current);
    ask(fx, &a);
    assert_answer(&a, 500, "LoadError");
    function_free(before);
}

static void both_fail(void **state)
{
    struct run_fixture *fx = *state;
    load_function(fx, "note('load') return function() return 'x' end");
    script(fx, "error('new')");
    struct function *before = succeed(fx);
    fx->function->prepare = refuse;
    load(fx);
    assert_string_equal(holds.notes, "load load ");
    assert_int_equal(fx->told, 2);
    assert_null(fx->function->current);
    assert_true(fx->function->failed);
    assert_non_null(strstr(fx->function->error.text, "new")); /* the files' fault is told */
    function_free(before);
}

/* ---- a load ends with its function ---- */

static void the_end_while_it_loads(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SLOW_LOAD);
    ask(fx, &a);
    function_cancel_all(fx->function);
    assert_answer(&a, 503, "Cancelled");
    assert_null(fx->function->loading);
    assert_int_equal(holds.cancelled, 1);
    assert_string_equal(holds.notes, "closed ");
    assert_int_equal(fx->told, 0);
    assert_true(function_is_idle(fx->function));
}

static void the_end_while_it_loads_again(void **state)
{
    struct run_fixture *fx = *state;
    load_function(fx, SAYS("one"));
    script(fx, SLOW_LOAD);
    load(fx);
    load(fx);                                    /* and once more after that */
    assert_true(function_is_idle(fx->function)); /* nobody waits for it */
    function_cancel_all(fx->function);
    assert_int_equal(holds.begun, 1);
    assert_int_equal(holds.cancelled, 1);
    assert_int_equal(fx->told, 1);
}

static void what_unwinds_may_not_wait(void **state)
{
    struct run_fixture *fx = *state;
    load_function(fx, "local x <close> = setmetatable({}, {__close = function()\n"
                      "  note('closed') hold('again') note('never') end}) hold('load')");
    function_cancel_all(fx->function);
    assert_string_equal(holds.notes, "closed ");
    assert_int_equal(holds.count, 0);
}

static void freed_while_it_loads(void **state)
{
    struct run_fixture *fx = *state;
    load_function(fx, SLOW_LOAD);
    function_free(fx->function);
    fx->function = NULL;
    assert_int_equal(holds.cancelled, 1);
    assert_int_equal(fx->told, 0);
}

static void nothing_begins_after_the_end(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SAYS("one"));
    assert_true(function_accepts(fx->function));
    function_cancel_all(fx->function);
    assert_false(function_accepts(fx->function));
    load(fx);
    assert_int_equal(fx->told, 1);
    ask_and_wait(fx, &a);
    assert_answer(&a, 503, "Cancelled");
}

/* The run's state is spoiled; at any other time that loads a new one. */
static void a_spoiled_state_at_the_end(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "return function() after_response(function() hold('after') end)\n"
                      "local s = 'x' while true do s = s .. s end end");
    ask_and_wait(fx, &a);
    assert_answer(&a, 500, "MemoryLimitExceeded");
    assert_int_equal(fx->told, 2);
    assert_int_equal(fx->function->generation, 1); /* the version is the same */
    function_cancel_all(fx->function);
    assert_int_equal(fx->told, 2);
}

/* ---- slots ---- */

static void slots_then_queue_then_refusal(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a[5];
    load_function(fx, HOLDS);
    for (int i = 0; i < 5; i++)
        ask(fx, &a[i]);
    assert_int_equal(fx->function->running, 2);
    assert_int_equal(fx->function->queued, 2);
    assert_false(function_accepts(fx->function));
    assert_non_null(headers_get(&a[4].ex->res.headers, STR("retry-after")));
    assert_answer(&a[4], 503, "no_free_slot");
    for (int i = 0; i < 4; i++) {
        let_go("run");
        assert_true(function_accepts(fx->function));
    }
    for (int i = 0; i < 4; i++)
        assert_answer(&a[i], 200, "run");
    assert_true(function_is_idle(fx->function));
    assert_int_equal(fx->function->metrics->no_slot, 1);
    assert_int_equal(fx->function->metrics->requests, 5);
}

static void clients_that_leave(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a[4];
    load_function(fx, HOLDS);
    for (int i = 0; i < 4; i++)
        ask(fx, &a[i]);
    leave(&a[3]); /* it waited */
    assert_int_equal(fx->function->queued, 1);
    leave(&a[0]); /* it ran: its slot is the next one's */
    assert_int_equal(holds.cancelled, 1);
    assert_int_equal(fx->function->queued, 0);
    assert_int_equal(fx->function->running, 2);
    let_go("run");
    let_go("run");
    assert_answer(&a[1], 200, "run");
    assert_answer(&a[2], 200, "run");
    assert_int_equal(fx->function->metrics->cancelled, 2);
}

static void the_end_of_all_that_runs_and_waits(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a[4];
    load_function(fx, HOLDS);
    for (int i = 0; i < 4; i++)
        ask(fx, &a[i]);
    function_cancel_all(fx->function);
    for (int i = 0; i < 4; i++)
        assert_answer(&a[i], 503, "Cancelled");
    assert_int_equal(holds.cancelled, 2);
    assert_true(function_is_idle(fx->function));
}

static void suspended(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, SAYS("one"));
    fx->function->suspended = true;
    assert_false(function_accepts(fx->function));
    ask_and_wait(fx, &a);
    assert_answer(&a, 503, "function_suspended");
    load(fx); /* its files changed */
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "one");
}

/* ---- generations ---- */

static void what_runs_ends_on_its_own_generation(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a, b;
    load_function(fx, "return function(e, c) hold('run') return 'old ' .. c.functionVersion end");
    ask(fx, &a);
    script(fx, "return function(e, c) return 'new ' .. c.functionVersion end");
    load(fx);
    ask_and_wait(fx, &b);
    assert_answer(&b, 200, "new 2");
    let_go("run");
    assert_int_equal(a.ex->generation, 1);
    assert_answer(&a, 200, "old 1");
}

static void a_generation_that_fails_at_once_is_taken_back(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    fx->spec.rollback = 2;
    load_function(fx, SAYS("good"));
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "good");
    script(fx, "return function() error('bad') end");
    load(fx);
    for (int i = 0; i < 2; i++) {
        ask_and_wait(fx, &a);
        assert_answer(&a, 502, "bad");
    }
    assert_true(fx->function->failed);
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "good");
    assert_int_equal(fx->function->metrics->rollbacks, 1);
    script(fx, "return function() return 'better' end");
    load(fx);
    ask_and_wait(fx, &a);
    assert_answer(&a, 200, "better");
    assert_null(fx->function->fallback);
    assert_int_equal(fx->function->generation, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_CASE(who_waits_leaves_no_garbage),
        RUN_CASE(a_load_at_once),
        RUN_CASE(a_load_that_waits),
        RUN_CASE(a_change_while_it_loads),
        RUN_CASE(what_does_not_load),
        RUN_CASE(a_load_that_takes_too_long_fails),
        RUN_CASE(what_served_is_made_again_under_the_new_spec),
        RUN_CASE(what_served_is_made_again_and_waits),
        RUN_CASE(the_same_files_are_not_tried_twice),
        RUN_CASE(both_fail),
        RUN_CASE(the_end_while_it_loads),
        RUN_CASE(the_end_while_it_loads_again),
        RUN_CASE(what_unwinds_may_not_wait),
        RUN_CASE(freed_while_it_loads),
        RUN_CASE(nothing_begins_after_the_end),
        RUN_CASE(a_spoiled_state_at_the_end),
        RUN_CASE(slots_then_queue_then_refusal),
        RUN_CASE(clients_that_leave),
        RUN_CASE(the_end_of_all_that_runs_and_waits),
        RUN_CASE(suspended),
        RUN_CASE(what_runs_ends_on_its_own_generation),
        RUN_CASE(a_generation_that_fails_at_once_is_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
