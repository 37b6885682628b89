/* The io library of a host that has no files to give: opening one fails as a missing file does, and
 * what is written goes to the log, a line a call. */
#include <lauxlib.h>
#include <string.h>

#include "lua/guard_parts.h"

/* Upvalues of what writes: a function of `log`; what io.write returns, nil for a method. */
enum { WRITER = 1, OUTPUT = 2 };

static int l_open(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_pushnil(L);
    lua_pushliteral(L, "no files");
    return 2;
}

/* There is no input: as at the end of a file. */
static int l_read(lua_State *L)
{
    lua_pushnil(L);
    return 1;
}

static int l_itself(lua_State *L)
{
    lua_settop(L, 1);
    return 1;
}

/* io.write(text ...) and file:write(text ...). A newline at the end is that of the log's line. */
static int l_write(lua_State *L)
{
    bool is_method = lua_isnil(L, lua_upvalueindex(OUTPUT));
    int first = is_method ? 2 : 1, count = lua_gettop(L);
    for (int i = first; i <= count; i++)
        luaL_checkstring(L, i);
    lua_pushvalue(L, lua_upvalueindex(WRITER));
    luaL_checkstack(L, count + 1, NULL);
    for (int i = first; i <= count; i++)
        lua_pushvalue(L, i);
    lua_concat(L, count - first + 1);
    size_t len;
    const char *line = lua_tolstring(L, -1, &len);
    if (len > 0 && line[len - 1] == '\n') {
        lua_pushlstring(L, line, --len);
        lua_remove(L, -2);
    }
    if (len > 0)
        lua_call(L, 1, 0);
    lua_pushvalue(L, is_method ? 1 : lua_upvalueindex(OUTPUT));
    return 1;
}

/* io.type: of a file, "file"; of all else nil. */
static int l_type(lua_State *L)
{
    luaL_checkany(L, 1);
    bool is_file = lua_isuserdata(L, 1) && luaL_getmetafield(L, 1, "__name") == LUA_TSTRING &&
                   strcmp(lua_tostring(L, -1), LUA_FILEHANDLE) == 0;
    lua_pushstring(L, is_file ? "file" : NULL);
    return 1;
}

static const luaL_Reg functions[] = {
    {"open", l_open}, {"read", l_read}, {"type", l_type}, {NULL, NULL}};

/* Pushes a file that writes by log's function at `writer`. */
static void push_file(lua_State *L, int writer)
{
    static const char *const nothing[] = {"close", "flush", "seek", "setvbuf", NULL};
    writer = lua_absindex(L, writer);
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 3); /* file, metatable */
    lua_newtable(L);
    for (const char *const *name = nothing; *name != NULL; name++) {
        lua_pushcfunction(L, l_itself);
        lua_setfield(L, -2, *name);
    }
    lua_pushcfunction(L, l_read);
    lua_setfield(L, -2, "read");
    lua_pushvalue(L, writer);
    lua_pushnil(L);
    lua_pushcclosure(L, l_write, 2);
    lua_setfield(L, -2, "write");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, LUA_FILEHANDLE);
    lua_setfield(L, -2, "__name");
    lua_setmetatable(L, -2);
}

void guard_push_io(lua_State *L, int info, int warn)
{
    info = lua_absindex(L, info);
    warn = lua_absindex(L, warn);
    luaL_newlib(L, functions);
    push_file(L, info);
    lua_setfield(L, -2, "stdin");
    push_file(L, warn);
    lua_setfield(L, -2, "stderr");
    push_file(L, info);
    lua_pushvalue(L, info);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, l_write, 2);
    lua_setfield(L, -3, "write");
    lua_setfield(L, -2, "stdout");
}
