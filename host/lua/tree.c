/* jansson trees as Lua values. */
#include "lua/tree.h"

#include <lauxlib.h>

void tree_mark_array(lua_State *L)
{
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

void tree_push_array_mt(lua_State *L)
{
    static const char key = 0; /* its address is the registry key: no text to hash */
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    tree_mark_array(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

static void push_object(lua_State *L, const json_t *object)
{
    lua_createtable(L, 0, (int)json_object_size(object));
    json_t *source = (json_t *)(uintptr_t)object; /* jansson's iterators take no const */
    for (void *it = json_object_iter(source); it != NULL; it = json_object_iter_next(source, it)) {
        lua_pushlstring(L, json_object_iter_key(it), json_object_iter_key_len(it));
        tree_push(L, json_object_iter_value(it));
        lua_rawset(L, -3);
    }
}

static void push_array(lua_State *L, const json_t *array)
{
    size_t size = json_array_size(array);
    lua_createtable(L, (int)size, 0);
    for (size_t i = 0; i < size; i++) {
        tree_push(L, json_array_get(array, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    tree_push_array_mt(L);
    lua_setmetatable(L, -2);
}

void tree_push(lua_State *L, const json_t *value)
{
    luaL_checkstack(L, 4, "JSON is nested too deeply");
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        push_object(L, value);
        break;
    case JSON_ARRAY:
        push_array(L, value);
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
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    default:
        lua_pushboolean(L, json_is_true(value));
    }
}
