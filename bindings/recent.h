/* What a module has made last, kept in the state: a table from what it was made of to what was
 * made, with the keys of the newest under 1 to `most` and the number of the newest under 0. (There
 * are no weak tables, see lua/vm.c.) Both may raise. */
#pragma once

#include <lua.h>

/* Pushes the table that the registry has under this address; made when it is first asked for.
 * [-0, +1] */
void recent_push(lua_State *L, const void *address);
/* Keeps what is on top under the key at index `key`, in the table at index `table`, in place of the
 * oldest. The key is no number. [-0, +0] */
void recent_keep(lua_State *L, int table, int key, lua_Integer most);
