/* The files of an instance: reading them, `require`, and noticing that they have changed. */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/chain.h"
#include "lua/chunk.h"
#include "run/instance_internal.h"
#include "lua/script.h"

const char INSTANCE_LOADED[] = "luafn.loaded";
const char INSTANCE_PRELOAD[] = "luafn.preload";

int instance_push_chunk(lua_State *L, struct instance *instance, const char *path)
{
    struct buf content = BUF_INIT;
    struct err err;
    const char *shown = script_display_name(path, instance->spec.root);
    int rc = origin_read(instance->origin, path, &content, &err);
    if (rc != 0) {
        buf_free(&content);
        lua_pushfstring(L, "%s: %s", shown, rc == -ENOMEM ? "out of memory" : err.text);
        return LUA_ERRFILE;
    }
    struct str body = chunk_body(buf_str(&content));
    if (chain_check(body, &err) != 0) {
        buf_free(&content);
        lua_pushfstring(L, "%s:%s", shown, err.text);
        return LUA_ERRSYNTAX;
    }
    /* chunk_load never raises, so `content` is freed on every way; the name must be short. */
    char name[256];
    snprintf(name, sizeof(name), "@%s", shown);
    int status = chunk_load(L, body, name);
    buf_free(&content);
    if (status == LUA_ERRSYNTAX && strstr(lua_tostring(L, -1), shown) == NULL) {
        lua_pushfstring(L, "%s: %s", shown, lua_tostring(L, -1)); /* bytecode: Lua names no file */
        lua_remove(L, -2);
    }
    return status;
}

/* ---- require ---- */

/* registry: name -> the coroutine that loads it. As long as a mark stands, that coroutine is no
 * other's, even if it was dropped within the module. */
static const char REQUIRING[] = "luafn.requiring";

enum { NAME = 1, LOADED, MARK, PLACE, VALUE }; /* on the stack of require */

/* __close of the mark, also when the module raises: it is not being loaded any more. */
static int l_unmark(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, REQUIRING);
    lua_rawgeti(L, 1, 1);
    lua_pushnil(L);
    lua_rawset(L, -3);
    return 0;
}

/* To require what is being loaded would never end. Pushes the mark, which goes with the call. */
static void push_mark(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, REQUIRING);
    lua_pushthread(L);
    lua_pushvalue(L, NAME);
    lua_rawget(L, -3);
    if (lua_rawequal(L, -1, -2))
        luaL_error(L, "loop: '%s' requires itself, directly or through others", name);
    lua_pop(L, 1);
    lua_pushvalue(L, NAME);
    lua_insert(L, -2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, NAME);
    lua_rawseti(L, -2, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_unmark);
    lua_setfield(L, -2, "__close");
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
}

/* Places where it was not found are noted: when the file appears there, the function is loaded
 * again. */
static int find_module(struct instance *instance, struct str name, char *path, size_t size)
{
    const struct function_spec *spec = &instance->spec;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < 2 * SCRIPT_PLACES; i++) {
        rc = script_candidate(spec->script.ptr, spec->root, name, i / 2, i % 2 != 0, path, size);
        if (rc == 0 && origin_is_file(instance->origin, path))
            return 0;
    }
    return rc != 0 ? rc : -ENOENT;
}

/* Pushes what makes the module, and where it came from: package.preload, or its file. */
static void push_loader(lua_State *L, const char *name, size_t len)
{
    struct instance *instance = vm_of(L)->instance;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, INSTANCE_PRELOAD);
    lua_pushvalue(L, NAME);
    if (lua_rawget(L, -2) != LUA_TNIL) {
        lua_remove(L, -2);
        lua_pushliteral(L, ":preload:");
        return;
    }
    lua_pop(L, 2);
    char path[4096];
    int rc = find_module(instance, (struct str){name, len}, path, sizeof(path));
    if (rc == -EINVAL)
        luaL_error(L, "require: '%s' is not a module name (letters, digits, '_', '-', dots)", name);
    if (rc == -ENOENT)
        luaL_error(L,
                   "module '%s' not found beside the script or beside functions.lua, nor in "
                   "lua_modules/share/lua/5.4 or lib there",
                   name);
    if (rc != 0)
        luaL_error(L, "out of memory");
    if (instance_push_chunk(L, instance, path) != LUA_OK)
        lua_error(L);
    lua_pushstring(L, script_display_name(path, instance->spec.root));
}

/* What the module returned, else what it left in package.loaded, else true. */
static int finish_require(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    if (lua_isnil(L, VALUE)) {
        lua_pushvalue(L, NAME);
        if (lua_rawget(L, LOADED) == LUA_TNIL)
            lua_pushboolean(L, 1);
        lua_replace(L, VALUE);
    }
    lua_pushvalue(L, NAME);
    lua_pushvalue(L, VALUE);
    lua_rawset(L, LOADED);
    lua_pushvalue(L, VALUE);
    lua_pushvalue(L, PLACE);
    return 2;
}

int instance_require(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, NAME, &len);
    lua_settop(L, NAME);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, INSTANCE_LOADED);
    lua_pushvalue(L, NAME);
    lua_rawget(L, LOADED);
    if (lua_toboolean(L, -1)) /* false stands for nothing, as in Lua's own */
        return 1;
    lua_settop(L, LOADED);
    push_mark(L, name);
    push_loader(L, name, len);
    lua_pushvalue(L, -1);
    lua_insert(L, PLACE);
    lua_pushvalue(L, NAME);
    lua_insert(L, -2); /* ... place, loader, name, place */
    lua_callk(L, 2, 1, 0, finish_require);
    return finish_require(L, LUA_OK, 0);
}
