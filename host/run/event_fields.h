/* The fields of event and context: their names, and how each is made. */
#pragma once

#include <lua.h>

#include "base/str.h"

struct invocation;

struct field {
    const char *name;
    /* Pushes the value; may raise. [-0, +1]. A field of the context finds the context at index 1.
     */
    void (*push)(lua_State *L, struct invocation *inv);
};

/* Pushes text of a request: what is not UTF-8 in it is U+FFFD, as in Node, so that a handler can
 * write it into JSON. [-0, +1] */
void event_push_text(lua_State *L, struct str s);

/* By name; the last one's name is NULL. */
extern const struct field event_fields[];
extern const struct field event_fields_context[];
