/* The keys of a table. */
#include "bindings/keys.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lua/lazy.h"
#include "options/options.h"

static int compare(const void *a, const void *b)
{
    const struct str *x = a;
    const struct str *y = b;
    size_t shorter = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->ptr, y->ptr, shorter);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

struct str *keys_sorted(lua_State *L, int table, size_t *count)
{
    size_t n = 0;
    lazy_make_whole(L, table);
    lua_pushnil(L);
    for (; lua_next(L, table); n++)
        lua_pop(L, 1);
    struct str *keys = lua_newuserdatauv(L, n * sizeof(*keys), 0);
    size_t i = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            lua_replace(L, -2);
            return NULL;
        }
        keys[i].ptr = lua_tolstring(L, -1, &keys[i].len);
        i++;
    }
    qsort(keys, n, sizeof(*keys), compare);
    *count = n;
    return keys;
}

void lx_keys_check(lua_State *L, int index, const char *const *known, const char *name)
{
    struct err err;
    struct options_reader r = {.L = L, .err = &err, .file = "?"};
    lua_pushvalue(L, index);
    lazy_make_whole(L, lua_gettop(L));
    if (options_check_keys(&r, known) != 0) {
        const char *text = strstr(err.text, ": "); /* "?:1: key: ..." */
        luaL_error(L, "%s: %s", name, text != NULL ? text + 2 : err.text);
    }
    lua_pop(L, 1);
}
