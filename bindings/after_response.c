/* after_response(f): work that the client does not wait for. */
#include <lauxlib.h>

#include "bindings/bindings.h"
#include "run/invocation.h"

static int l_after_response(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lx_invocation_after(L);
    return 0;
}

int open_after_response(lua_State *L)
{
    lua_pushcfunction(L, l_after_response);
    return 1;
}
