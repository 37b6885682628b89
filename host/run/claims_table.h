/* Claims as a script's table, whose members are made when they are read.
 *
 * It is a table of JSON (lua/json_lazy.h) over the claims' sheet (json/sheet.h), which it carries
 * as memory of the script's state: it needs neither request nor cache, and lives as long as the
 * script keeps it. */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "auth/verify.h"

/* Pushes the claims, without the namespace `ns` if it is not empty, as a table of its own. Raises
 * when out of memory. [-0, +1] */
void claims_table_push(lua_State *L, struct claims *claims, struct str ns);

/* Pushes the token that they came in. [-0, +1] */
void claims_push_token(lua_State *L, const struct claims *claims, struct str token);

/* Pushes what the map makes of such a table's sheet, a userdata that tables may share. False, and
 * nothing: it was touched, or cannot be mapped (sheet_map). Raises when out of memory.
 * [-0, +(0|1)] */
bool claims_push_mapped(lua_State *L, int index, const struct sheet_map *map);
