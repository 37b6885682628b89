/* sleep(seconds): the model of an asynchronous binding.
 *
 * The operation is a userdata, which Lua may free as soon as it is over; the timer handle must live
 * until libuv has closed it. So the handle has memory of its own and points back while the
 * operation wants it. */
#include <lauxlib.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "bindings/bindings.h"
#include "run/await.h"
#include "lua/told.h"
#include "lua/vm.h"

enum { SECONDS_MAX = 86400 };

struct sleep_op {
    struct op op;
    struct sleep_timer *timer; /* NULL when it is over */
    unsigned told;             /* the call, for who listens */
};

struct sleep_timer {
    uv_timer_t handle;
    struct sleep_op *sleeper; /* borrowed; NULL after cancel */
};

static void on_closed(uv_handle_t *handle)
{
    free(container_of((uv_timer_t *)handle, struct sleep_timer, handle));
}

static void stop(struct op *op)
{
    struct sleep_op *sleeper = container_of(op, struct sleep_op, op);
    if (sleeper->timer == NULL)
        return;
    uv_close((uv_handle_t *)&sleeper->timer->handle, on_closed);
    sleeper->timer = NULL;
}

static void on_timer(uv_timer_t *handle)
{
    struct sleep_op *sleeper = container_of(handle, struct sleep_timer, handle)->sleeper;
    stop(&sleeper->op);
    await_op_complete(&sleeper->op);
}

static int finish(lua_State *L, struct op *op)
{
    struct hook *hook = told_hook(L);
    if (hook != NULL) {
        hook_text(hook);
        told_end(hook, container_of(op, struct sleep_op, op)->told);
    }
    return 0;
}

static const struct op_type sleep_type = {.name = "sleep", .cancel = stop, .finish = finish};

static int l_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= SECONDS_MAX, 1,
                  "seconds between 0 and 86400 expected");
    struct hook *hook = told_hook(L);
    if (clock_is_set() && (hook == NULL || !hook_replays(hook))) {
        clock_advance(seconds);
        return 0;
    }
    uv_loop_t *loop = vm_of(L)->services->loop;
    struct sleep_op *sleeper = (struct sleep_op *)await_op_new(L, &sleep_type, sizeof(*sleeper));
    if (hook != NULL) {
        buf_printf(hook_text(hook), "{\"seconds\":%.17g}", seconds);
        sleeper->told = lx_told_begin(L, hook, "sleep");
        if (hook_replays(hook))
            return await_recorded(L, &sleeper->op, sleeper->told);
    }
    struct sleep_timer *timer = malloc(sizeof(*timer));
    if (timer == NULL || loop == NULL) {
        free(timer);
        return luaL_error(L, loop == NULL ? "sleep cannot wait here" : "out of memory");
    }
    timer->sleeper = sleeper;
    sleeper->timer = timer;
    uv_timer_init(loop, &timer->handle);
    uv_update_time(loop);
    uv_timer_start(&timer->handle, on_timer, (uint64_t)(seconds * 1000), 0);
    return await(L, &sleeper->op);
}

int open_sleep(lua_State *L)
{
    lua_pushcfunction(L, l_sleep);
    return 1;
}
