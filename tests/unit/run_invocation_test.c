/* One run of a handler: the one way in which it ends, and what ends with it. */
#include "run_fixture.h"

static struct invocation *running(struct run_fixture *fx)
{
    assert_false(list_is_empty(&fx->function->invocations));
    return container_of(fx->function->invocations.next, struct invocation, in_function);
}

/* The deadline of what runs is now. */
static void let_time_pass(struct run_fixture *fx)
{
    struct invocation *inv = running(fx);
    inv->budget.deadline_ns = uv_hrtime();
    uv_timer_start(&inv->timer, inv->timer.timer_cb, 0, 0);
}

/* ---- ends ---- */

static void returned(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(
        fx, "return function() hold('a') hold('b') return {statusCode = 201, body = 'x'} end");
    ask(fx, &a);
    let_go("a");
    assert_false(a.answered);
    let_go("b");
    assert_answer(&a, 201, "x");
    assert_true(function_is_idle(fx->function));
}

static void raised(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "return function() local x <close> = setmetatable({}, {__close = function()\n"
                      "note('closed') end}) hold('a') error('boom') end");
    ask(fx, &a);
    let_go("a");
    assert_string_equal(holds.notes, "closed ");
    assert_answer(&a, 502, "\"errorMessage\":\"boom\"");
    assert_int_equal(fx->function->metrics->errors, 1);
}

static void past_its_deadline(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "return function() local x <close> = setmetatable({}, {__close = function()\n"
                      "note('closed') end}) hold('a') end");
    ask(fx, &a);
    let_time_pass(fx);
    wait_until(fx, &a.answered);
    assert_answer(&a, 504, "TimeoutError");
    assert_int_equal(holds.cancelled, 1);
    assert_string_equal(holds.notes, "closed ");
    assert_int_equal(fx->function->metrics->timeouts, 1);
    assert_true(function_is_idle(fx->function));
}

static void out_of_processor_time(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    assert_int_equal(budget_start(), 0);
    fx->spec.cpu = 0.05;
    load_function(
        fx, "return function() while true do pcall(function() while true do end end) end end");
    ask_and_wait(fx, &a);
    assert_answer(&a, 500, "CpuLimitExceeded");
    assert_int_equal(fx->function->metrics->cpu_limits, 1);
    assert_true(function_is_idle(fx->function));
}

static void its_client_leaves(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx,
                  "return function() after_response(function() note('never') end)\n"
                  "local x <close> = setmetatable({}, {__close = function() note('closed') end})\n"
                  "hold('a') end");
    ask(fx, &a);
    leave(&a);
    assert_int_equal(holds.cancelled, 1);
    assert_string_equal(holds.notes, "closed ");
    assert_int_equal(fx->function->metrics->cancelled, 1);
    assert_true(function_is_idle(fx->function));
}

/* ---- what must not outlive it ---- */

struct ending {
    struct invocation_ending ending;
    unsigned count;
};

static void on_ending(struct invocation_ending *ending)
{
    container_of(ending, struct ending, ending)->count++;
}

static void endings_come_once_however_it_ends(void **state)
{
    struct run_fixture *fx = *state;
    static const char *const ends[] = {"return", "raise", "leave", "time", "shutdown"};
    load_function(fx, "return function() hold('a') if hold('b') then error('x') end end");
    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct ending ending = {.ending = {.end = on_ending}};
        struct asked a;
        ask(fx, &a);
        list_init(&ending.ending.node);
        invocation_on_end(running(fx), &ending.ending);
        if (strcmp(ends[i], "leave") == 0) {
            leave(&a);
        } else if (strcmp(ends[i], "time") == 0) {
            let_time_pass(fx);
            wait_until(fx, &a.answered);
        } else if (strcmp(ends[i], "shutdown") == 0) {
            function_cancel_all(fx->function);
        } else {
            let_go("a");
            let_go("b");
        }
        if (a.ex != NULL)
            leave(&a);
        if (ending.count != 1)
            fail_msg("%s: %u", ends[i], ending.count);
    }
}

/* ---- after the answer ---- */

static void work_after_the_answer(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx,
                  "return function() after_response(function() hold('after') note('done') end)\n"
                  "return 'now' end");
    ask(fx, &a);
    assert_answer(&a, 200, "now");
    assert_false(function_is_idle(fx->function)); /* it has its slot still */
    while (holds.count == 0)
        uv_run(&fx->loop, UV_RUN_ONCE);
    let_go("after");
    assert_string_equal(holds.notes, "done ");
    assert_true(function_is_idle(fx->function));
}

static void work_after_the_answer_has_a_deadline_and_ends_at_a_shutdown(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(
        fx, "return function() after_response(function() hold('after') end) return 'now' end");
    for (int i = 0; i < 2; i++) {
        ask(fx, &a);
        assert_answer(&a, 200, "now");
        while (holds.count == 0)
            uv_run(&fx->loop, UV_RUN_ONCE);
        if (i == 0)
            let_time_pass(fx);
        else
            function_cancel_all(fx->function);
        while (!function_is_idle(fx->function))
            uv_run(&fx->loop, UV_RUN_ONCE);
        assert_int_equal(holds.cancelled, i + 1);
    }
}

static void no_work_after_a_failure(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    assert_int_equal(budget_start(), 0);
    fx->spec.cpu = 0.05;
    load_function(
        fx, "return function() after_response(function() note('never') end) while true do end end");
    ask_and_wait(fx, &a);
    assert_answer(&a, 500, "CpuLimitExceeded");
    assert_true(function_is_idle(fx->function));
    assert_string_equal(holds.notes, "");
}

/* ---- tasks beside the main one ---- */

static void side_by_side(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "return function() local x, y = parallel(function() return hold('a') end,\n"
                      "function() return hold('b') end) return x .. y end");
    ask(fx, &a);
    while (holds.count < 2)
        uv_run(&fx->loop, UV_RUN_ONCE);
    let_go("b");
    assert_false(a.answered);
    let_go("a");
    wait_until(fx, &a.answered);
    assert_answer(&a, 200, "ab");
}

static void the_first_error_ends_the_others(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, "return function() parallel(function() hold('a') error('first') end,\n"
                      "function() hold('b') note('never') end) end");
    ask(fx, &a);
    while (holds.count < 2)
        uv_run(&fx->loop, UV_RUN_ONCE);
    let_go("a");
    wait_until(fx, &a.answered);
    assert_answer(&a, 502, "first");
    assert_int_equal(holds.cancelled, 1);
    assert_string_equal(holds.notes, "");
}

/* ---- answers in pieces ---- */

#define STREAM(body)                                                                               \
    "return function() return {statusCode = 200, body = function(write) " body " end} end"

static void a_stream(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, STREAM("write('one ') hold('a') write('two')"));
    ask(fx, &a);
    assert_string_equal(a.stream, "one ");
    assert_int_equal(a.ex->res.status, 200);
    assert_false(a.answered);
    let_go("a");
    wait_until(fx, &a.answered);
    assert_string_equal(a.stream, "one two");
    assert_false(a.aborted);
    leave(&a);
}

static void a_stream_that_breaks(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, STREAM("write('one ') hold('a') error('boom')"));
    for (int i = 0; i < 2; i++) {
        ask(fx, &a);
        if (i == 0)
            let_go("a");
        else
            let_time_pass(fx);
        wait_until(fx, &a.answered);
        assert_true(a.aborted);
        assert_string_equal(a.stream, "one ");
        assert_int_equal(a.ex->res.status, 200); /* its head was out */
        leave(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_CASE(returned),
        RUN_CASE(raised),
        RUN_CASE(past_its_deadline),
        RUN_CASE(out_of_processor_time),
        RUN_CASE(its_client_leaves),
        RUN_CASE(endings_come_once_however_it_ends),
        RUN_CASE(work_after_the_answer),
        RUN_CASE(work_after_the_answer_has_a_deadline_and_ends_at_a_shutdown),
        RUN_CASE(no_work_after_a_failure),
        RUN_CASE(side_by_side),
        RUN_CASE(the_first_error_ends_the_others),
        RUN_CASE(a_stream),
        RUN_CASE(a_stream_that_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
