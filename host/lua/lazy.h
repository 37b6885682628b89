/* Tables whose members are made when they are read: event and context (run/event.h) and claims
 * (run/claims_table.h). What walks over a script's table, or reads it raw, makes it whole first.
 * Who has such tables marks their metatable with how that is done. */
#pragma once

#include <lua.h>
#include <stdbool.h>

struct lazy_type {
    /* Makes every member of the table at `index` and takes the metatable off. May raise. [-0, +0]
     */
    void (*make)(lua_State *L, int index);
    bool is_plain; /* to a script it is a table without a metatable */
};

/* Marks the metatable at the top; `type` is static. Raises when out of memory. [-0, +0] */
void lazy_mark(lua_State *L, const struct lazy_type *type);

/* Makes such a table at `index` whole. Does nothing to other values. May raise. [-0, +0] */
void lazy_make_whole(lua_State *L, int index);

/* The same, only for one that is a plain table to scripts. True: it was one. May raise. [-0, +0] */
bool lazy_make_plain(lua_State *L, int index);

/* Is the value at `index` a table that scripts see no metatable of? Never raises. [-0, +0] */
bool lazy_is_plain(lua_State *L, int index);

/* Lua's `next`, for the __pairs of a table that is whole by then. */
int lazy_next(lua_State *L);
