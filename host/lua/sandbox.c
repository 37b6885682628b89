/* What a script sees.
 *
 * The globals are two tables: the real one, and in front of it an empty one that scripts get as
 * their environment. Names of the host cannot be set at all; a script's own can until the globals
 * are frozen. The module tables are sealed likewise. */
#include "lua/sandbox.h"

#include "base/log.h"
#include "lua/guard.h"
#include "lua/guard_parts.h"
#include "lua/show.h"
#include "lua/vm.h"

static const char builtin_key; /* registry[&builtin_key] = { [name of the host] = true } */

/* ---- print, warn
 * --------------------------------------------------------------------------------- */

/* The text on top to the log. Upvalue: log.info or log.warn, or nil. */
static int write_line(lua_State *L, enum log_level level)
{
    if (lua_isnil(L, lua_upvalueindex(1))) {
        log_message(level, "%s", lua_tostring(L, -1));
        return 0;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, -2);
    lua_call(L, 1, 0);
    return 0;
}

/* Upvalue: log.info, or nil. */
static int l_print(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        show_push(L, i);
        luaL_addvalue(&line);
    }
    luaL_pushresult(&line);
    return write_line(L, LOG_INFO);
}

/* warn(...): the texts, joined. What begins with '@' switches warnings on and off elsewhere; here
 * they are on. Upvalue: log.warn, or nil. */
static int l_warn(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_checkstring(L, 1);
    for (int i = 2; i <= count; i++)
        luaL_checkstring(L, i);
    if (count == 1 && *lua_tostring(L, 1) == '@')
        return 0;
    lua_concat(L, count);
    return write_line(L, LOG_WARN);
}

static void set_writer(lua_State *L, const char *name, lua_CFunction writer, const char *level)
{
    if (lua_getglobal(L, "log") == LUA_TTABLE)
        lua_getfield(L, -1, level);
    else
        lua_pushnil(L);
    lua_pushcclosure(L, writer, 1);
    lua_setglobal(L, name);
    lua_pop(L, 1);
}

/* ---- globals ------------------------------------------------------------------------------- */

/* __newindex of the environment. Upvalues: the real globals, the host's names. */
static int l_set_global(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
        return luaL_error(L, "global '%s' cannot be set: it belongs to the host", name);
    if (vm_of(L)->globals_frozen)
        return luaL_error(L,
                          "global '%s' cannot be set once the script has loaded (use a local): "
                          "other requests would see it",
                          name);
    lua_settop(L, 3);
    lua_rawset(L, lua_upvalueindex(1));
    return 0;
}

/* Seals what is a plain table; pushes nothing. The module is on top. */
static void seal_module(lua_State *L)
{
    if (!lua_istable(L, -1))
        return;
    if (lua_getmetatable(L, -1))
        lua_pop(L, 1);
    else
        guard_seal(L);
}

static void seal_modules(lua_State *L, int globals)
{
    lua_newtable(L); /* the sealed ones: no field of a table is set while it is walked */
    int sealed = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, globals) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* key, key, value */
        if (lua_rawequal(L, -1, globals)) {
            lua_pop(L, 2);
            continue;
        }
        seal_module(L);
        lua_rawset(L, sealed);
    }
    lua_pushnil(L);
    while (lua_next(L, sealed) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, globals);
    }
    lua_pop(L, 1);
}

/* registry[&builtin_key] = the names that are there now; stays on the stack. */
static void push_names(lua_State *L, int globals)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, globals) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -4);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &builtin_key);
}

void sandbox_open(lua_State *L, const struct binding *bindings)
{
    guard_open(L);
    for (; bindings->name != NULL; bindings++) {
        lua_pushcfunction(L, bindings->open);
        lua_call(L, 0, 1);
        if (lua_istable(L, -1))
            guard_name_module(L, bindings->name);
        lua_setglobal(L, bindings->name);
    }
    set_writer(L, "print", l_print, "info");
    set_writer(L, "warn", l_warn, "warn");
    lua_pushglobaltable(L);
    int globals = lua_gettop(L);
    seal_modules(L, globals);
    lua_pushvalue(L, globals);
    push_names(L, globals);
    lua_pushvalue(L, globals);
    lua_insert(L, -2);
    lua_pushcclosure(L, l_set_global, 2);
    guard_seal_with(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "_G");
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pop(L, 1);
}

void sandbox_set(lua_State *L, const char *name)
{
    seal_module(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &builtin_key);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    lua_pushglobaltable(L);
    guard_push_sealed(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, name);
    lua_pop(L, 3);
}

void sandbox_freeze(lua_State *L)
{
    vm_of(L)->globals_frozen = true;
}
