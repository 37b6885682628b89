/* The keys that a text of JSON has had, and which came after which: objects side by side mostly
 * have the same ones in the same order. A key that comes when it is expected is one comparison; it
 * is neither searched for its end nor looked up among Lua's strings. */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "base/str.h"

enum { JSON_KEYS = 32 };

struct json_keys {
    int base;                   /* stack index of the first of JSON_KEYS places */
    int last;                   /* place of the key before */
    struct str text[JSON_KEYS]; /* within the string in that place; without a pointer: none yet */
    unsigned char next[JSON_KEYS];
};

/* Of a struct of zeros. Takes JSON_KEYS places of Lua's stack, which must have room. */
void json_keys_open(struct json_keys *keys, lua_State *L);

/* Is this the key that is expected, up to its quote? `text` is behind a quote. Then it is pushed,
 * and its length is in *len. */
bool json_keys_expected(struct json_keys *keys, lua_State *L, struct str text, size_t *len);

/* The key on top of the stack was read instead. Its text has no escapes. */
void json_keys_seen(struct json_keys *keys, lua_State *L);
