/* The fields of event and context: their names, and how each is made. */
#pragma once

#include <lua.h>

struct invocation;

struct field {
    const char *name;
    /* Pushes the value; may raise. [-0, +1]. A field of the context finds the context at index 1.
     */
    void (*push)(lua_State *L, struct invocation *inv);
};

/* By name; the last one's name is NULL. */
extern const struct field event_fields[];
extern const struct field event_fields_context[];
