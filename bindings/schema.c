/* The schema module: values of a script against JSON Schemas. */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/recent.h"
#include "lua/budget.h"
#include "lua/tree.h"
#include "lua/vm.h"
#include "schema/schema.h"

/* What C would have to free lies in userdata: an error of Lua may leave from anywhere. */
struct box {
    struct schema *schema;
};

struct checking {
    struct arena arena;
    json_t *value;
    struct schema_errors errors;
};

static int l_free_box(lua_State *L)
{
    struct box *box = lua_touserdata(L, 1);
    schema_free(box->schema);
    box->schema = NULL;
    return 0;
}

static int l_free_checking(lua_State *L)
{
    struct checking *checking = lua_touserdata(L, 1);
    json_decref(checking->value);
    checking->value = NULL;
    arena_free(&checking->arena);
    return 0;
}

static void *push_userdata(lua_State *L, size_t size, const char *name, lua_CFunction gc)
{
    void *block = lua_newuserdatauv(L, size, 0);
    memset(block, 0, size);
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return block;
}

/* Compiles the schema at 1. What it takes is the script's memory: a block of that size is pushed
 * for it. That holds the box, and not the other way round: what has a finalizer, and all that it
 * holds, outlives a collection. */
static const struct schema *lx_compile(lua_State *L)
{
    struct tree_fault unreadable;
    struct schema_fault fault;
    struct box *box = push_userdata(L, sizeof(*box), "luafn.schema", l_free_box);
    json_t *source = tree_read(L, 1, &unreadable);
    if (source == NULL && errno == ENOMEM)
        luaL_error(L, "out of memory");
    if (source == NULL)
        luaL_error(L, "schema.check: the schema's %s %s", unreadable.path, unreadable.text);
    box->schema = schema_new(source, &fault);
    json_decref(source);
    if (box->schema == NULL && errno == ENOMEM)
        luaL_error(L, "out of memory");
    if (box->schema == NULL)
        luaL_error(L, "schema.check: the schema%s%s %s", fault.path[0] != '\0' ? "'s " : "",
                   fault.path, fault.text);
    lua_newuserdatauv(L, schema_size(box->schema), 1);
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
    return box->schema;
}

/* The schema at 1; what holds it is pushed. */
static const struct schema *lx_schema(lua_State *L)
{
    if (!lua_istable(L, 1)) {
        luaL_argcheck(L, lua_isboolean(L, 1), 1, "a schema is a table, true or false");
        return lx_compile(L);
    }
    static const char key = 0;
    recent_push(L, &key);
    int kept = lua_gettop(L);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, kept) == LUA_TUSERDATA) {
        lua_getiuservalue(L, -1, 1);
        return ((struct box *)lua_touserdata(L, -1))->schema;
    }
    lua_pop(L, 1);
    const struct schema *schema = lx_compile(L);
    recent_keep(L, kept, 1, LIMIT_SCHEMAS_KEPT);
    return schema;
}

/* The state's one check, in which no other can begin; empty, whatever became of the one before. */
static struct checking *lx_checking(lua_State *L)
{
    static const char key = 0;
    struct checking *c;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TUSERDATA) {
        c = lua_touserdata(L, -1);
    } else {
        c = push_userdata(L, sizeof(*c), "luafn.schema.checking", l_free_checking);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    }
    json_decref(c->value);
    arena_free(&c->arena);
    c->value = NULL;
    return c;
}

static void push_error(lua_State *L, struct str path, struct str message)
{
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, path.ptr != NULL ? path.ptr : "", path.len);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, message.ptr, message.len);
    lua_setfield(L, -2, "message");
}

/* A value that JSON has not is no value of any schema. */
static int push_unreadable(lua_State *L, const struct tree_fault *fault)
{
    if (errno == ENOMEM)
        return luaL_error(L, "out of memory");
    lua_pushnil(L);
    lua_createtable(L, 1, 0);
    push_error(L, str_from(fault->path), str_from(fault->text));
    lua_rawseti(L, -2, 1);
    return 2;
}

/* schema.check(schema, value) -> value, or nil and a list of errors */
static int l_check(lua_State *L)
{
    struct tree_fault unreadable;
    luaL_checkany(L, 1);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    const struct schema *schema = lx_schema(L);
    struct checking *c = lx_checking(L);
    c->value = tree_read(L, 2, &unreadable);
    if (c->value == NULL)
        return push_unreadable(L, &unreadable);
    int rc = schema_check(schema, c->value, SCHEMA_LUA, &c->arena, &c->errors);
    budget_step(L);
    if (rc == -ENOMEM)
        return luaL_error(L, "out of memory");
    if (rc == 0) {
        lua_pushvalue(L, 2);
    } else {
        lua_pushnil(L);
        lua_createtable(L, (int)c->errors.count, 0);
    }
    for (unsigned i = 0; rc != 0 && i < c->errors.count; i++) {
        push_error(L, c->errors.list[i].path, c->errors.list[i].message);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    json_decref(c->value);
    c->value = NULL;
    arena_free(&c->arena);
    return rc == 0 ? 1 : 2;
}

static const luaL_Reg functions[] = {{"check", l_check}, {NULL, NULL}};

int open_schema(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
