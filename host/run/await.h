/* Asynchronous operations of scripts: start, wait, finish, or cancel.
 *
 * A binding makes an operation as a userdata that begins with `struct op`, starts the work, and
 * returns await(L, op). The coroutine then sleeps; the event callback calls await_op_complete(op);
 * the coroutine goes on, and `finish` pushes the result inside it, so that running out of memory
 * there is an ordinary error of the script. bindings/sleep.c is the model.
 *
 * A task has at most one pending operation. Client gone, deadline, reload and shutdown all call the
 * same `cancel`. */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "journal/hook.h"

struct op;
struct task;

struct op_type {
    const char *name; /* for messages: "sleep" */
    /* Stops the work. Afterwards await_op_complete must not be called any more. Never called after
     * completion. */
    void (*cancel)(struct op *op);
    /* In the coroutine: pushes the results and returns their count, or raises. [-0, +n] */
    int (*finish)(lua_State *L, struct op *op);
    /* When the userdata is collected: frees what the operation still owns. May be NULL. Runs after
     * completion or cancel. */
    void (*dispose)(struct op *op);
    bool waits_for_tasks; /* of the same run, and for nothing else */
    int holds;            /* values of the script, as user values of the userdata */
};

enum op_state { OP_NEW, OP_PENDING, OP_DONE, OP_CANCELLED };

struct op {
    const struct op_type *type; /* static */
    enum op_state state;
    struct task *task;     /* that waits; borrowed; set by await */
    struct hook_wait wait; /* of await_recorded */
};

/* Pushes a new, cleared operation of `size` bytes (the struct that begins with struct op). Raises
 * when out of memory. [-0, +1] */
struct op *await_op_new(lua_State *L, const struct op_type *type, size_t size);

/* Waits for `op`, which must be at the top of the stack: `return await(L, op);` as the last thing
 * in a lua_CFunction. When the op has completed already (await_op_complete was called before), goes
 * on at once. Raises when nothing can wait here (while functions.lua or `check` loads). */
int await(lua_State *L, struct op *op);

/* The same where a recorded request runs again: no work was begun, and the call `call` ends when
 * the record says so. `finish` has the answer by lx_told_recorded. */
int await_recorded(lua_State *L, struct op *op, unsigned call);

/* The work is done. From event callbacks: resumes the task (before returning, or at the loop's next
 * turn when this one has taken a slice already). From within the binding, before await: just marks
 * it. */
void await_op_complete(struct op *op);

/* The same from where nothing may be resumed: the task goes on at the loop's next turn. */
void await_op_complete_later(struct op *op);

/* Stops the work of an operation that is not complete; harmless otherwise. */
static inline void await_op_cancel(struct op *op)
{
    if (op->state == OP_PENDING || op->state == OP_NEW) {
        op->state = OP_CANCELLED;
        if (op->wait.node.next != NULL)
            list_remove(&op->wait.node);
        op->type->cancel(op);
    }
}
