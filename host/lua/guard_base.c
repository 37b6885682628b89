/* The base library. */
#include "lua/guard.h"
#include "lua/guard_parts.h"
#include "lua/lazy.h"
#include "lua/vm.h"

/* ---- protected calls ----------------------------------------------------------------------- */

/* Stack: `extra` values, true, results; or, after an error, the error on top. */
static int finish_pcall(lua_State *L, int status, lua_KContext extra)
{
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)extra;
    guard_caught(L, status);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int l_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    guard_check_frames(L);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(L, status, 0);
}

/* The handler has run, or failed; its one result or its error is on top. */
static int finish_handler(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    if (status != LUA_OK && status != LUA_YIELD)
        guard_caught(L, status);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int finish_xpcall(lua_State *L, int status, lua_KContext context)
{
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - 1;
    guard_caught(L, status);
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    return finish_handler(L, lua_pcallk(L, 1, 1, 0, context, finish_handler), context);
}

/* The handler runs after the call has unwound, not inside of the error: so it is hooked like all
 * code, can be ended, and no stale handler is left in a coroutine that is closed (a use after free
 * in 5.4.4). Without `debug` a script sees no difference. */
static int l_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    guard_check_frames(L);
    lua_pushvalue(L, 1);
    lua_copy(L, 2, 1);
    lua_replace(L, 2); /* handler, function, arguments */
    lua_pushboolean(L, 1);
    lua_insert(L, 2); /* handler, true, function, arguments */
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 0, 0, finish_xpcall);
    return finish_xpcall(L, status, 0);
}

/* ---- tables -------------------------------------------------------------------------------- */

static int l_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (!lua_getmetatable(L, 1) || lazy_is_plain(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushliteral(L, "__metatable");
    if (lua_rawget(L, -2) != LUA_TNIL)
        return 1;
    if (lua_istable(L, 1))
        lua_pop(L, 1);
    else
        lua_pushboolean(L, 0); /* those of the host's values are the host's */
    return 1;
}

/* __mode is taken and changes nothing: there are no weak tables (lua/vm.c), all stay strong. */
static int l_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    lazy_make_plain(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_pushliteral(L, "__gc");
    if (lua_istable(L, 2) && lua_rawget(L, 2) != LUA_TNIL)
        return luaL_error(L, "'__gc' is not supported: finalizers cannot be interrupted");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* What a sealed table takes is its own affair. */
static int set_sealed(lua_State *L)
{
    luaL_getmetafield(L, 1, "__newindex");
    for (int i = 1; i <= 3; i++)
        lua_pushvalue(L, i);
    lua_call(L, 3, 0);
    lua_settop(L, 1);
    return 1;
}

static int l_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (guard_push_sealed(L, 1))
        return set_sealed(L);
    lazy_make_plain(L, 1);
    lua_rawset(L, 1);
    return 1;
}

static int l_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (guard_push_sealed(L, 1))
        lua_replace(L, 1);
    else
        lazy_make_whole(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int l_rawlen(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_argexpected(L, lua_istable(L, 1), 1, "table or string");
    lazy_make_plain(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* Stock `next`, which also walks over sealed tables and over those whose members are made when they
 * are read. */
static int l_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (guard_push_sealed(L, 1))
        lua_replace(L, 1);
    else
        lazy_make_whole(L, 1);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

/* ---- collectgarbage ------------------------------------------------------------------------ */

/* The host collects by itself: a whole collection takes long, and nothing could interrupt it. */
static int l_collectgarbage(lua_State *L)
{
    static const char *const options[] = {
        "collect",  "count",      "generational", "incremental", "isrunning", "restart",
        "setpause", "setstepmul", "step",         "stop",        NULL};
    enum { COUNT = 1, GENERATIONAL, INCREMENTAL, IS_RUNNING, STEP = 8 };
    switch (luaL_checkoption(L, 1, "collect", options)) {
    case COUNT:
        lua_pushnumber(L, lua_gc(L, LUA_GCCOUNT) + lua_gc(L, LUA_GCCOUNTB) / 1024.0);
        break;
    case GENERATIONAL:
    case INCREMENTAL:
        lua_pushliteral(L, "incremental");
        break;
    case IS_RUNNING:
    case STEP:
        lua_pushboolean(L, 1);
        break;
    default:
        lua_pushinteger(L, 0);
    }
    return 1;
}

/* ---- tostring ------------------------------------------------------------------------------ */

static int finish_tostring(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (!lua_isstring(L, -1))
        return luaL_error(L, "'__tostring' must return a string");
    return 1;
}

/* As Lua's own, but __tostring may be suspended. */
static int l_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL) {
        luaL_tolstring(L, 1, NULL);
        return 1;
    }
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 1, 0, finish_tostring);
    return finish_tostring(L, LUA_OK, 0);
}

static const luaL_Reg functions[] = {
    {"collectgarbage", l_collectgarbage},
    {"getmetatable", l_getmetatable},
    {"load", guard_load},
    {"next", l_next},
    {"pcall", l_pcall},
    {"rawget", l_rawget},
    {"rawlen", l_rawlen},
    {"rawset", l_rawset},
    {"setmetatable", l_setmetatable},
    {"tostring", l_tostring},
    {"xpcall", l_xpcall},
    {NULL, NULL},
};

void guard_fill_base(lua_State *L, int stock)
{
    static const char *const names[] = {"assert", "error",    "ipairs", "pairs",    "rawequal",
                                        "select", "tonumber", "type",   "_VERSION", NULL};
    guard_copy(L, stock, names);
    luaL_setfuncs(L, functions, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
}
