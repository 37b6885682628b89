/* Claims as a script's table, whose members are made when they are read.
 *
 * Most handlers read one or two members of the ten that a token has, and write all of them into
 * their answer. The table carries the claims' sheet (json/sheet.h) as memory of the script's state:
 * it needs neither request nor cache, and lives as long as the script keeps it. To a script it is a
 * plain table: what cannot be had member by member (pairs, next, rawset, setmetatable ...) first
 * makes them all, see lua/lazy.h.
 *
 * Raw, it holds the members that were made or set, under their names, and under a light userdata
 * its sheet, or once something was made, what is kept of that. */
#ifndef LUAFN_RUN_CLAIMS_TABLE_H
#define LUAFN_RUN_CLAIMS_TABLE_H

#include <lua.h>
#include <stdbool.h>

#include "auth/verify.h"

/* Pushes the claims, without the namespace `ns` if it is not empty, as a table of its own. Raises
 * when out of memory. [-0, +1] */
void claims_table_push(lua_State *L, struct claims *claims, struct str ns);

/* Pushes the token that they came in. [-0, +1] */
void claims_push_token(lua_State *L, struct str token);

struct claims_table {
    const struct sheet *sheet; /* borrowed: of the Lua state */
    uint64_t made; /* a bit for each member of the sheet that the raw table stands for */
    bool others;   /* it may have members besides */
};

/* What the table at `index` has. False: it is no such table (any more). Never raises. [-0, +0] */
bool claims_table_view(lua_State *L, int index, struct claims_table *view);

/* The sheet of a table that is as it was pushed; else NULL. Never raises. [-0, +0] */
const struct sheet *claims_table_untouched(lua_State *L, int index);

/* Pushes what the map makes of such a table's sheet, a userdata that tables may share. False, and
 * nothing: it was touched, or cannot be mapped (sheet_map). Raises when out of memory.
 * [-0, +(0|1)] */
bool claims_push_mapped(lua_State *L, int index, const struct sheet_map *map);

/* Puts a table of claims in place of the sheet on top. Raises when out of memory. [-1, +1] */
void claims_table_wrap(lua_State *L);

#endif
