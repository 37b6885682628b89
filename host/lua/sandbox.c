/* What a script sees.
 *
 * The globals are two tables: the real one, and in front of it an empty one that scripts get as
 * their environment. Names of the host cannot be set at all; a script's own can until the globals
 * are frozen. The module tables are sealed likewise. */
#include "lua/sandbox.h"

#include <string.h>

#include "base/log.h"
#include "lua/guard.h"
#include "lua/guard_parts.h"
#include "lua/show.h"
#include "lua/vm.h"

/* ---- print, warn
 * --------------------------------------------------------------------------------- */

/* The text on top to the log. Upvalue: log.info or log.warn. */
static int write_line(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, -2);
    lua_call(L, 1, 0);
    return 0;
}

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
    return write_line(L);
}

/* warn(...): the texts, joined. What begins with '@' switches warnings on and off elsewhere; here
 * they are on. Upvalue: log.warn. */
static int l_warn(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_checkstring(L, 1);
    for (int i = 2; i <= count; i++)
        luaL_checkstring(L, i);
    if (count == 1 && *lua_tostring(L, 1) == '@')
        return 0;
    lua_concat(L, count);
    return write_line(L);
}

static int l_host_log(lua_State *L)
{
    log_message(LOG_INFO, "%s", luaL_checkstring(L, 1));
    return 0;
}

/* Pushes log's function, or one that writes to the host's log. */
static void push_log(lua_State *L, const char *level)
{
    if (lua_getglobal(L, "log") == LUA_TTABLE)
        lua_getfield(L, -1, level);
    else
        lua_pushcfunction(L, l_host_log);
    lua_remove(L, -2);
}

/* What writes: print, warn, io. */
static void open_writers(lua_State *L)
{
    push_log(L, "info");
    push_log(L, "warn");
    guard_push_io(L, -2, -1);
    guard_name_module(L, "io");
    lua_setglobal(L, "io");
    lua_pushcclosure(L, l_warn, 1);
    lua_setglobal(L, "warn");
    lua_pushcclosure(L, l_print, 1);
    lua_setglobal(L, "print");
}

/* ---- globals ------------------------------------------------------------------------------- */

/* "global 'x'", or "'string.x'" of a library's name. Upvalue 3: that name, or "". */
static const char *push_place(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    const char *library = lua_tostring(L, lua_upvalueindex(3));
    return *library == '\0' ? lua_pushfstring(L, "global '%s'", name)
                            : lua_pushfstring(L, "'%s.%s'", library, name);
}

/* __newindex of the environment, and of Lua's libraries: a script that loads may set names that the
 * host does not have. Upvalues: the table behind, the names that the script has set there, and the
 * library's. */
static int l_set_new(lua_State *L)
{
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_rawequal(L, -1, 3))
        return 0; /* string.x = string.x or ... */
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TNIL && !lua_isnil(L, 4))
        return luaL_error(L, "%s cannot be set: it belongs to the host", push_place(L));
    if (vm_of(L)->globals_frozen)
        return luaL_error(L,
                          "%s cannot be set once the script has loaded (use a local): "
                          "other requests would see it",
                          push_place(L));
    lua_pushvalue(L, 2);
    lua_pushboolean(L, 1);
    lua_rawset(L, lua_upvalueindex(2));
    lua_settop(L, 3);
    lua_rawset(L, lua_upvalueindex(1));
    return 0;
}

void sandbox_seal_library(lua_State *L, const char *name)
{
    lua_pushvalue(L, -1);
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_pushcclosure(L, l_set_new, 3);
    guard_seal_with(L);
}

/* Lua's own: scripts bring code that adds to them. */
static bool is_library(const char *name)
{
    static const char *const names[] = {"coroutine", "debug", "io",   "math", "os",
                                        "string",    "table", "utf8", NULL};
    for (const char *const *n = names; *n != NULL; n++) {
        if (strcmp(*n, name) == 0)
            return true;
    }
    return false;
}

/* Seals what is a plain table; pushes nothing. The module is on top. */
static void seal_module(lua_State *L, const char *name)
{
    if (!lua_istable(L, -1))
        return;
    if (lua_getmetatable(L, -1))
        lua_pop(L, 1);
    else if (is_library(name))
        sandbox_seal_library(L, name);
    else
        guard_seal(L);
}

static void seal_modules(lua_State *L, int globals)
{
    /* The sealed ones: no field of a table is set while it is walked. */
    lua_createtable(L, 0, GUARD_MODULES);
    int sealed = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, globals) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* key, key, value */
        if (lua_rawequal(L, -1, globals)) {
            lua_pop(L, 2);
            continue;
        }
        seal_module(L, lua_tostring(L, -2));
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
    open_writers(L);
    lua_pushglobaltable(L);
    int globals = lua_gettop(L);
    seal_modules(L, globals);
    lua_pushvalue(L, globals);
    sandbox_seal_library(L, "");
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "_G");
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pop(L, 1);
}

void sandbox_set(lua_State *L, const char *name)
{
    seal_module(L, name);
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
