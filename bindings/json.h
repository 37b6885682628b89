/* JSON straight from Lua values, without a tree in between (the other way is lua/json_decode.h);
 * and jansson trees to Lua.
 *
 * Integers stay integers (64 bit; larger ones become floats), arrays stay arrays, also when they
 * are or become empty (a decoded array has the json.array metatable), null is the light userdata
 * json.null. Refused: depth over LIMIT_JSON_DEPTH, NaN and infinities, text that is not UTF-8, keys
 * that are not strings, mixed tables. Metamethods are not called. */
#pragma once

#include <jansson.h>
#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct json_style {
    int indent;     /* spaces a level; 0: everything on one line, without spaces */
    bool sort_keys; /* by bytes; otherwise in Lua's order, which is none */
};

/* The process's buffer for one text at a time, emptied. Its bytes hold until the next call of a
 * function of this header or of script code. Lua errors may pass while it is in use. */
struct buf *json_scratch(void);

/* Encodes the value at `index`, appended to `out`. 0, or -1 with a message pushed on the stack [-0,
 * +(0|1)]. Raises when out of memory or when the budget has ended: `out` must be json_scratch() or
 * something else that outlives an error. `style` NULL: compact, unsorted. */
int json_encode_value(lua_State *L, int index, struct buf *out);
int json_encode_styled(lua_State *L, int index, const struct json_style *style, struct buf *out);
