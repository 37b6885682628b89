/* Tables of a JSON text whose members are made when they are read.
 *
 * Most handlers read three members of a large document and hand on the rest. So json.decode checks
 * the text, keeps it, and gives a table that is empty; what is read of it is made then, and what is
 * not is written as it came. To a script it is a plain table: what cannot be had member by member
 * (pairs, next, rawset, setmetatable ...) first makes all of its members, see lua/lazy.h; those
 * that are tables are again of this kind.
 *
 * Raw, it holds the members that were made or set, and under a light userdata its level. */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "json/boxes.h"
#include "json/sheet.h"

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

/* What is known of one object or array. In memory of the Lua state. */
struct json_level {
    uint64_t no_serial; /* 0, where a sheet has its serial */
    struct str text;    /* the whole document */
    const struct json_box *boxes, *box;
    const struct sheet *sheet; /* NULL: the text is that of a string */
    bool touched;              /* a member was made or set */
    bool whole;                /* all of its members were made */
    bool set;                  /* there may be members besides those of the text */
    uint8_t reads;
    uint32_t found;                    /* so many places are known, */
    uint32_t next_at;                  /* the next one is there, or they end, */
    const struct json_box *next_child; /* the next object or array is that */
    /* Places: of an object, where its names' quotes are, and of an odd array its elements; with
     * JSON_LEVEL_MADE: the raw table stands for it. */
    uint32_t at[];
};

#define JSON_LEVEL_MADE UINT32_C(0x80000000)

/* The level of the table at `index`, made if it was a sheet's that nobody had touched; NULL: it is
 * no such table (any more). Raises when out of memory. [-0, +0] */
struct json_level *json_lazy_level(lua_State *L, int index);

/* Finds all of its places, which the others below go by. */
void json_level_find(struct json_level *level);

/* As it is in the text: the member's or element's value, and the member's name. */
struct str json_level_value(const struct json_level *level, uint32_t member);
struct str json_level_name(const struct json_level *level, uint32_t member);

/* Index of the member, or -1: the object of this text has none of that name. */
int64_t json_level_member(const struct json_level *level, struct str name);

/* Pushes the scalar that the text spells so. May raise. [-0, +1] */
void json_lazy_push_scalar(lua_State *L, struct str text);
