/* JSON text straight to Lua values, without a tree in between.
 *
 * Integers stay integers (64 bit; larger ones become floats), arrays get the array metatable of
 * lua/tree.h, null is the null pointer as light userdata. Refused: depth over LIMIT_JSON_DEPTH,
 * numbers beyond a float, text that is not UTF-8. */
#pragma once

#include <lua.h>

#include "base/str.h"

/* Decodes a text and pushes the value [+1]; or returns -1 and pushes a message with the position
 * [+1]. Duplicate keys: the last wins. Raises when out of memory or when the budget has ended: the
 * text must be where an error of Lua leaves it alone. */
int json_decode_text(lua_State *L, struct str text);
