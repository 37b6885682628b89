/* Values as a person wants to see them in a log. */
#include "lua/show.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard_parts.h"
#include "lua/lazy.h"

enum { DEPTH_MAX = 16, COUNTED = 10000 };

struct outer {
    const struct outer *up;
    const void *table;
};

/* A userdata: Lua frees it when something raises. */
struct text {
    lua_State *L;
    size_t len;
    bool cut;
    char bytes[LIMIT_LOG_LINE];
};

static void add(struct text *text, const char *bytes, size_t len)
{
    if (len > sizeof(text->bytes) - text->len) {
        text->cut = true;
        return;
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void add_escape(struct text *text, char c)
{
    static const char signs[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
    const char *sign = memchr(signs, c, sizeof(signs) - 1);
    char escape[8] = {'\\', sign != NULL ? letters[sign - signs] : '\0'};
    if (sign == NULL)
        snprintf(escape, sizeof(escape), "\\u%04x", (unsigned char)c);
    add(text, escape, strlen(escape));
}

static void add_quoted(struct text *text, const char *s, size_t len)
{
    add(text, "\"", 1);
    for (size_t i = 0; i < len && !text->cut; i++) {
        if (s[i] == '"' || s[i] == '\\' || (unsigned char)s[i] < 0x20)
            add_escape(text, s[i]);
        else
            add(text, s + i, 1);
    }
    add(text, "\"", 1);
}

/* Are the keys 1 to n, as far as one looks? */
static bool is_list(lua_State *L, int table)
{
    lua_Integer count = 0, size = (lua_Integer)lua_rawlen(L, table);
    lua_pushnil(L);
    while (size > 0 && lua_next(L, table) != 0) {
        lua_pop(L, 1);
        bool is_element =
            lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= size;
        if (!is_element || ++count == COUNTED) {
            lua_pop(L, 1);
            return is_element;
        }
    }
    return size > 0 && count == size;
}

static void add_value(struct text *text, const struct outer *outer, int depth);

/* What has no word in JSON: by its type and place. */
static void add_other(struct text *text)
{
    lua_State *L = text->L;
    lua_pushfstring(L, "%s: %p", luaL_typename(L, -1), lua_topointer(L, -1));
    add_quoted(text, lua_tostring(L, -1), lua_rawlen(L, -1));
    lua_pop(L, 1);
}

static void add_list(struct text *text, int table, const struct outer *outer, int depth)
{
    lua_Integer size = (lua_Integer)lua_rawlen(text->L, table);
    add(text, "[", 1);
    for (lua_Integer i = 1; i <= size && !text->cut; i++) {
        if (i > 1)
            add(text, ",", 1);
        lua_rawgeti(text->L, table, i);
        add_value(text, outer, depth);
        lua_pop(text->L, 1);
    }
    add(text, "]", 1);
}

/* The key below the value on top. */
static void add_key(struct text *text)
{
    lua_State *L = text->L;
    size_t len;
    lua_pushvalue(L, -2);
    if (lua_isstring(L, -1)) {
        const char *key = lua_tolstring(L, -1, &len);
        add_quoted(text, key, len);
    } else if (lua_isboolean(L, -1)) {
        add_quoted(text, lua_toboolean(L, -1) ? "true" : "false", lua_toboolean(L, -1) ? 4 : 5);
    } else {
        add_other(text);
    }
    lua_pop(L, 1);
}

static void add_members(struct text *text, int table, const struct outer *outer, int depth)
{
    lua_State *L = text->L;
    add(text, "{", 1);
    lua_pushnil(L);
    for (bool first = true; !text->cut && lua_next(L, table) != 0; first = false) {
        budget_step(L);
        if (!first)
            add(text, ",", 1);
        add_key(text);
        add(text, ":", 1);
        add_value(text, outer, depth);
        lua_pop(L, 1);
    }
    add(text, "}", 1);
}

static bool is_within_itself(const struct outer *outer, const void *table)
{
    while (outer != NULL && outer->table != table)
        outer = outer->up;
    return outer != NULL;
}

void show_open(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (guard_push_sealed(L, index))
        lua_replace(L, index);
    lazy_make_whole(L, index);
}

static void add_table(struct text *text, const struct outer *outer, int depth)
{
    lua_State *L = text->L;
    show_open(L, -1);
    int table = lua_gettop(L);
    const struct outer here = {outer, lua_topointer(L, table)};
    if (is_within_itself(outer, here.table))
        add(text, "\"(cycle)\"", 9);
    else if (depth == DEPTH_MAX)
        add(text, "\"...\"", 5);
    else if (is_list(L, table))
        add_list(text, table, &here, depth + 1);
    else
        add_members(text, table, &here, depth + 1);
    lua_settop(L, table);
}

/* json.null */
static bool is_null(lua_State *L, int index)
{
    return lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL;
}

/* Of the value on top. */
static void add_value(struct text *text, const struct outer *outer, int depth)
{
    lua_State *L = text->L;
    size_t len;
    const char *s;
    luaL_checkstack(L, 8, NULL);
    budget_step(L);
    if (lua_isnil(L, -1) || is_null(L, -1)) {
        add(text, "null", 4);
    } else if (lua_istable(L, -1)) {
        add_table(text, outer, depth);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        s = lua_tolstring(L, -1, &len);
        add_quoted(text, s, len);
    } else if (lua_isnumber(L, -1) || lua_isboolean(L, -1)) {
        s = luaL_tolstring(L, -1, &len);
        add(text, s, len);
        lua_pop(L, 1);
    } else {
        add_other(text);
    }
}

void show_push(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (is_null(L, index)) {
        lua_pushliteral(L, "null");
        return;
    }
    bool has_own = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
    if (has_own)
        lua_pop(L, 1);
    if (has_own || !lua_istable(L, index)) {
        luaL_tolstring(L, index, NULL);
        return;
    }
    struct text *text = lua_newuserdatauv(L, sizeof(*text), 0);
    *text = (struct text){.L = L};
    lua_pushvalue(L, index);
    add_value(text, NULL, 0);
    lua_pop(L, 1);
    lua_pushlstring(L, text->bytes, text->len);
    if (text->cut) {
        lua_pushliteral(L, "...");
        lua_concat(L, 2);
    }
    lua_replace(L, -2);
}
