/* A coroutine that the host runs: the only place where a script is resumed.
 *
 * A resume happens from the loop only, never from within another resume: what a script starts
 * (parallel, after_response) is queued and begins at the next turn. */
#include "run/task.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/pool.h"
#include "journal/hook.h"
#include "options/spec.h"
#include "run/tidy.h"

/* What unwinding may cost: <close> variables of a script that was ended from outside. */
#define UNWIND_CPU_NS (20 * 1000 * 1000ull)
#define SLICE_NS      (LIMIT_SLICE_MS * 1000 * 1000ull)
#define SHARE_MAX_NS  (3 * SLICE_NS) /* of a turn, for queued tasks */
#define AHEAD_NS      (LIMIT_AHEAD_MS * 1000 * 1000ull)

const struct task_watcher *task_watcher;

static struct {
    uv_idle_t idle; /* turns the loop while tasks are queued */
    uv_check_t check;
    struct list vms;                 /* with queued tasks; what has run least is first */
    uint64_t floor_ns;               /* vm->ran_ns of the last one that had its turn */
    uint64_t turned_ns;              /* when the last turn ended, or the queue ceased to be empty */
    uint64_t spent_ns;               /* run time of tasks since then */
    const struct holdings *holdings; /* borrowed; NULL: there is no server */
    bool open;
} queue;

/* ---- coroutines: taken from the instance's pool, or new ---- */

static int l_new_thread(lua_State *L)
{
    struct vm_thread *out = lua_touserdata(L, 1);
    out->co = lua_newthread(L);
    out->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int take_thread(struct vm *vm, struct vm_thread *out)
{
    if (vm->idle_count > 0) {
        *out = vm->idle[--vm->idle_count];
        return 0;
    }
    lua_pushcfunction(vm->L, l_new_thread);
    lua_pushlightuserdata(vm->L, out);
    if (lua_pcall(vm->L, 1, 0, 0) == LUA_OK)
        return 0;
    lua_pop(vm->L, 1);
    return UV_ENOMEM;
}

static void give_thread(struct vm *vm, struct vm_thread thread)
{
    lua_settop(thread.co, 0);
    if (vm->idle_count < VM_IDLE_THREADS)
        vm->idle[vm->idle_count++] = thread;
    else
        luaL_unref(vm->L, LUA_REGISTRYINDEX, thread.anchor);
}

/* ---- life ---- */

struct task *task_new(struct vm *vm, struct budget *budget, void (*done)(struct task *, int),
                      void *arg)
{
    struct task *task = pool_take(sizeof(*task));
    struct vm_thread thread;
    if (task == NULL || take_thread(vm, &thread) != 0) {
        pool_free(task, sizeof(*task));
        return NULL;
    }
    *task = (struct task){.vm = vm};
    vm->task_count++;
    task->co = thread.co;
    task->anchor = thread.anchor;
    task->budget = budget;
    task->done = done;
    task->arg = arg;
    list_init(&task->in_queue);
    list_init(&task->siblings);
    return task;
}

/* A coroutine that its budget ended was stopped by a hook, and Lua 5.4.4 never calls hooks in it
 * again: what it would run now, a
 * __close for instance, could not be stopped. It is dropped as it is. */
static bool was_killed(const struct task *task)
{
    return task->budget->end != BUDGET_RUNNING && lua_status(task->co) > LUA_YIELD;
}

/* Under a small budget of its own, since it runs code of the script. May happen while another task
 * runs (parallel ends). */
void task_unwind(struct task *task)
{
    if (was_killed(task))
        return;
    struct vm *vm = task->vm;
    struct task *outer = vm->task;
    if (outer != NULL && lua_status(task->co) == LUA_OK)
        return; /* nothing is open */
    assert(outer == NULL);
    struct budget grace = {.cpu_limit_ns = UNWIND_CPU_NS};
    struct budget *before = vm->budget;
    vm->budget = &grace;
    vm->task = task;
    budget_enter(&grace, task->co);
    lua_resetthread(task->co);
    budget_leave(&grace);
    vm->task = NULL;
    vm->yield = VM_YIELD_SCRIPT;
    vm->budget = before;
}

void task_free(struct task *task)
{
    assert(task->state != TASK_RUNNING);
    if (task->thread != 0 && task_watcher != NULL)
        task_watcher->gone(task);
    if (task->state != TASK_DONE || lua_status(task->co) != LUA_OK)
        task_unwind(task);
    list_remove(&task->in_queue);
    list_remove(&task->siblings);
    if (--task->vm->task_count == 0 && task->vm->instance != NULL)
        tidy_instance(task->vm->instance);
    if (was_killed(task))
        luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->anchor);
    else
        give_thread(task->vm, (struct vm_thread){task->co, task->anchor});
    pool_free(task, sizeof(*task));
}

void task_cancel(struct task *task)
{
    assert(task->state != TASK_RUNNING);
    if (task->pending != NULL) {
        struct op *op = task->pending;
        task->pending = NULL;
        await_op_cancel(op);
    }
    list_remove(&task->in_queue);
    if (task->state != TASK_DONE)
        task_unwind(task);
    task->state = TASK_DONE;
}

/* ---- the queue ---- */

/* A function that burns its time waits behind those that do not, whatever it has queued: each state
 * is placed by how long it has run. One that comes back from idling has no claim on the past. */
static void queue_vm(struct vm *vm)
{
    if (vm->ran_ns < queue.floor_ns)
        vm->ran_ns = queue.floor_ns;
    struct list *after = queue.vms.prev;
    while (after != &queue.vms && container_of(after, struct vm, in_queue)->ran_ns > vm->ran_ns)
        after = after->prev;
    list_push(after->next, &vm->in_queue);
}

/* An active idle handle keeps the loop from blocking; the work is done in the check phase, after
 * other clients' input. */
static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_turn(uv_check_t *check);

/* Runs that go on in turn hold memory side by side: a hundred would fill a state in which each by
 * itself has ample room. So past half of it they go one after the other, and what needs no more
 * than the other half gets to its end, however many there are. */
static bool is_crowded(const struct vm *vm)
{
    return vm->limit != 0 && vm->used > vm->limit / 2;
}

static void enqueue(struct task *task, struct list *before)
{
    assert(queue.open && task->state != TASK_RUNNING && task->state != TASK_DONE);
    task->state = TASK_QUEUED;
    if (list_is_empty(&queue.vms))
        queue.turned_ns = clock_monotonic_ns();
    list_push(before, &task->in_queue);
    if (list_is_empty(&task->vm->in_queue))
        queue_vm(task->vm);
    uv_idle_start(&queue.idle, on_idle);
    uv_check_start(&queue.check, on_turn);
}

void task_enqueue(struct task *task)
{
    list_remove(&task->in_queue);
    enqueue(task, &task->vm->queued);
}

static void enqueue_sliced(struct task *task)
{
    struct vm *vm = task->vm;
    bool goes_ahead = is_crowded(vm) && task->budget->cpu_used_ns < AHEAD_NS;
    enqueue(task, goes_ahead ? vm->queued.next : &vm->queued);
}

/* ---- running ---- */

/* When the loop hangs, the supervisor reads here whose fault it is. */
static void tell_running(const struct vm *vm, bool runs)
{
    char *out = vm->services != NULL ? vm->services->running_name : NULL;
    if (out == NULL)
        return;
    size_t len = runs && vm->spec != NULL ? vm->spec->name.len : 0;
    len = len < LIMIT_RUNNING_NAME ? len : LIMIT_RUNNING_NAME - 1;
    if (len > 0)
        memcpy(out, vm->spec->name.ptr, len);
    out[len] = '\0';
}

static void stand(struct task *task, int status)
{
    task->state = TASK_STANDING;
    task->stood = status;
    task_watcher->stands(task);
}

static void end(struct task *task, int status)
{
    task->state = TASK_DONE;
    task->done(task, status);
}

void task_go_on(struct task *task)
{
    assert(task->state == TASK_STANDING);
    if (task->stood == LUA_YIELD)
        task_enqueue(task);
    else
        end(task, task->stood);
}

void task_resume(struct task *task, int nargs)
{
    struct vm *vm = task->vm;
    assert(vm->task == NULL && task->state != TASK_DONE);
    task->state = TASK_RUNNING;
    vm->task = task;
    vm->hook = task->hook;
    if (task->hook != NULL)
        task->hook->task = task->number;
    vm->budget = task->budget;
    tell_running(vm, true);
    budget_enter(task->budget, task->co);
    int results = 0;
    int status = lua_resume(task->co, NULL, nargs, &results);
    uint64_t took = budget_leave(task->budget);
    queue.spent_ns += took;
    vm->ran_ns += took;
    tell_running(vm, false);
    vm->budget = &vm->unlimited;
    vm->task = NULL;
    vm->hook = NULL;
    if (task->hook != NULL)
        task->hook->type->slice(task->hook, took);
    enum vm_yield yield = vm->yield;
    vm->yield = VM_YIELD_SCRIPT;

    if (status == LUA_YIELD && yield == VM_YIELD_AWAIT) {
        task->state = TASK_WAITING;
        if (vm->instance != NULL)
            tidy_instance(vm->instance);
    } else if (status == LUA_YIELD && yield == VM_YIELD_SLICE) {
        task->state = TASK_WAITING;
        enqueue_sliced(task);
    } else if (status == LUA_YIELD && yield == VM_YIELD_STAND) {
        stand(task, status);
    } else {
        /* A script's own yield cannot get here: coroutine.yield raises outside the script's
         * coroutines. */
        assert(status != LUA_YIELD);
        if (status == LUA_ERRRUN && task_watcher != NULL && task_watcher->stops(task))
            stand(task, status);
        else
            end(task, status);
    }
}

/* While clients leave more with the host than it may hold, no script adds to it: not those that
 * give large answers, and in the end none. */
static bool has_room(const struct vm *vm)
{
    const struct holdings *all = queue.holdings;
    return all == NULL || !holdings_are_full(all) || (vm->large == 0 && !holdings_are_over(all));
}

bool task_queue_is_busy(void)
{
    return !list_is_empty(&queue.vms);
}

void task_queue_heed(const struct holdings *holdings)
{
    queue.holdings = holdings;
}

void task_start(struct task *task, int nargs)
{
    struct vm *vm = task->vm;
    bool waits = task->state == TASK_READY && !list_is_empty(&vm->queued) && is_crowded(vm);
    if (!queue.open || (queue.spent_ns < SLICE_NS && has_room(vm) && !waits)) {
        task_resume(task, nargs);
        return;
    }
    task->start_args = nargs;
    task_enqueue(task);
}

/* What is queued of one state, for a moment; only what is there now: a task that queues itself
 * again waits for the next turn. */
static void run_some(struct vm *vm)
{
    struct list mark;
    list_push(&vm->queued, &mark);
    uint64_t end = clock_monotonic_ns() + SLICE_NS / 10;
    while (vm->queued.next != &mark) {
        struct task *task = container_of(vm->queued.next, struct task, in_queue);
        list_remove(&task->in_queue);
        int nargs = task->start_args;
        task->start_args = 0;
        task_resume(task, nargs);
        if (list_is_empty(&mark))
            return; /* the state went with its last task */
        if (clock_monotonic_ns() >= end || !has_room(vm))
            break;
    }
    list_remove(&mark);
    if (!list_is_empty(&vm->queued) && list_is_empty(&vm->in_queue))
        queue_vm(vm);
}

/* Clients' input is looked at again after about a slice, however much is queued: what is left over
 * goes first at the next turn. When the input took longer, because new requests burn time too,
 * those that wait here get as much, within bounds. */
static void on_turn(uv_check_t *check)
{
    (void)check;
    uint64_t now = clock_monotonic_ns();
    uint64_t share = now - queue.turned_ns;
    share = share > SLICE_NS ? share : SLICE_NS;
    uint64_t end = now + (share < SHARE_MAX_NS ? share : SHARE_MAX_NS);
    struct list resting;
    list_init(&resting);
    while (!list_is_empty(&queue.vms) && clock_monotonic_ns() < end) {
        struct vm *vm = container_of(queue.vms.next, struct vm, in_queue);
        list_remove(&vm->in_queue);
        if (!has_room(vm)) {
            list_push(&resting, &vm->in_queue);
            continue;
        }
        if (vm->ran_ns > queue.floor_ns)
            queue.floor_ns = vm->ran_ns;
        run_some(vm);
    }
    queue.turned_ns = clock_monotonic_ns();
    queue.spent_ns = 0;
    bool idle = list_is_empty(&queue.vms); /* whoever makes room for the others turns the loop */
    while (!list_is_empty(&resting)) {
        struct list *node = resting.next;
        list_remove(node);
        queue_vm(container_of(node, struct vm, in_queue));
    }
    if (list_is_empty(&queue.vms))
        uv_check_stop(&queue.check);
    if (idle)
        uv_idle_stop(&queue.idle);
    else
        uv_idle_start(&queue.idle, on_idle);
}

int task_queue_open(uv_loop_t *loop)
{
    list_init(&queue.vms);
    queue.spent_ns = 0;
    int rc = uv_idle_init(loop, &queue.idle);
    if (rc == 0)
        rc = uv_check_init(loop, &queue.check);
    queue.open = rc == 0;
    if (queue.open)
        tidy_open(loop);
    return rc;
}

void task_queue_close(void)
{
    if (!queue.open)
        return;
    queue.open = false;
    tidy_close();
    uv_close((uv_handle_t *)&queue.idle, NULL);
    uv_close((uv_handle_t *)&queue.check, NULL);
}
