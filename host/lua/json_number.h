/* Numbers in JSON as Lua values. */
#pragma once

#include <lua.h>

#include "base/str.h"

/* Reads the number at the start of `text`, which begins with a digit or a minus, and pushes it: an
 * integer when it has neither fraction nor exponent and 64 bits hold it, else a float. Returns its
 * length; or 0, and nothing is pushed: *reason says what is wrong with the byte at *at (the end of
 * the text, too), or with all of it (0). Raises when out of memory. */
size_t json_number_push(lua_State *L, struct str text, size_t *at, const char **reason);
