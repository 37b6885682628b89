/* What the guard's files share. Included by guard*.c, sandbox.c and show.c only. */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

enum { GUARD_MODULES = 32 }; /* room for the tables that a script sees */

/* Each pushes nothing and fills the table on top of the stack with its functions; `stock` is the
 * stack index of Lua's own library table, from which the harmless ones are taken. */
void guard_fill_base(lua_State *L, int stock);
void guard_fill_coroutine(lua_State *L);
void guard_fill_string(lua_State *L, int stock);
void guard_fill_match(lua_State *L);
void guard_fill_table(lua_State *L, int stock);
void guard_fill_utf8(lua_State *L, int stock);
void guard_fill_os(lua_State *L, int stock);
void guard_fill_math(lua_State *L, int math); /* changes that table itself */
void guard_fill_debug(lua_State *L, int stock);

/* Pushes the io library, which writes by the functions at these indexes: as log.info and log.warn
 * are called. [-0, +1] */
void guard_push_io(lua_State *L, int info, int warn);

/* Copies the named fields (the list ends with NULL) of the table at `stock` into the table on top.
 */
void guard_copy(lua_State *L, int stock, const char *const *names);

/* Sets `name` in the table on top to `function`, whose upvalue is the stock function. */
void guard_stand_before(lua_State *L, int stock, const char *name, lua_CFunction function);

/* Sets `name` in the table on top to the stock function behind a check that its first argument, if
 * a text, has at most `limit` bytes. */
void guard_copy_bounded(lua_State *L, int stock, const char *name, size_t limit);

/* Lua's messages call the functions of the table on top "NAME.function" from now on. [-0, +0] */
void guard_name_module(lua_State *L, const char *name);

/* Raises where a protected call is nested in too many calls. */
void guard_check_frames(lua_State *L);

/* load; guard_load.c. */
int guard_load(lua_State *L);

/* table.sort; guard_sort.c. */
int guard_sort(lua_State *L);

/* The length that table functions go by: __len is honoured. */
lua_Integer guard_length(lua_State *L, int idx);

/* Makes the table on top read-only: replaces it by an empty one that shows it. [-1, +1] */
void guard_seal(lua_State *L);

/* When the value at `idx` is a sealed table, pushes the table behind it. */
bool guard_push_sealed(lua_State *L, int idx);

/* Sealing with another __newindex function, which is on top of the table. [-2, +1] */
void guard_seal_with(lua_State *L);
