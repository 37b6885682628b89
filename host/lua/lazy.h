/* Tables whose members are made when they are read: event and context (run/event.h) and claims
 * (run/claims_table.h). What walks over a script's table, or reads it raw, makes it whole first. */
#ifndef LUAFN_LUA_LAZY_H
#define LUAFN_LUA_LAZY_H

#include <lua.h>

/* Makes every member of such a table at `index` and takes the metatable off. Does nothing to other
 * values. May raise. [-0, +0] */
void lazy_make_whole(lua_State *L, int index);

/* Lua's `next`, for the __pairs of a table that is whole by then. */
int lazy_next(lua_State *L);

#endif
