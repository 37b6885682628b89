/* Replacements for library functions that a hostile or broken script could use to outlive its
 * budget.
 *
 * pcall, xpcall, coroutine.* re-raise once the budget has ended and pass the host's yields up;
 * string.* and table.* functions are bounded and look at the budget; patterns run on our own
 * matcher (lua/pattern.c). setmetatable refuses __gc and __mode: finalizers run without hooks, and
 * weak tables with a capped allocator are a use-after-free in Debian's Lua 5.4.4. */
#pragma once

#include <lua.h>

/* Opens base functions, coroutine, string, table, math, utf8 and os (time date clock difftime) by
 * allow-list, with the replacements. Leaves nothing on the stack. May raise (run it under
 * lua_pcall). */
void guard_open(lua_State *L);

/* The coroutine that `co`, which the host has suspended, resumes; NULL: none. [-0, +0], never
 * raises
 */
lua_State *guard_resumed_by(lua_State *co);

/* After a protected call ended with `status`: returns when that is an error which the script may
 * see; raises the end when the budget has ended or memory has run out. */
void guard_caught(lua_State *L, int status);
