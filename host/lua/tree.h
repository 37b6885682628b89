/* jansson trees as Lua values, and back: how claims reach a script, and schemas the host. */
#pragma once

#include <jansson.h>
#include <lua.h>
#include <stdbool.h>

/* Pushes a copy of the value. Arrays carry the array metatable, null is the null pointer as light
 * userdata (json.null). Integers stay integers. Raises when out of memory. The tree's depth is
 * bounded by its parser. [-0, +1] */
void tree_push(lua_State *L, const json_t *value);

/* Pushes the metatable that marks arrays, so that empty ones stay arrays; one a state, made on
 * first use. [-0, +1] */
void tree_push_array_mt(lua_State *L);
/* Makes the metatable at the top of the stack one of an array too, that has more to it: its tables
 * are arrays in JSON. May raise. [-0, +0] */
void tree_make_array_mt(lua_State *L);
/* Is the metatable at the top of the stack one of these? */
bool tree_is_array_mt(lua_State *L);

/* Makes the metatable on top one that scripts take for that. [-0, +0] */
void tree_mark_array(lua_State *L);

struct tree_fault {
    char path[256]; /* JSON Pointer */
    char text[128]; /* "is a function, which JSON has not" */
};

/* The value at `index` as jansson has it, as json.encode would write it: a table is an array if it
 * is marked as one or has elements, else an object. NULL: it cannot be written, *fault says why,
 * and errno is EINVAL; or ENOMEM. New reference. Raises when out of memory of Lua. [-0, +0] */
json_t *tree_read(lua_State *L, int index, struct tree_fault *fault);
