/* event.progress. */
#include "run/tool_call.h"

#include <lauxlib.h>
#include <math.h>

#include "run/invocation.h"

static double check_finite(lua_State *L, int index)
{
    double value = luaL_checknumber(L, index);
    luaL_argcheck(L, isfinite(value), index, "must be finite");
    return value;
}

int l_tool_call_progress(lua_State *L)
{
    struct invocation *inv = invocation_of(L);
    if (lua_istable(L, 1))
        lua_remove(L, 1); /* event:progress() */
    struct tool_progress progress = {.done = check_finite(L, 1), .text = {NULL, 0}};
    progress.has_total = !lua_isnoneornil(L, 2);
    if (progress.has_total)
        progress.total = check_finite(L, 2);
    if (!lua_isnoneornil(L, 3))
        progress.text.ptr = luaL_checklstring(L, 3, &progress.text.len);
    struct tool_call *tool = inv != NULL && !inv->answered ? inv->call->tool : NULL;
    lua_pushboolean(L, tool != NULL && tool->progress(tool, &progress));
    return 1;
}
