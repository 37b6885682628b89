/* Tables whose members are made when they are read. */
#include "lua/lazy.h"

#include "run/claims_table.h"
#include "run/event.h"

void lazy_make_whole(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return;
    lua_pop(L, 1);
    if (!claims_table_make(L, index))
        event_materialize(L, index);
}

int lazy_next(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}
