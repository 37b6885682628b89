/* The globals a script sees: the allow-list of Lua's libraries (guard.h), the bindings, `require`,
 * `print`. */
#ifndef LUAFN_LUA_SANDBOX_H
#define LUAFN_LUA_SANDBOX_H

#include <lua.h>

/* One module of the host: its global name, and a function that pushes its value (a table or a
 * function). */
struct binding {
    const char *name;
    lua_CFunction open; /* [-0, +1], may raise */
};

/* Fills the state's globals. `bindings` ends with a NULL name. Module tables are read-only for
 * scripts; one that comes with a metatable of its own is taken as it is and guards itself. `print`
 * writes through log.info where there is a `log` among the bindings, else to the host's log. Stack
 * balanced. May raise. */
void sandbox_open(lua_State *L, const struct binding *bindings);

/* Pops a value and makes it a read-only global, like a binding. [-1, +0], may raise. */
void sandbox_set(lua_State *L, const char *name);

/* From here on scripts may not set globals: a request's would be seen by the next one. Called when
 * the script has loaded. */
void sandbox_freeze(lua_State *L);

#endif
