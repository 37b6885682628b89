/* Opens the libraries: what is named here a script gets, nothing else. */
#include "lua/guard.h"

#include <lualib.h>

#include "lua/guard_parts.h"

/* Tables are made as large as they will be: growing step by step takes longer than filling. */
enum { GLOBALS = 64, LARGE = 16, SMALL = 8 };

/* Runs one of Lua's openers; leaves its table. */
static int open_stock(lua_State *L, lua_CFunction opener)
{
    lua_pushcfunction(L, opener);
    lua_call(L, 0, 1);
    return lua_gettop(L);
}

/* The fresh table for the library that open_stock left; guard_add_module takes both away. */
static void add_module(lua_State *L, const char *name)
{
    lua_setglobal(L, name);
    lua_pop(L, 1);
}

/* luaopen_base fills the state's globals, also with what no script may have: a new table takes
 * their place. */
static void open_base(lua_State *L)
{
    int stock = open_stock(L, luaopen_base);
    lua_createtable(L, 0, GLOBALS);
    guard_fill_base(L, stock);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pop(L, 1);
}

/* Methods of strings are looked up in the real table, behind the one that scripts see. Lua's
 * metatable is kept for the arithmetic on numbers in texts. */
static void open_string(lua_State *L)
{
    int stock = open_stock(L, luaopen_string);
    lua_createtable(L, 0, LARGE);
    guard_fill_string(L, stock);
    guard_fill_match(L);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
    add_module(L, "string");
}

/* All of it, also what Lua keeps for scripts of older versions where it was built so. */
static void open_math(lua_State *L)
{
    guard_fill_math(L, open_stock(L, luaopen_math));
    lua_setglobal(L, "math");
}

static void name_modules(lua_State *L)
{
    lua_pushglobaltable(L);
    guard_name_module(L, LUA_GNAME);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_istable(L, -1) && !lua_rawequal(L, -1, -3))
            guard_name_module(L, lua_tostring(L, -2));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void guard_open(lua_State *L)
{
    lua_createtable(L, 0, GUARD_MODULES);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    open_base(L);
    lua_createtable(L, 0, SMALL);
    guard_fill_coroutine(L);
    lua_setglobal(L, "coroutine");
    open_string(L);
    open_math(L);
    int stock = open_stock(L, luaopen_table);
    lua_createtable(L, 0, SMALL);
    guard_fill_table(L, stock);
    add_module(L, "table");
    stock = open_stock(L, luaopen_utf8);
    lua_createtable(L, 0, SMALL);
    guard_fill_utf8(L, stock);
    add_module(L, "utf8");
    stock = open_stock(L, luaopen_os);
    lua_createtable(L, 0, SMALL);
    guard_fill_os(L, stock);
    add_module(L, "os");
    stock = open_stock(L, luaopen_debug);
    lua_createtable(L, 0, LARGE);
    guard_fill_debug(L, stock);
    add_module(L, "debug");
    name_modules(L);
}
