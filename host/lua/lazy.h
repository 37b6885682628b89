/* Tables whose members are made when they are read: event and context (run/event.h), claims
 * (run/claims_table.h), JSON (lua/json_lazy.h). What walks over a script's table, or reads it raw,
 * makes it whole first. Who has such tables marks their metatable with how that is done. */
#pragma once

#include <lua.h>
#include <stdbool.h>

enum lazy_kind {
    LAZY_HOST,  /* scripts see its metatable, */
    LAZY_PLAIN, /* or a table without one, */
    LAZY_ARRAY, /* or what json.array has marked (lua/tree.h) */
};

struct lazy_type {
    /* Makes every member of the table at `index` and takes the metatable off. May raise. [-0, +0]
     */
    void (*make)(lua_State *L, int index);
    enum lazy_kind kind;
};

/* Marks the metatable at the top; `type` is static. Raises when out of memory. [-0, +0] */
void lazy_mark(lua_State *L, const struct lazy_type *type);

/* Makes such a table at `index` whole. Does nothing to other values. May raise. [-0, +0] */
void lazy_make_whole(lua_State *L, int index);

/* The same, only for one that is a table like any other to scripts. May raise. [-0, +0] */
void lazy_make_plain(lua_State *L, int index);

/* Is the value at `index` a table that scripts see no metatable of? Never raises. [-0, +0] */
bool lazy_is_plain(lua_State *L, int index);

/* Lua's `next`, for the __pairs of a table that is whole by then. */
int lazy_next(lua_State *L);
