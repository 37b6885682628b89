/* JSON straight from and to Lua values, without a tree in between; and jansson trees to Lua, for
 * claims.
 *
 * Integers stay integers (64 bit; larger ones become floats), empty arrays stay arrays (a table
 * with the json.array metatable), null is the light userdata json.null. Refused: depth over
 * LIMIT_JSON_DEPTH, NaN and infinities, text that is not UTF-8, keys that are not strings, mixed
 * tables. */
#ifndef LUAFN_BINDINGS_JSON_H
#define LUAFN_BINDINGS_JSON_H

#include <jansson.h>
#include <lua.h>

#include "base/buf.h"
#include "base/str.h"

/* Encodes the value at `index`, appended to `out`. 0, or -1 with a message pushed on the stack [-0,
 * +(0|1)]. */
int json_encode_value(lua_State *L, int index, struct buf *out);
/* Decodes a text and pushes the value [+1]; or returns -1 and pushes a message with the position
 * [+1]. Duplicate keys: the last wins. */
int json_decode_text(lua_State *L, struct str text);
/* Pushes a copy of a jansson value. Raises when out of memory. [-0, +1] */
void json_push_tree(lua_State *L, const json_t *value);
/* The Lua value at `index` as a jansson tree (new reference), or NULL with a message pushed. */
json_t *json_to_tree(lua_State *L, int index);
/* Pushes the metatable that marks arrays. Made on first use; works without open_json. [-0, +1] */
void json_push_array_mt(lua_State *L);

#endif
