/* TOML as a tree: what share/toml.lua reads, as plain structs. */
#include "config/toml.h"

#include <errno.h>

#include "base/limits.h"
#include "lua/own_script.h"

struct reading {
    struct arena *arena;
    struct str text;
    struct toml *root;
};

static struct str keep(lua_State *L, struct arena *arena, int index)
{
    struct str s;
    s.ptr = lua_tolstring(L, index, &s.len);
    s = arena_copy(arena, s);
    if (s.ptr == NULL)
        luaL_error(L, "1: out of memory");
    return s;
}

static void take_value(lua_State *L, struct arena *arena, struct toml *node)
{
    lua_getfield(L, -1, "value");
    if (lua_type(L, -1) == LUA_TSTRING) {
        node->text = keep(L, arena, -1);
    } else {
        node->integer = lua_tointeger(L, -1);
        node->number = lua_tonumber(L, -1);
        node->boolean = lua_isboolean(L, -1) && lua_toboolean(L, -1);
    }
    lua_pop(L, 1);
}

/* The node at the top of the stack, and all below it; pops it. */
static struct toml *take_node(lua_State *L, struct arena *arena)
{
    static const char *const types[] = {[TOML_TABLE] = "table", [TOML_ARRAY] = "array",
                                        [TOML_TEXT] = "text",   [TOML_INTEGER] = "integer",
                                        [TOML_FLOAT] = "float", [TOML_BOOLEAN] = "boolean",
                                        [TOML_DATE] = "date",   NULL};
    struct toml *node = arena_zalloc(arena, sizeof(*node));
    if (node == NULL) {
        luaL_error(L, "1: out of memory");
        return NULL;
    }
    luaL_checkstack(L, 4, "nested too deep");
    lua_getfield(L, -1, "type");
    node->type = (enum toml_type)luaL_checkoption(L, -1, NULL, types);
    lua_getfield(L, -2, "line");
    node->line = (unsigned)lua_tointeger(L, -1);
    if (lua_getfield(L, -3, "key") == LUA_TSTRING)
        node->key = keep(L, arena, -1);
    lua_pop(L, 3);
    take_value(L, arena, node);
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
        struct toml *child = take_node(L, arena);
        *(node->last != NULL ? &node->last->next : &node->first) = child;
        node->last = child;
    }
    lua_pop(L, 2);
    return node;
}

/* stack: the script */
static void read_tree(lua_State *L, void *arg)
{
    struct reading *reading = arg;
    lua_pushlstring(L, reading->text.ptr, reading->text.len);
    lua_pushinteger(L, LIMIT_TOML_DEPTH);
    lua_pushinteger(L, LIMIT_TOML_NODES);
    lua_call(L, 3, 1);
    reading->root = take_node(L, reading->arena);
}

struct toml *toml_parse(struct arena *arena, struct str text, struct err *err)
{
    struct reading reading = {.arena = arena, .text = text};
    int rc = str_is_utf8(text) ? own_script_run("share/toml.lua", read_tree, &reading, err)
                               : err_set(err, -EINVAL, "1: the file is not UTF-8");
    return rc == 0 ? reading.root : NULL;
}

struct toml *toml_get(const struct toml *table, struct str key)
{
    if (table == NULL || table->type != TOML_TABLE)
        return NULL;
    for (struct toml *node = table->first; node != NULL; node = node->next) {
        if (str_eq(node->key, key))
            return node;
    }
    return NULL;
}
