/* The two arguments of a handler: `event` (the request, Lambda-compatible) and `context`.
 *
 * Both are tables whose fields are made when they are first read: most handlers read two or three
 * of fifteen. While the invocation lives, a metatable makes them; when it ends, the metatable is
 * taken off, and fields that were never read are nil from then on. */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "base/str.h"

struct invocation;
struct event_slot;

enum { EVENT_ARGUMENTS = 2 };

/* Pushes the first `count` of event and context for the invocation, which keeps the slot until
 * event_release. Raises when out of memory. [-0, +count] */
void event_push(lua_State *L, struct invocation *inv, int count);

/* Detaches the tables from the invocation; allocates nothing, never raises. NULL is fine. */
void event_release(lua_State *L, struct event_slot *slot);

/* A WebSocket goes on for long after its handler has looked at the event. From here on the slot
 * lives as long as the script holds one of its tables, and the request should with it: `gone` is
 * told when they are collected, from within the collection. Raises when out of memory. [-0, +0] */
void event_let_go(lua_State *L, struct invocation *inv, void (*gone)(struct invocation *inv));

/* Is the value at `index` the event of that invocation? Never raises. */
bool event_is_of(lua_State *L, int index, const struct invocation *inv);

/* When the table at `index` is a live event whose headers the script has not looked at: true, and
 * *out is the Authorization header (ptr NULL: none; several are joined, which no token check
 * accepts). Spares building the headers' table. Raises when out of memory. */
bool event_authorization(lua_State *L, int index, struct str *out);
