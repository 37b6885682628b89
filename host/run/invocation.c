/* One run of a handler, from the free slot to the answer and the work after it.
 *
 *     invocation_start -> l_entry (in the coroutine) -> handler -> entry_done -> on_main_done ->
 * answer -> after -> finish
 *
 * A streamed answer leaves from entry_done, whose coroutine then runs the body (stream.c).
 *
 * A deadline, a client that leaves and a shutdown all come in through invocation_cancel. */
#include "run/invocation.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/limits.h"
#include "journal/hook.h"
#include "run/event.h"
#include "run/outcome.h"
#include "http/websocket.h"
#include "run/stream.h"
#include "run/websocket.h"

/* Invocations are kept for the next request: each holds a timer handle, whose closing would take a
 * turn of the loop. */
static struct {
    uv_loop_t *loop;
    struct invocation *free[256];
    unsigned count;
} pool;

static void run_after(struct invocation *inv);
static void on_timer(uv_timer_t *timer);

/* ---- pool ---- */

void invocation_pool_open(uv_loop_t *loop)
{
    pool.loop = loop;
    pool.count = 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(container_of((uv_timer_t *)handle, struct invocation, timer));
}

static void drop(struct invocation *inv)
{
    uv_close((uv_handle_t *)&inv->timer, on_timer_closed);
}

void invocation_pool_close(void)
{
    while (pool.count > 0)
        drop(pool.free[--pool.count]);
    pool.loop = NULL;
}

static struct invocation *take(void)
{
    if (pool.count > 0)
        return pool.free[--pool.count];
    struct invocation *inv = calloc(1, sizeof(*inv));
    if (inv == NULL)
        return NULL;
    uv_timer_init(pool.loop, &inv->timer);
    inv->on_timer = on_timer;
    return inv;
}

static void give_back(struct invocation *inv)
{
    uv_timer_stop(&inv->timer);
    if (pool.loop != NULL && pool.count < sizeof(pool.free) / sizeof(pool.free[0]))
        pool.free[pool.count++] = inv;
    else
        drop(inv);
}

/* ---- the end ---- */

static void cancel_tasks(struct invocation *inv)
{
    while (!list_is_empty(&inv->tasks)) {
        struct task *task = container_of(inv->tasks.next, struct task, siblings);
        task_cancel(task);
        task_free(task);
    }
    inv->main = NULL;
}

void invocation_on_end(struct invocation *inv, struct invocation_ending *ending)
{
    list_push(&inv->endings, &ending->node);
}

static void run_endings(struct invocation *inv)
{
    while (!list_is_empty(&inv->endings)) {
        struct invocation_ending *ending =
            container_of(inv->endings.next, struct invocation_ending, node);
        list_remove(&ending->node);
        ending->end(ending);
    }
}

static void tell_end(struct invocation *inv)
{
    struct hook *hook = inv->ex->hook;
    const struct vm *vm = inv->instance->vm;
    const struct hook_end end = {.cpu_ns = inv->budget.cpu_used_ns,
                                 .memory = vm->used,
                                 .memory_limit = vm->limit,
                                 .seed = vm->seed};
    hook->type->ended(hook, &end);
}

static void finish(struct invocation *inv)
{
    struct function *function = inv->function;
    const struct invocation_owner *owner = inv->owner;
    bool spoiled = inv->budget.end == BUDGET_MEMORY && function->current == inv->instance;
    cancel_tasks(inv);
    run_endings(inv);
    event_release(inv->instance->vm->L, inv->slot);
    for (unsigned i = 0; i < inv->after_count; i++)
        luaL_unref(inv->instance->vm->L, LUA_REGISTRYINDEX, inv->after[i]);
    function->metrics->cpu_ns += inv->budget.cpu_used_ns;
    if (inv->ex->hook != NULL)
        tell_end(inv);
    claims_unref(inv->call->claims);
    if (spoiled)
        lua_gc(inv->instance->vm->L, LUA_GCCOLLECT, 0); /* its room is for the state that follows */
    instance_unref(inv->instance);
    exchange_release(inv->ex);
    list_remove(&inv->in_function);
    give_back(inv);
    owner->on_end(function, spoiled);
}

static void answer(struct invocation *inv)
{
    if (inv->answered)
        return;
    inv->answered = true;
    inv->ex->on_gone = NULL;
    inv->ex->owner = NULL;
    exchange_answer(inv->ex);
}

/* ---- deadline ---- */

void invocation_stand(struct invocation *inv)
{
    uint64_t left = invocation_left(inv);
    if (inv->standing++ > 0)
        return;
    inv->left_ns = left;
    inv->budget.deadline_ns = 0;
    invocation_arm(inv);
}

void invocation_go_on(struct invocation *inv)
{
    if (--inv->standing > 0)
        return;
    inv->budget.deadline_ns = clock_monotonic_ns() + inv->left_ns;
    invocation_arm(inv);
}

/* A client that does not read, or send, is the connection's to judge, not a fault of the handler.
 */
static void on_timer(uv_timer_t *timer)
{
    struct invocation *inv = container_of(timer, struct invocation, timer);
    if (inv->clock_ns <= clock_monotonic_ns()) {
        websocket_tick(inv);
        return;
    }
    if (!list_is_empty(&inv->writers) || inv->reader != NULL ||
        (inv->listening > 0 && inv->stream != 0))
        invocation_extend(inv);
    if (inv->standing > 0 || clock_monotonic_ns() < inv->budget.deadline_ns)
        invocation_arm(inv);
    else
        invocation_cancel(inv, BUDGET_TIMEOUT);
}

/* ---- the handler's end ---- */

static void count_end(struct invocation *inv)
{
    struct function_metrics *c = inv->function->metrics;
    c->timeouts += inv->budget.end == BUDGET_TIMEOUT;
    c->cpu_limits += inv->budget.end == BUDGET_CPU || inv->budget.end == BUDGET_STALL;
    c->memory_limits += inv->budget.end == BUDGET_MEMORY;
    c->cancelled += inv->budget.end == BUDGET_CANCELLED;
}

static void set_failure(struct invocation *inv, lua_State *co, int status)
{
    if (status == LUA_ERRMEM && inv->budget.end == BUDGET_RUNNING)
        inv->budget.end = BUDGET_MEMORY;
    const struct function_spec *spec = &inv->instance->spec;
    bool dev = inv->function->services->dev;
    inv->function->metrics->errors++;
    if (inv->budget.end != BUDGET_RUNNING) {
        count_end(inv);
        outcome_set_limit(inv->budget.end, spec, budget_place(&inv->budget, co), dev, inv->ex);
    } else {
        outcome_set_error(inv->instance->vm->L, co, dev, inv->ex);
    }
}

static void end_stream(struct invocation *inv, bool complete)
{
    if (inv->websocket != NULL) {
        websocket_end(inv, complete                              ? WEBSOCKET_NORMAL
                           : inv->budget.end == BUDGET_CANCELLED ? WEBSOCKET_GOING_AWAY
                                                                 : WEBSOCKET_INTERNAL);
        complete = true;
    }
    inv->stream = 0;
    inv->ex->on_gone = NULL;
    if (complete)
        exchange_stream_end(inv->ex);
    else
        exchange_stream_abort(inv->ex);
}

static void end_main(struct invocation *inv, int status)
{
    if (status == LUA_ERRRUN && inv->budget.end == BUDGET_RUNNING && inv->stream == 0 &&
        outcome_take_raised(inv->instance->vm->L, inv->main->co, inv->ex))
        status = LUA_OK;
    if (status != LUA_OK)
        set_failure(inv, inv->main->co, status);
    inv->owner->on_result(inv->function, inv->instance, status == LUA_OK);
    end_stream(inv, status == LUA_OK);
    task_free(inv->main);
    inv->main = NULL;
    answer(inv);
    if (inv->budget.end == BUDGET_RUNNING && inv->after_count > 0)
        run_after(inv);
    if (list_is_empty(&inv->tasks))
        finish(inv);
}

static void on_main_done(struct task *task, int status)
{
    struct invocation *inv = task->arg;
    if (inv->starting)
        return; /* invocation_start goes on from here */
    end_main(inv, status);
}

/* ---- in the coroutine ---- */

static int entry_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct invocation *inv = (struct invocation *)ctx;
    const struct function_spec *spec = &inv->instance->spec;
    if (lua_isnil(L, -1) && (spec->background || spec->cron != NULL || inv->call->job != NULL))
        inv->ex->res.status = 200; /* no client waits: nothing is an answer too */
    else if (inv->call->tool != NULL)
        inv->call->tool->read_result(L, -1, inv->call->tool);
    else
        outcome_read_result(L, -1, inv->ex);
    if (inv->ex->res.upgraded)
        return lx_websocket_run(L, inv);
    return inv->ex->res.streamed ? lx_stream_run(L, inv) : 0;
}

static int l_entry(lua_State *L)
{
    struct invocation *inv = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, inv->instance->handler);
    int count = inv->instance->arguments;
    event_push(L, inv, count); /* stack: inv, handler, event, context */
    lua_callk(L, count, 1, (lua_KContext)inv, entry_done);
    return entry_done(L, LUA_OK, (lua_KContext)inv);
}

/* ---- work after the answer ---- */

static void on_after_done(struct task *task, int status)
{
    struct invocation *inv = task->arg;
    if (status == LUA_ERRMEM)
        inv->budget.end = BUDGET_MEMORY;
    const char *place = status != LUA_OK ? budget_place(&inv->budget, task->co) : NULL;
    bool told = !inv->function->services->silent;
    if (told && status != LUA_OK && inv->budget.end == BUDGET_RUNNING)
        log_message(
            LOG_ERROR, "after_response of %.*s raised: %s", STR_ARG(inv->instance->spec.name),
            lua_type(task->co, -1) == LUA_TSTRING ? lua_tostring(task->co, -1) : "(not a text)");
    else if (told && status != LUA_OK && inv->budget.end != BUDGET_CANCELLED)
        log_message(LOG_ERROR, "after_response of %.*s passed a limit at %s",
                    STR_ARG(inv->instance->spec.name), place != NULL ? place : "?");
    task_free(task);
    if (list_is_empty(&inv->tasks))
        finish(inv);
}

/* Each runs as a task of its own, from the next turn of the loop on: the answer leaves first. */
static void run_after(struct invocation *inv)
{
    invocation_extend(inv);
    for (unsigned i = 0; i < inv->after_count; i++) {
        struct task *task = invocation_add_task(inv, on_after_done, inv);
        if (task == NULL)
            continue;
        lua_rawgeti(task->co, LUA_REGISTRYINDEX, inv->after[i]);
        task_enqueue(task);
    }
    invocation_arm(inv);
}

void lx_invocation_after(lua_State *L)
{
    struct invocation *inv = invocation_of(L);
    if (inv == NULL || inv->answered)
        luaL_error(L, "after_response can only be used while a request is handled");
    if (inv->after_count == sizeof(inv->after) / sizeof(inv->after[0]))
        luaL_error(L, "after_response: at most %d functions a request",
                   (int)(sizeof(inv->after) / sizeof(inv->after[0])));
    inv->after[inv->after_count] = luaL_ref(L, LUA_REGISTRYINDEX);
    inv->after_count++;
}

/* ---- start and cancel ---- */

static void on_gone(struct exchange *ex)
{
    invocation_cancel(ex->owner, BUDGET_CANCELLED);
}

struct task *invocation_add_task(struct invocation *inv, void (*done)(struct task *, int),
                                 void *arg)
{
    struct task *task = task_new(inv->instance->vm, &inv->budget, done, arg);
    if (task != NULL) {
        task->invocation = inv;
        task->hook = inv->ex->hook;
        if (task->hook != NULL)
            task->number = task->hook->tasks++;
        list_push(&inv->tasks, &task->siblings);
    }
    return task;
}

static void init(struct invocation *inv, struct call *call, struct instance *instance,
                 const struct invocation_owner *owner)
{
    struct function *function = call->function;
    inv->function = function;
    inv->owner = owner;
    inv->instance = instance_ref(instance);
    inv->call = call;
    if (call->tool != NULL)
        call->tool->began = true;
    if (call->job != NULL)
        call->job->began = true;
    inv->ex = call->ex;
    inv->budget =
        (struct budget){.cpu_limit_ns = (uint64_t)(instance->spec.cpu * 1e9), .may_slice = true};
    inv->main = NULL;
    inv->slot = NULL;
    inv->stream = 0;
    inv->reader = NULL;
    inv->websocket = NULL;
    inv->answered = false;
    inv->after_count = 0;
    inv->standing = 0;
    inv->clock_ns = UINT64_MAX;
    inv->log_bytes = 0;
    inv->fetching = 0;
    list_init(&inv->tasks);
    list_init(&inv->writers);
    list_init(&inv->endings);
    list_init(&inv->leavings);
    inv->listening = 0;
    list_push(&function->invocations, &inv->in_function);
    invocation_extend(inv);
    exchange_hold(inv->ex);
    inv->ex->state = EXCHANGE_WORKING;
    inv->ex->generation = inv->instance->generation;
    inv->ex->on_gone = on_gone;
    inv->ex->owner = inv;
}

bool invocation_start(struct call *call, struct instance *instance,
                      const struct invocation_owner *owner)
{
    struct invocation *inv = take();
    if (inv == NULL)
        return false;
    init(inv, call, instance, owner);
    hook_moment(inv->ex->hook, HOOK_STARTED);
    inv->main = invocation_add_task(inv, on_main_done, inv);
    if (inv->main == NULL) {
        inv->budget.end = BUDGET_MEMORY;
        outcome_set_limit(BUDGET_MEMORY, &inv->instance->spec, NULL, false, inv->ex);
        answer(inv);
        finish(inv);
        return true;
    }
    lua_pushcfunction(inv->main->co, l_entry);
    lua_pushlightuserdata(inv->main->co, inv);
    inv->starting = true;
    task_start(inv->main, 1);
    inv->starting = false;
    if (inv->main->state == TASK_DONE)
        end_main(inv, lua_status(inv->main->co));
    else
        invocation_arm(inv);
    return true;
}

void invocation_cancel(struct invocation *inv, enum budget_end end)
{
    assert(inv->instance->vm->task == NULL);
    if (inv->budget.end == BUDGET_RUNNING)
        inv->budget.end = end;
    inv->stream = 0; /* what unwinds writes no more */
    const char *place = inv->main != NULL ? budget_place(&inv->budget, inv->main->co) : NULL;
    cancel_tasks(inv);
    if (!inv->answered) {
        count_end(inv);
        if (end != BUDGET_CANCELLED)
            inv->owner->on_result(inv->function, inv->instance, false);
        outcome_set_limit(end, &inv->instance->spec, place, inv->function->services->dev, inv->ex);
        end_stream(inv, false);
        answer(inv);
    }
    finish(inv);
}
