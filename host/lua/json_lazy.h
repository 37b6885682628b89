/* Tables of a JSON text whose members are made when they are read.
 *
 * Most handlers read three members of a large document and hand on the rest. So json.decode checks
 * the text, keeps it, and gives a table that is empty; what is read of it is made then, and what is
 * not is written as it came. To a script it is a plain table: what cannot be had member by member
 * (pairs, next, rawset, setmetatable ...) first makes all of its members, see lua/lazy.h; those
 * that are tables are again of this kind.
 *
 * Objects side by side in an array, its rows, are mostly read alike: the first is made alone, and
 * the others, as soon as one of them is read, together with those of their members that were read
 * of it.
 *
 * Raw, such a table holds the members that were made or set, and under a light userdata its level;
 * a row only its place, until something else is asked of it. */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "base/str.h"
#include "json/sheet.h"
#include "lua/json_level.h"

/* Decodes the string at `index`, as json_decode_text does: pushes the value, which holds on to the
 * string while any part of it is such a table; or returns -1 and pushes a message. [-0, +1] */
int json_lazy_decode(lua_State *L, int index);

/* Puts a table of its members, which are made the same way, in place of the sheet (json/sheet.h) on
 * top, a userdata that tables may share. Raises when out of memory. [-1, +1] */
void json_lazy_wrap(lua_State *L);

/* The sheet that the table at `index` is of; NULL: it is of none, or was touched. Never raises.
 * [-0, +0] */
const struct sheet *json_lazy_sheet(lua_State *L, int index);

/* The same, and pushes it unless NULL. [-0, +(0|1)] */
const struct sheet *json_lazy_push_sheet(lua_State *L, int index);

/* The level of the table at `index`, made if it was a sheet's or a row that nobody had touched;
 * NULL: it is no such table (any more). Raises when out of memory. [-0, +0] */
struct json_level *json_lazy_level(lua_State *L, int index);

/* If the table at `index` still says what its text does, as far as a look can tell: the text, and
 * its box; NULL else. Raises when out of memory. [-0, +0] */
const struct json_box *json_lazy_unchanged(lua_State *L, int index, struct str *text);

/* Pushes the scalar that the text spells so. May raise. [-0, +1] */
void json_lazy_push_scalar(lua_State *L, struct str text);
