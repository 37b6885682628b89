/* Waiting: how a coroutine goes to sleep on an operation and how it wakes up. */
#include "run/await.h"

#include <lauxlib.h>
#include <string.h>

#include "run/task.h"
#include "lua/vm.h"

static const char OP_METATABLE[] = "luafn.op";

static int l_op_gc(lua_State *L)
{
    struct op *op = lua_touserdata(L, 1);
    await_op_cancel(op);
    if (op->type->dispose != NULL)
        op->type->dispose(op);
    return 0;
}

struct op *await_op_new(lua_State *L, const struct op_type *type, size_t size)
{
    vm_make_room(vm_of(L), L);
    struct op *op = lua_newuserdatauv(L, size, type->holds);
    memset(op, 0, size);
    op->type = type;
    op->state = OP_CANCELLED; /* until the caller has set it up: nothing to cancel yet */
    if (luaL_newmetatable(L, OP_METATABLE)) {
        lua_pushcfunction(L, l_op_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    op->state = OP_NEW;
    return op;
}

/* A coroutine of the script that waits in one task was resumed from another one. */
static int wrongly_resumed(lua_State *L, struct op *op)
{
    struct task *waiter = op->task;
    await_op_cancel(op);
    waiter->pending = NULL;
    task_enqueue(waiter);
    return luaL_error(L, "cannot resume a coroutine that waits for %s", op->type->name);
}

static int await_continue(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct op *op = (struct op *)ctx;
    if (op->state != OP_DONE)
        return wrongly_resumed(L, op);
    return op->type->finish(L, op);
}

int await(lua_State *L, struct op *op)
{
    struct vm *vm = vm_of(L);
    if (op->state == OP_DONE)
        return op->type->finish(L, op);
    if (vm->task == NULL || !vm_can_yield(L)) {
        await_op_cancel(op);
        return luaL_error(L, "%s cannot wait here", op->type->name);
    }
    op->task = vm->task;
    op->state = OP_PENDING;
    op->task->pending = op;
    vm->yield = VM_YIELD_AWAIT;
    return lua_yieldk(L, 0, (lua_KContext)op, await_continue);
}

static void complete_recorded(struct hook_wait *wait)
{
    await_op_complete(container_of(wait, struct op, wait));
}

int await_recorded(lua_State *L, struct op *op, unsigned call)
{
    struct hook *hook = vm_of(L)->hook;
    op->wait.call = call;
    op->wait.complete = complete_recorded;
    list_init(&op->wait.node);
    hook->type->wait(hook, &op->wait);
    return await(L, op);
}

/* Is there a task that waits for it? */
static bool set_done(struct op *op)
{
    bool pending = op->state == OP_PENDING;
    if (pending || op->state == OP_NEW)
        op->state = OP_DONE;
    if (pending)
        op->task->pending = NULL;
    return pending;
}

void await_op_complete(struct op *op)
{
    if (set_done(op))
        task_start(op->task, 0);
}

void await_op_complete_later(struct op *op)
{
    if (set_done(op))
        task_enqueue(op->task);
}
