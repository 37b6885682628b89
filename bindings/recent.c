#include "bindings/recent.h"

void recent_push(lua_State *L, const void *address)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, address) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, address);
}

void recent_keep(lua_State *L, int table, int key, lua_Integer most)
{
    lua_rawgeti(L, table, 0);
    lua_Integer place = lua_tointeger(L, -1) % most + 1;
    lua_pop(L, 1);
    if (lua_rawgeti(L, table, place) != LUA_TNIL) {
        lua_pushnil(L);
        lua_rawset(L, table);
    } else {
        lua_pop(L, 1);
    }
    lua_pushvalue(L, key);
    lua_rawseti(L, table, place);
    lua_pushinteger(L, place);
    lua_rawseti(L, table, 0);
    lua_pushvalue(L, key);
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
}
