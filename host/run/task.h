/* A coroutine that the host runs: the only place where a script is resumed.
 *
 * An invocation has one main task; `parallel` and `after_response` add more. A task runs until it
 * returns, raises, waits for an operation, or has used up its slice; then the loop goes on. */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "http/holding.h"
#include "run/await.h"
#include "lua/vm.h"

struct invocation;

enum task_state {
    TASK_READY, /* function and arguments are on its stack */
    TASK_RUNNING,
    TASK_WAITING,  /* for `pending` */
    TASK_QUEUED,   /* goes on at the next turn of the loop */
    TASK_STANDING, /* until a debugger lets it go on */
    TASK_DONE      /* returned, raised or was cancelled */
};

struct task {
    struct vm *vm; /* borrowed: the instance's */
    lua_State *co; /* a pooled thread of vm->L, anchored in the registry */
    int anchor;    /* luaL_ref of co */
    enum task_state state;
    struct op *pending;            /* borrowed from the coroutine's stack */
    struct budget *budget;         /* borrowed: the invocation's */
    struct list in_queue;          /* the worker's queue of tasks that go on at the next turn */
    struct list siblings;          /* of the invocation */
    struct invocation *invocation; /* NULL for the loading of a script */
    struct hook *hook;             /* borrowed: who listens; NULL: nobody */
    unsigned number;               /* ... and which task of the run it is to him */
    unsigned thread;               /* its number to a debugger; 0: none */
    int stood;                     /* TASK_STANDING: LUA_YIELD, or the error that it ends with */
    int start_args; /* for task_enqueue of a READY task: values on co's stack above the function */
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

/* Starts a READY task, or goes on with a WAITING one, now; at the next turn when this one has taken
 * a slice already, so that many requests which burn time do not keep the loop from turning. */
void task_start(struct task *task, int nargs);

/* Lets a task that is not running go on at the next turn of the loop. */
void task_enqueue(struct task *task);

/* A debugger. It is called from the loop, with no script running, but for `stops`. */
struct task_watcher {
    /* May the task that has just ended with an error, its stack still as it was, stand there? */
    bool (*stops)(struct task *task);
    /* It stands: in the line hook vm.yield was set to VM_YIELD_STAND, or at its error. */
    void (*stands)(struct task *task);
    /* One that has a `thread` is about to be freed. */
    void (*gone)(struct task *task);
};
/* Borrowed; NULL: there is none. */
extern const struct task_watcher *task_watcher;

/* Lets one that stands go on: at the loop's next turn, or, from an error, to its end now. */
void task_go_on(struct task *task);

/* Cancels what it waits for and unwinds the coroutine (its <close> variables run under the budget's
 * rest). Calls `done` never. */
void task_cancel(struct task *task);

/* Closes what the ended coroutine left open; after an error its value is then the only one on the
 * stack. For a task whose `done` was just called, from the loop. */
void task_unwind(struct task *task);

/* Gives the coroutine back to the pool or drops it. */
void task_free(struct task *task);

/* The worker's queue of tasks that gave up their slice. Once a process, before the first task;
 * `close` before the loop is closed. */
int task_queue_open(uv_loop_t *loop);
void task_queue_close(void);
/* Does any task go on at the next turn? */
bool task_queue_is_busy(void);
/* Scripts rest while these are full; borrowed, NULL: no more. */
void task_queue_heed(const struct holdings *holdings);
