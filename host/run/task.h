/* A coroutine that the host runs: the only place where a script is resumed.
 *
 * An invocation has one main task; `parallel` and `after_response` add more. A task runs until it
 * returns, raises, waits for an operation, or has used up its slice; then the loop goes on. */
#ifndef LUAFN_RUN_TASK_H
#define LUAFN_RUN_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "run/await.h"
#include "run/vm.h"

struct invocation;

enum task_state {
    TASK_READY, /* function and arguments are on its stack */
    TASK_RUNNING,
    TASK_WAITING, /* for `pending` */
    TASK_SLICED,  /* queued to go on at the next turn of the loop */
    TASK_DONE     /* returned, raised or was cancelled */
};

struct task {
    struct vm *vm; /* borrowed: the instance's */
    lua_State *co; /* a pooled thread of vm->L, anchored in the registry */
    int anchor;    /* luaL_ref of co */
    enum task_state state;
    struct op *pending;            /* borrowed from the coroutine's stack */
    struct budget *budget;         /* borrowed: the invocation's */
    struct list in_slices;         /* the worker's queue of sliced tasks */
    struct list siblings;          /* of the invocation */
    struct invocation *invocation; /* NULL for the loading of a script */
    /* The end. status LUA_OK: results are on co's stack; otherwise the error value is on top.
     * Called once, from task_resume; the callee then calls task_free. */
    void (*done)(struct task *task, int status);
    void *arg;
};

/* Makes a task with an empty coroutine. May raise in vm->L only under protection: returns NULL when
 * out of memory. */
struct task *task_new(struct vm *vm, struct budget *budget, void (*done)(struct task *, int),
                      void *arg);

/* Starts or goes on; `nargs` values are on top of co's stack (0 when it goes on). Returns when it
 * waits, is sliced or is done. */
void task_resume(struct task *task, int nargs);

/* Cancels what it waits for and unwinds the coroutine (its <close> variables run under the budget's
 * rest). Calls `done` never. */
void task_cancel(struct task *task);

/* Gives the coroutine back to the pool or drops it. */
void task_free(struct task *task);

/* The queue of tasks that gave up their slice: one round, called by the loop's idle handle. True
 * when some are left. */
void task_slices_init(uv_loop_t *loop);
void task_slices_close(void);

#endif
