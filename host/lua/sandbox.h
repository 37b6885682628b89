/* The globals a script sees: the allow-list of Lua's libraries (guard.h), the bindings, `require`,
 * and what writes to the log. */
#pragma once

#include <lua.h>

/* One module of the host: its global name, and a function that pushes its value (a table or a
 * function). */
struct binding {
    const char *name;
    lua_CFunction open; /* [-0, +1], may raise */
};

/* Fills the state's globals. `bindings` ends with a NULL name. Module tables are read-only for
 * scripts; one that comes with a metatable of its own is taken as it is and guards itself. To Lua's
 * libraries, as to the globals, scripts may add names that the host does not have. `print`, `warn`
 * and `io` write through `log` where it is among the bindings, else to the host's log. Stack
 * balanced. May raise. */
void sandbox_open(lua_State *L, const struct binding *bindings);

/* Pops a value and makes it a read-only global, like a binding. [-1, +0], may raise. */
void sandbox_set(lua_State *L, const char *name);

/* Seals the table on top as Lua's libraries are: replaces it by an empty one that shows it and,
 * until sandbox_freeze, takes new names. `name` is for messages. [-1, +1], may raise. */
void sandbox_seal_library(lua_State *L, const char *name);

/* From here on scripts may set neither globals nor names in libraries: a request's would be seen by
 * the next one. Called when the script has loaded. */
void sandbox_freeze(lua_State *L);
