/* The globals a script sees: the allow-list of Lua's libraries (guard.h), the bindings, `require`,
 * `print`. */
#ifndef LUAFN_RUN_SANDBOX_H
#define LUAFN_RUN_SANDBOX_H

#include <lua.h>

/* One module of the host: its global name, and a function that pushes its value (a table or a
 * function). */
struct binding {
    const char *name;
    lua_CFunction open; /* [-0, +1], may raise */
};

/* Fills the state's globals. `bindings` ends with a NULL name. Module tables are read-only for
 * scripts. Stack balanced. May raise. */
void sandbox_open(lua_State *L, const struct binding *bindings);

#endif
