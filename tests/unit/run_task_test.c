/* Coroutines that the host runs: their ends, the pool that they come from, whose turn it is. */
#include "unit.h"

#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "lua_run.h"
#include "run/task.h"

enum { VMS = 3 };

static struct {
    uv_loop_t loop;
    struct vm *vms[VMS];
    struct budget budget;
    char log[256]; /* what ended, in order */
} world;

static int l_say(lua_State *L)
{
    size_t used = strlen(world.log);
    snprintf(world.log + used, sizeof(world.log) - used, "%s ", luaL_checkstring(L, 1));
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    assert_int_equal(budget_start(), 0);
    uv_loop_init(&world.loop);
    assert_int_equal(task_queue_open(&world.loop), 0);
    world.budget = (struct budget){.cpu_limit_ns = 5000000000u, .may_slice = true};
    for (int i = 0; i < VMS; i++) {
        world.vms[i] = script_vm(8 << 20);
        lua_pushcfunction(world.vms[i]->L, l_say);
        sandbox_set(world.vms[i]->L, "say");
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    task_queue_close();
    uv_run(&world.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < VMS; i++)
        vm_free(world.vms[i]);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    budget_stop();
    return 0;
}

static int last_status;

static void on_done(struct task *task, int status)
{
    last_status = status;
    if (status == LUA_OK && lua_gettop(task->co) > 0) {
        lua_pushcfunction(task->vm->L, l_say);
        lua_pushstring(task->vm->L, lua_tostring(task->co, 1));
        lua_call(task->vm->L, 1, 0);
    }
    task_free(task);
}

static struct task *task_of(int vm, struct budget *budget, const char *text)
{
    struct task *task = task_new(world.vms[vm], budget, on_done, NULL);
    assert_non_null(task);
    assert_int_equal(luaL_loadstring(task->co, text), LUA_OK);
    last_status = -1;
    return task;
}

static void run_queue(const char *wanted)
{
    while (strlen(world.log) < strlen(wanted))
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_string_equal(world.log, wanted);
}

/* ---- ends ---- */

static void returns_and_raises(void **state)
{
    (void)state;
    task_resume(task_of(0, &world.budget, "return 'a'"), 0);
    assert_int_equal(last_status, LUA_OK);
    task_resume(task_of(0, &world.budget,
                        "local x <close> = setmetatable({}, {__close = function()\n"
                        "say('closed') end}) error('b')"),
                0);
    assert_int_equal(last_status, LUA_ERRRUN);
    assert_string_equal(world.log, "a closed ");
    assert_int_equal(world.vms[0]->task_count, 0);
}

static void cancelled_before_it_runs(void **state)
{
    (void)state;
    struct task *task = task_of(0, &world.budget, "say('never')");
    task_enqueue(task);
    task_cancel(task);
    assert_int_equal(task->state, TASK_DONE);
    task_free(task);
    assert_true(list_is_empty(&world.vms[0]->queued));
    uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_string_equal(world.log, "");
    assert_int_equal(last_status, -1); /* nobody was told */
}

static void cancelled_between_slices(void **state)
{
    (void)state;
    struct task *task = task_of(0, &world.budget,
                                "local x <close> = setmetatable({}, {__close = function()\n"
                                "say('closed') end}) while true do end");
    task_resume(task, 0);
    assert_int_equal(task->state, TASK_QUEUED);
    task_cancel(task);
    task_free(task);
    assert_string_equal(world.log, "closed ");
}

static void unwinding_has_a_limit_of_its_own(void **state)
{
    (void)state;
    struct task *task = task_of(0, &world.budget,
                                "local x <close> = setmetatable({}, {__close = function()\n"
                                "while true do end end}) while true do end");
    task_resume(task, 0);
    double before = thread_ms();
    task_cancel(task);
    task_free(task);
    assert_true(thread_ms() - before < 1000 * slowness());
}

/* ---- the pool of coroutines ---- */

static void coroutines_are_used_again_but_for_those_that_were_killed(void **state)
{
    (void)state;
    struct task *task = task_of(0, &world.budget, "return 'a'");
    lua_State *co = task->co;
    task_resume(task, 0);
    assert_int_equal(world.vms[0]->idle_count, 1);
    task = task_of(0, &world.budget, "error('x')");
    assert_ptr_equal(task->co, co);
    task_resume(task, 0);
    assert_int_equal(world.vms[0]->idle_count, 1);
    struct budget small = {.cpu_limit_ns = 20000000, .may_slice = false};
    task = task_of(0, &small, "while true do end");
    assert_ptr_equal(task->co, co);
    task_resume(task, 0);
    assert_int_not_equal(last_status, LUA_OK);
    assert_int_equal(small.end, BUDGET_CPU);
    assert_int_equal(world.vms[0]->idle_count, 0); /* hooks may be off in it for good */
    task_resume(task_of(0, &world.budget, "return 'b'"), 0);
    assert_string_equal(world.log, "a b ");
}

/* ---- turns ---- */

static void in_the_order_of_the_queue(void **state)
{
    (void)state;
    task_enqueue(task_of(0, &world.budget, "return '1'"));
    task_enqueue(task_of(0, &world.budget, "return '2'"));
    task_enqueue(task_of(0, &world.budget, "return '3'"));
    run_queue("1 2 3 ");
}

static void who_burns_its_time_waits_behind_those_who_do_not(void **state)
{
    (void)state;
    struct task *burning = task_of(
        0, &world.budget, "local t = os.clock() while os.clock() - t < 0.2 do end return 'burnt'");
    task_resume(burning, 0);
    assert_int_equal(burning->state, TASK_QUEUED);
    task_enqueue(task_of(1, &world.budget, "return '1'"));
    task_enqueue(task_of(2, &world.budget, "return '2'"));
    run_queue("1 2 burnt ");
}

static void what_begins_late_in_a_turn_waits_for_the_next(void **state)
{
    (void)state;
    struct task *first = task_of(
        0, &world.budget, "local t = os.clock() while os.clock() - t < 0.05 do end return 'first'");
    task_start(first, 0); /* at once: nothing was spent */
    assert_int_not_equal(first->state, TASK_READY);
    struct task *second = task_of(1, &world.budget, "return 'second'");
    task_start(second, 0);
    assert_int_equal(second->state, TASK_QUEUED);
    while (strstr(world.log, "first") == NULL || strstr(world.log, "second") == NULL)
        uv_run(&world.loop, UV_RUN_ONCE);
    task_start(task_of(2, &world.budget, "return 'third'"), 0);
    while (strstr(world.log, "third") == NULL)
        uv_run(&world.loop, UV_RUN_ONCE);
}

static void on_last_done(struct task *task, int status)
{
    on_done(task, status);
    vm_free(world.vms[0]);
    world.vms[0] = NULL;
}

/* As an instance that nobody holds but what runs in it. */
static void a_state_may_go_with_its_last_task(void **state)
{
    (void)state;
    struct task *last = task_of(0, &world.budget, "return 'last'");
    last->done = on_last_done;
    task_enqueue(last);
    task_enqueue(task_of(1, &world.budget, "return 'other'"));
    run_queue("last other ");
    assert_null(world.vms[0]);
}

/* A run that burns its time in a state of 8 MB that holds so many, and one of the same state behind
 * it. */
static void run_two(size_t held, uint64_t cpu_ns_before, const char *wanted)
{
    struct budget used = world.budget;
    used.cpu_used_ns = cpu_ns_before;
    lua_newuserdatauv(world.vms[0]->L, held << 20, 0);
    task_start(
        task_of(0, &used, "local t = os.clock() while os.clock() - t < 0.2 do end return 'first'"),
        0);
    task_start(task_of(0, &world.budget, "return 'second'"), 0);
    run_queue(wanted);
    lua_pop(world.vms[0]->L, 1);
}

static void runs_of_one_state_take_turns(void **state)
{
    (void)state;
    run_two(0, 0, "second first ");
}

static void a_run_of_a_state_that_is_half_full_goes_ahead_to_its_end(void **state)
{
    (void)state;
    run_two(5, 0, "first second ");
}

static void but_not_for_ever(void **state)
{
    (void)state;
    run_two(5, LIMIT_AHEAD_MS * 1000000ull, "second first ");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(returns_and_raises),
        CASE(cancelled_before_it_runs),
        CASE(cancelled_between_slices),
        CASE(unwinding_has_a_limit_of_its_own),
        CASE(coroutines_are_used_again_but_for_those_that_were_killed),
        CASE(in_the_order_of_the_queue),
        CASE(who_burns_its_time_waits_behind_those_who_do_not),
        CASE(what_begins_late_in_a_turn_waits_for_the_next),
        CASE(a_state_may_go_with_its_last_task),
        CASE(runs_of_one_state_take_turns),
        CASE(a_run_of_a_state_that_is_half_full_goes_ahead_to_its_end),
        CASE(but_not_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
