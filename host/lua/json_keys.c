#include "lua/json_keys.h"

#include <string.h>

void json_keys_open(struct json_keys *keys, lua_State *L)
{
    keys->base = lua_gettop(L) + 1;
    lua_settop(L, keys->base + JSON_KEYS - 1);
}

bool json_keys_expected(struct json_keys *keys, lua_State *L, struct str text, size_t *len)
{
    int place = keys->next[keys->last];
    struct str key = keys->text[place];
    if (key.ptr == NULL || key.len >= text.len || text.ptr[key.len] != '"' ||
        memcmp(text.ptr, key.ptr, key.len) != 0)
        return false;
    keys->last = place;
    *len = key.len;
    lua_pushvalue(L, keys->base + place);
    return true;
}

/* Any place will do: a key that takes the place of another one makes that one unexpected. */
static int place_of(struct str key)
{
    size_t sum = key.len;
    if (key.len > 0)
        sum += (unsigned char)key.ptr[0] * 7u + (unsigned char)key.ptr[key.len - 1] * 3u;
    return (int)(sum % JSON_KEYS);
}

void json_keys_seen(struct json_keys *keys, lua_State *L)
{
    struct str key;
    key.ptr = lua_tolstring(L, -1, &key.len);
    int place = place_of(key);
    keys->text[place] = key;
    keys->next[keys->last] = (unsigned char)place;
    keys->last = place;
    lua_copy(L, -1, keys->base + place);
}
