/* The keys of a table: in a fixed order, since Lua's own order is none; and those that may be
 * there. */
#pragma once

#include <lua.h>

#include "base/str.h"

/* The names in the table at `table` (absolute index), sorted by bytes, in a userdata that is
 * pushed; the table keeps their bytes. NULL when a key is not a string: then that key is pushed
 * instead. Raises when out of memory. [-0, +1] */
struct str *keys_sorted(lua_State *L, int table, size_t *count);

/* Raises "NAME: KEY: unknown key; did you mean `...`?" where the table at `index` has a key that is
 * not in `known` (NULL-terminated). [-0, +0] */
void lx_keys_check(lua_State *L, int index, const char *const *known, const char *name);
