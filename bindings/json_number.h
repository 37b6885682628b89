/* Numbers in JSON, for json_encode.c and json_decode.c. */
#ifndef LUAFN_BINDINGS_JSON_NUMBER_H
#define LUAFN_BINDINGS_JSON_NUMBER_H

#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/* The shortest form that reads back the same; `value` must be finite. Whole numbers below 2^53 have
 * no fraction, as in JavaScript; minus zero is "-0". */
void json_number_add_float(struct buf *out, double value);

/* Pushes the value of a number that was found well-formed; `whole`: it has neither fraction nor
 * exponent, and becomes an integer where 64 bits hold it. False, and nothing pushed, when it is
 * beyond a float. Raises when out of memory. */
bool json_number_push(lua_State *L, struct str text, bool whole);

#endif
