/* The json module: arguments and results, the array mark, jansson trees. The text itself is read
 * and written by json_decode.c and json_encode.c. */
#include "bindings/json.h"

#include <lauxlib.h>

#include "bindings/bindings.h"
#include "limits.h"

enum { SCRATCH_KEEP = 64 * 1024, INDENT_MAX = 8 };

static struct buf scratch;
static const char array_key; /* its address is the registry's key */

struct buf *json_scratch(void)
{
    if (scratch.cap > SCRATCH_KEEP)
        buf_free(&scratch);
    buf_clear(&scratch);
    return &scratch;
}

const void *json_array_mark(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    const void *mark = lua_topointer(L, -1);
    lua_pop(L, 1);
    return mark;
}

void json_push_array_mt(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "json.array");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
}

/* ---- jansson trees ---- */

static void push_node(lua_State *L, const json_t *value, int mt, int depth);

static void push_object(lua_State *L, const json_t *value, int mt, int depth)
{
    lua_createtable(L, 0, (int)json_object_size(value));
    json_t *object = (json_t *)value; /* jansson's iterators take no const; nothing is changed */
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        lua_pushstring(L, json_object_iter_key(it));
        push_node(L, json_object_iter_value(it), mt, depth + 1);
        lua_rawset(L, -3);
    }
}

static void push_array(lua_State *L, const json_t *value, int mt, int depth)
{
    size_t count = json_array_size(value);
    lua_createtable(L, (int)count, 0);
    lua_pushvalue(L, mt);
    lua_setmetatable(L, -2);
    for (size_t i = 0; i < count; i++) {
        push_node(L, json_array_get(value, i), mt, depth + 1);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_node(lua_State *L, const json_t *value, int mt, int depth)
{
    if (depth > LIMIT_JSON_DEPTH)
        luaL_error(L, "JSON is nested deeper than %d levels", LIMIT_JSON_DEPTH);
    luaL_checkstack(L, 6, "JSON is nested too deep");
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        push_object(L, value, mt, depth);
        break;
    case JSON_ARRAY:
        push_array(L, value, mt, depth);
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(value));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(value));
        break;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    }
}

void json_push_tree(lua_State *L, const json_t *value)
{
    if (value == NULL) {
        lua_pushnil(L);
        return;
    }
    json_push_array_mt(L);
    push_node(L, value, lua_gettop(L), 0);
    lua_remove(L, -2);
}

/* Through text: what may raise is over before the tree exists, and a table that is referred to
 * from many places cannot make a tree larger than the limit. */
json_t *json_to_tree(lua_State *L, int index)
{
    struct buf *out = json_scratch();
    if (json_encode_value(L, index, out) != 0)
        return NULL;
    if (out->len > LIMIT_JSON_TREE_BYTES) {
        lua_pushfstring(L, "the value is over %d KB of JSON", LIMIT_JSON_TREE_BYTES / 1024);
        return NULL;
    }
    json_error_t error;
    json_t *tree = json_loadb(out->data, out->len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (tree == NULL)
        lua_pushstring(L, error.text);
    return tree;
}

/* ---- the module ---- */

/* json.array([t]): marks and returns t. */
static int l_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    json_push_array_mt(L);
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "the table has another metatable");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

static int l_decode(lua_State *L)
{
    struct str text;
    luaL_checktype(L, 1, LUA_TSTRING);
    text.ptr = lua_tolstring(L, 1, &text.len);
    if (json_decode_text(L, text) != 0)
        return luaL_error(L, "json.decode: %s", lua_tostring(L, -1));
    return 1;
}

static struct json_style check_style(lua_State *L, int index)
{
    struct json_style style = {0, false};
    if (lua_isnoneornil(L, index))
        return style;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "sort_keys") == 0) {
            style.sort_keys = lua_toboolean(L, -1);
        } else if (strcmp(name, "indent") == 0) {
            lua_Integer indent = lua_tointeger(L, -1);
            luaL_argcheck(L, lua_isinteger(L, -1) && indent >= 0 && indent <= INDENT_MAX, index,
                          "indent must be 0 to 8 spaces");
            style.indent = (int)indent;
        } else {
            luaL_argerror(L, index, "unknown option: indent and sort_keys are known");
        }
        lua_pop(L, 1);
    }
    return style;
}

static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct json_style style = check_style(L, 2);
    struct buf *out = json_scratch();
    if (json_encode_styled(L, 1, &style, out) != 0)
        return luaL_error(L, "json.encode: %s", lua_tostring(L, -1));
    lua_pushlstring(L, out->data, out->len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"array", l_array},
    {"decode", l_decode},
    {"encode", l_encode},
    {NULL, NULL},
};

int open_json(lua_State *L)
{
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
