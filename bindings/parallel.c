/* parallel(f, g, ...): runs functions side by side and returns the first result of each, in order.
 *
 * One operation with a task for each function. The first error ends the others and is raised by
 * parallel itself. Results stay on the children's stacks until the waiting coroutine takes them:
 * nothing is pushed from an event. */
#include <lauxlib.h>

#include "base/list.h"
#include "bindings/bindings.h"
#include "run/await.h"
#include "lua/guard.h"
#include "run/invocation.h"

enum { FUNCTIONS_MAX = 64 };

struct parallel_op {
    struct op op;
    int count;
    int running;
    int failed; /* index of the child that raised, or -1 */
    struct task *children[];
};

static void drop(struct parallel_op *p, int index)
{
    struct task *child = p->children[index];
    p->children[index] = NULL;
    if (child == NULL)
        return;
    task_cancel(child);
    task_free(child);
}

static void cancel(struct op *op)
{
    struct parallel_op *p = container_of(op, struct parallel_op, op);
    for (int i = 0; i < p->count; i++)
        drop(p, i);
}

static void on_child_done(struct task *child, int status)
{
    struct parallel_op *p = child->arg;
    int index = 0;
    while (p->children[index] != child)
        index++;
    p->running--;
    if (status != LUA_OK) {
        task_unwind(child); /* leaves the error value */
        p->failed = index;
        for (int i = 0; i < p->count; i++) {
            if (i != index)
                drop(p, i);
        }
        p->running = 0;
    }
    if (p->running == 0)
        await_op_complete(&p->op);
}

static int finish(lua_State *L, struct op *op)
{
    struct parallel_op *p = container_of(op, struct parallel_op, op);
    luaL_checkstack(L, p->count + 1, "parallel");
    for (int i = 0; i < p->count; i++) {
        struct task *child = p->children[i];
        if (child == NULL)
            continue;
        if (p->failed < 0)
            lua_settop(child->co, 1); /* nil, when the function returned nothing */
        lua_xmove(child->co, L, 1);
        p->children[i] = NULL;
        task_free(child);
    }
    return p->failed >= 0 ? lua_error(L) : p->count;
}

static const struct op_type parallel_type = {
    .name = "parallel", .cancel = cancel, .finish = finish, .waits_for_tasks = true};

static int l_parallel(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_argcheck(L, count <= FUNCTIONS_MAX, FUNCTIONS_MAX + 1, "too many functions");
    for (int i = 1; i <= count; i++)
        luaL_checktype(L, i, LUA_TFUNCTION);
    struct invocation *inv = invocation_of(L);
    if (inv == NULL || !vm_can_yield(L))
        return luaL_error(L, "parallel cannot wait here");
    if (count == 0)
        return 0;
    size_t size = sizeof(struct parallel_op) + (size_t)count * sizeof(struct task *);
    struct parallel_op *p = (struct parallel_op *)await_op_new(L, &parallel_type, size);
    p->count = count;
    p->running = count;
    p->failed = -1;
    for (int i = 0; i < count; i++) {
        struct task *child = invocation_add_task(inv, on_child_done, p);
        if (child == NULL) {
            await_op_cancel(&p->op);
            guard_caught(L, LUA_ERRMEM);
            return 0; /* not reached: it has raised */
        }
        p->children[i] = child;
        lua_pushvalue(L, i + 1);
        lua_xmove(L, child->co, 1);
        task_enqueue(child);
    }
    return await(L, &p->op);
}

int open_parallel(lua_State *L)
{
    lua_pushcfunction(L, l_parallel);
    return 1;
}
