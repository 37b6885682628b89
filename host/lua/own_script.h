/* Scripts of the program itself (base/embedded.h) that do a part of its work: tables and texts are
 * easier to read in Lua. Each runs in a state of its own, with all of Lua's libraries and no
 * limits: none of them is a user's. */
#pragma once

#include <lauxlib.h>

#include "base/err.h"

/* Calls body(L, arg), protected, with the loaded script on the stack: it pushes what the script
 * takes, calls it, and keeps what it returns. 0, -ENOMEM, or -EINVAL with what was raised. */
int own_script_run(const char *file, void (*body)(lua_State *L, void *arg), void *arg,
                   struct err *err) __attribute__((warn_unused_result));
