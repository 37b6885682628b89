/* The debug library: what libraries ask about functions and calls of Lua, and nothing by which a
 * script could reach the host.
 *
 * Functions in C keep the host's limits in their upvalues, their frames hold its tables, and some
 * of them trust their arguments: of them there is to see what a trace shows, their name and place.
 * Other coroutines than the script's own are not shown. Metatables are as the base library has
 * them. There is no registry, no user value, no setlocal (Lua does not check what it puts in place
 * of a loop's counter), and hooks are the budget's. */
#include <lauxlib.h>
#include <string.h>

#include "lua/budget.h"
#include "lua/guard_parts.h"
#include "lua/vm.h"

/* The coroutine that a call is about; *arg is 1 if it was named, as the first argument. */
static lua_State *subject(lua_State *L, int *arg)
{
    *arg = 0;
    if (!lua_isthread(L, 1))
        return L;
    lua_State *co = lua_tothread(L, 1);
    luaL_argcheck(L, co == L || vm_marks(co) == VM_MARK_SCRIPT, 1,
                  "the coroutine belongs to the host");
    *arg = 1;
    return co;
}

/* A walk over the frames of a deep recursion takes long. */
static int call_stock(lua_State *L)
{
    budget_step(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* Lua makes the list of lines with the memory of the coroutine that is asked. Where that runs out
 * nothing catches the error of one that is not running, and the process ends. */
static void refuse_lines(lua_State *L, lua_State *co, int arg)
{
    const char *options = luaL_optstring(L, arg, "");
    luaL_argcheck(L, co == L || strchr(options, 'L') == NULL, arg,
                  "lines ('L') are told of the running coroutine only");
}

static int l_getinfo(lua_State *L)
{
    int arg;
    lua_State *co = subject(L, &arg);
    refuse_lines(L, co, arg + 2);
    (void)call_stock(L);
    if (!lua_istable(L, -1))
        return 1; /* nil: there is no such level */
    lua_getfield(L, -1, "func");
    bool is_hosts = lua_iscfunction(L, -1) && !lua_rawequal(L, -1, arg + 1);
    lua_pop(L, 1);
    if (is_hosts) {
        lua_pushnil(L);
        lua_setfield(L, -2, "func");
    }
    return 1;
}

/* Is it a variable's name, not Lua's word for a value that has none? */
static bool is_named(const char *name)
{
    return name != NULL && *name != '(';
}

/* Names of parameters of a function; names and values of variables in a running function of Lua. */
static int l_getlocal(lua_State *L)
{
    int arg;
    lua_State *co = subject(L, &arg);
    int number = (int)luaL_checkinteger(L, arg + 2);
    lua_Debug frame;
    if (lua_isfunction(L, arg + 1)) {
        lua_pushvalue(L, arg + 1);
        lua_pushstring(L, lua_getlocal(L, NULL, number));
        return 1;
    }
    int level = (int)luaL_checkinteger(L, arg + 1);
    if (level < 0 || !lua_getstack(co, level, &frame))
        return luaL_argerror(L, arg + 1, "level out of range");
    lua_getinfo(co, "S", &frame);
    if (!lua_checkstack(co, 1))
        return luaL_error(L, "stack overflow");
    const char *name = *frame.what != 'C' ? lua_getlocal(co, &frame, number) : NULL;
    if (name != NULL)
        lua_xmove(co, L, 1);
    lua_pushstring(L, is_named(name) ? name : NULL);
    if (!is_named(name))
        return 1;
    lua_insert(L, -2);
    return 2;
}

static int l_traceback(lua_State *L)
{
    int arg;
    (void)subject(L, &arg);
    return call_stock(L);
}

/* ---- upvalues, of functions of Lua ---------------------------------------------------------- */

static bool is_scripts_function(lua_State *L, int arg)
{
    luaL_checktype(L, arg, LUA_TFUNCTION);
    return !lua_iscfunction(L, arg);
}

static int l_getupvalue(lua_State *L)
{
    int number = (int)luaL_checkinteger(L, 2);
    const char *name = is_scripts_function(L, 1) ? lua_getupvalue(L, 1, number) : NULL;
    if (name == NULL)
        return 0;
    lua_pushstring(L, name);
    lua_insert(L, -2);
    return 2;
}

static int l_setupvalue(lua_State *L)
{
    luaL_checkany(L, 3);
    int number = (int)luaL_checkinteger(L, 2);
    lua_settop(L, 3);
    if (!is_scripts_function(L, 1))
        return 0;
    lua_pushstring(L, lua_setupvalue(L, 1, number));
    return lua_isnil(L, -1) ? 0 : 1;
}

static int l_upvalueid(lua_State *L)
{
    int number = (int)luaL_checkinteger(L, 2);
    void *id = is_scripts_function(L, 1) ? lua_upvalueid(L, 1, number) : NULL;
    if (id != NULL)
        lua_pushlightuserdata(L, id);
    else
        lua_pushnil(L);
    return 1;
}

static void check_upvalue(lua_State *L, int function, int number)
{
    luaL_argcheck(L, is_scripts_function(L, function), function, "Lua function expected");
    luaL_argcheck(L, lua_upvalueid(L, function, (int)luaL_checkinteger(L, number)) != NULL, number,
                  "invalid upvalue index");
}

static int l_upvaluejoin(lua_State *L)
{
    check_upvalue(L, 1, 2);
    check_upvalue(L, 3, 4);
    lua_upvaluejoin(L, 1, (int)lua_tointeger(L, 2), 3, (int)lua_tointeger(L, 4));
    return 0;
}

/* ---- hooks ---------------------------------------------------------------------------------- */

static int l_gethook(lua_State *L)
{
    lua_pushnil(L);
    return 1;
}

static int l_sethook(lua_State *L)
{
    (void)L;
    return 0;
}

static const luaL_Reg functions[] = {
    {"gethook", l_gethook},         {"getlocal", l_getlocal},
    {"getupvalue", l_getupvalue},   {"sethook", l_sethook},
    {"setupvalue", l_setupvalue},   {"upvalueid", l_upvalueid},
    {"upvaluejoin", l_upvaluejoin}, {NULL, NULL},
};

void guard_fill_debug(lua_State *L, int stock)
{
    luaL_setfuncs(L, functions, 0);
    guard_stand_before(L, stock, "getinfo", l_getinfo);
    guard_stand_before(L, stock, "traceback", l_traceback);
    static const char *const base[] = {"getmetatable", "setmetatable", NULL};
    for (const char *const *name = base; *name != NULL; name++) {
        lua_getglobal(L, *name);
        lua_pushcclosure(L, call_stock, 1); /* another value: messages name a function by it */
        lua_setfield(L, -2, *name);
    }
}
