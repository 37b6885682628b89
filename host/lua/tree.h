/* jansson trees as Lua values: how claims reach a script. */
#pragma once

#include <jansson.h>
#include <lua.h>

/* Pushes a copy of the value. Arrays carry the array metatable, null is the null pointer as light
 * userdata (json.null). Integers stay integers. Raises when out of memory. The tree's depth is
 * bounded by its parser. [-0, +1] */
void tree_push(lua_State *L, const json_t *value);

/* Pushes the metatable that marks arrays, so that empty ones stay arrays; one a state, made on
 * first use. [-0, +1] */
void tree_push_array_mt(lua_State *L);

/* Makes the metatable on top one that scripts take for that. [-0, +0] */
void tree_mark_array(lua_State *L);
