/* jansson trees as Lua values, and back. */
#include "lua/tree.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/str.h"
#include "lua/budget.h"
#include "lua/lazy.h"

#include "lua/vm.h"

void tree_mark_array(lua_State *L)
{
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

void tree_push_array_mt(lua_State *L)
{
    if (vm_push_kept(L, VM_KEPT_ARRAY))
        return;
    lua_createtable(L, 0, 2);
    tree_mark_array(L);
    vm_keep(L, VM_KEPT_ARRAY);
}

static const char made_array;

void tree_make_array_mt(lua_State *L)
{
    tree_mark_array(L);
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &made_array);
}

bool tree_is_array_mt(lua_State *L)
{
    bool is = lua_rawgetp(L, -1, &made_array) != LUA_TNIL;
    lua_pop(L, 1);
    return is;
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

/* ---- the other way ---- */

struct reading {
    lua_State *L;
    struct tree_fault *fault;
    const void *array_mark;
    size_t path_len;
    unsigned depth;
    unsigned count; /* of values */
};

static int fault_of(struct reading *r, const char *text)
{
    errno = text != NULL ? EINVAL : ENOMEM;
    snprintf(r->fault->text, sizeof(r->fault->text), "%s", text != NULL ? text : "out of memory");
    return -1;
}

/* Appends a member's name or, without one, an element's number. Returns the length before. */
static size_t enter(struct reading *r, struct str name, lua_Integer index)
{
    size_t before = r->path_len, room = sizeof(r->fault->path) - before;
    int len = name.ptr != NULL
                  ? snprintf(r->fault->path + before, room, "/%.*s", STR_ARG(name))
                  : snprintf(r->fault->path + before, room, "/%lld", (long long)index - 1);
    r->path_len = (size_t)len < room ? before + (size_t)len : before;
    r->fault->path[r->path_len] = '\0';
    return before;
}

static void leave(struct reading *r, size_t before)
{
    r->path_len = before;
    r->fault->path[before] = '\0';
}

static bool is_array(struct reading *r)
{
    bool marked = lua_getmetatable(r->L, -1);
    if (marked) {
        marked = lua_topointer(r->L, -1) == r->array_mark;
        lua_pop(r->L, 1);
    }
    return marked || lua_rawlen(r->L, -1) > 0;
}

static int read_value(struct reading *r, json_t *into, struct str name);

/* The table's elements, into an array that is part of the tree. */
static int read_array(struct reading *r, json_t *array)
{
    lua_State *L = r->L;
    lua_Integer length = (lua_Integer)lua_rawlen(L, -1), found = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        found += lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= length
                     ? 1
                     : length + 1;
    if (found != length)
        return fault_of(r, "is a table with elements and other members: JSON has one or the other");
    int rc = 0;
    for (lua_Integer i = 1; rc == 0 && i <= length; i++) {
        size_t before = enter(r, (struct str){NULL, 0}, i);
        lua_rawgeti(L, -1, i);
        rc = read_value(r, array, (struct str){NULL, 0});
        lua_pop(L, 1);
        if (rc == 0)
            leave(r, before);
    }
    return rc;
}

static int read_object(struct reading *r, json_t *object)
{
    lua_State *L = r->L;
    int rc = 0;
    for (lua_pushnil(L); rc == 0 && lua_next(L, -2) != 0;) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            rc = fault_of(r, "is a table with a key that is no text");
        } else {
            struct str name = {lua_tostring(L, -2), lua_rawlen(L, -2)};
            size_t before = enter(r, name, 0);
            rc = str_is_utf8(name) ? read_value(r, object, name)
                                   : fault_of(r, "is a name that is not UTF-8");
            if (rc == 0)
                leave(r, before);
        }
        lua_pop(L, rc == 0 ? 1 : 2);
    }
    return rc;
}

/* Puts the value where it belongs: from then on the tree owns it. */
static int put(struct reading *r, json_t *into, struct str name, json_t *value)
{
    int rc = json_is_array(into) ? json_array_append_new(into, value)
                                 : json_object_setn_new_nocheck(into, name.ptr, name.len, value);
    return rc == 0 ? 0 : fault_of(r, NULL);
}

static int read_table(struct reading *r, json_t *into, struct str name)
{
    if (r->depth >= LIMIT_JSON_DEPTH || !lua_checkstack(r->L, 8))
        return fault_of(r, "is nested too deeply");
    budget_step(r->L);
    lazy_make_whole(r->L, -1);
    json_t *table = is_array(r) ? json_array() : json_object();
    if (put(r, into, name, table) != 0)
        return -1;
    r->depth++;
    int rc = json_is_array(table) ? read_array(r, table) : read_object(r, table);
    r->depth--;
    return rc;
}

/* The value on top becomes a member or an element of `into`. */
static int read_value(struct reading *r, json_t *into, struct str name)
{
    lua_State *L = r->L;
    if (++r->count > LIMIT_TREE_VALUES)
        return fault_of(r, "has too many values");
    if (lua_type(L, -1) == LUA_TTABLE)
        return read_table(r, into, name);
    if (lua_type(L, -1) == LUA_TSTRING) {
        struct str text = {lua_tostring(L, -1), lua_rawlen(L, -1)};
        return str_is_utf8(text) ? put(r, into, name, json_stringn_nocheck(text.ptr, text.len))
                                 : fault_of(r, "is a text that is not UTF-8");
    }
    if (lua_isinteger(L, -1))
        return put(r, into, name, json_integer(lua_tointeger(L, -1)));
    if (lua_type(L, -1) == LUA_TNUMBER)
        return isfinite(lua_tonumber(L, -1)) ? put(r, into, name, json_real(lua_tonumber(L, -1)))
                                             : fault_of(r, "is a number that JSON has not");
    if (lua_isboolean(L, -1))
        return put(r, into, name, json_boolean(lua_toboolean(L, -1)));
    if (lua_isnil(L, -1) || (lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == NULL))
        return put(r, into, name, json_null());
    char text[64];
    snprintf(text, sizeof(text), "is a %s, which JSON has not", luaL_typename(L, -1));
    return fault_of(r, text);
}

static int l_drop(lua_State *L)
{
    json_t **box = lua_touserdata(L, 1);
    json_decref(*box);
    *box = NULL;
    return 0;
}

/* The tree grows in a box that Lua owns, so that an error of Lua may leave from anywhere. */
static json_t **push_box(lua_State *L)
{
    json_t **box = lua_newuserdatauv(L, sizeof(json_t *), 0);
    *box = NULL;
    if (luaL_newmetatable(L, "luafn.tree")) {
        lua_pushcfunction(L, l_drop);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *box = json_array();
    return box;
}

json_t *tree_read(lua_State *L, int index, struct tree_fault *fault)
{
    int top = lua_gettop(L);
    struct reading r = {.L = L, .fault = fault};
    *fault = (struct tree_fault){.text = ""};
    luaL_checkstack(L, 8, NULL);
    lua_pushvalue(L, index);
    tree_push_array_mt(L);
    r.array_mark = lua_topointer(L, -1);
    lua_pop(L, 1);
    json_t **box = push_box(L);
    lua_insert(L, -2);
    int rc = *box != NULL ? read_value(&r, *box, (struct str){NULL, 0}) : fault_of(&r, NULL);
    int code = errno;
    json_t *value = rc == 0 ? json_incref(json_array_get(*box, 0)) : NULL;
    json_decref(*box);
    *box = NULL;
    lua_settop(L, top);
    errno = code;
    return value;
}
