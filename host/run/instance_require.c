/* The files of an instance: reading them, `require`, and noticing that they have changed. */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/chain.h"
#include "run/instance_internal.h"
#include "lua/script.h"

const char INSTANCE_LOADED[] = "luafn.loaded";

/* ---- files ---- */

static int note_file(struct instance *instance, const char *path, uint64_t hash)
{
    struct script_files *files = &instance->files;
    struct script_file *list = realloc(files->list, (files->count + 1) * sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    files->list = list;
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    list[files->count++] = (struct script_file){copy, hash};
    return 0;
}

void script_files_free(struct script_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        free(files->list[i].path);
    free(files->list);
    *files = (struct script_files){0};
}

bool script_files_changed(const struct script_files *files)
{
    for (unsigned i = 0; i < files->count; i++) {
        if (script_hash(files->list[i].path) != files->list[i].hash)
            return true;
    }
    return false;
}

uint64_t script_files_hash(const struct script_files *files)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < files->count; i++)
        hash = hash * 1099511628211u + files->list[i].hash;
    return hash;
}

/* Pushes the compiled chunk, or an error message. Text only: bytecode can crash the interpreter.
 * [-0, +1] */
int instance_push_chunk(lua_State *L, struct instance *instance, const char *path)
{
    struct buf content = BUF_INIT;
    struct err err;
    const char *shown = script_display_name(path, instance->spec.root);
    int rc = script_read(path, &content, &err);
    if (note_file(instance, path, rc == 0 ? str_hash(buf_str(&content)) : 0) != 0)
        rc = -ENOMEM;
    if (rc != 0) {
        buf_free(&content);
        lua_pushfstring(L, "%s: %s", shown, rc == -ENOMEM ? "out of memory" : err.text);
        return LUA_ERRFILE;
    }
    if (chain_check(buf_str(&content), &err) != 0) {
        buf_free(&content);
        lua_pushfstring(L, "%s:%s", shown, err.text);
        return LUA_ERRSYNTAX;
    }
    /* luaL_loadbufferx catches its own errors, so `content` is freed on every way; the name must be
     * short. */
    char name[256];
    snprintf(name, sizeof(name), "@%s", shown);
    int status =
        luaL_loadbufferx(L, content.data != NULL ? content.data : "", content.len, name, "t");
    buf_free(&content);
    if (status == LUA_ERRSYNTAX && strstr(lua_tostring(L, -1), shown) == NULL) {
        lua_pushfstring(L, "%s: %s", shown, lua_tostring(L, -1)); /* bytecode: Lua names no file */
        lua_remove(L, -2);
    }
    return status;
}

/* ---- require ---- */

static int finish_require(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    /* stack: name, loaded, value */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_settable(L, 2);
    return 1;
}

/* Places where it was not found are noted: when the file appears there, the function is loaded
 * again. */
static int find_module(struct instance *instance, struct str name, char *path, size_t size)
{
    const struct function_spec *spec = &instance->spec;
    int rc = 0;
    for (unsigned which = 0; rc == 0; which++) {
        rc = script_candidate(spec->script.ptr, spec->root, name, which, path, size);
        if (rc == 0 && script_exists(path))
            return 0;
        if (rc == 0)
            rc = note_file(instance, path, 0);
    }
    return rc;
}

int instance_require(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    struct instance *instance = vm_of(L)->instance;
    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, INSTANCE_LOADED); /* stack: name, loaded */
    lua_pushvalue(L, 1);
    if (lua_gettable(L, 2) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == (void *)INSTANCE_LOADED)
            return luaL_error(L, "loop: '%s' requires itself, directly or through others", name);
        return 1;
    }
    lua_settop(L, 2);
    char path[4096];
    int rc = find_module(instance, (struct str){name, len}, path, sizeof(path));
    if (rc == -EINVAL)
        return luaL_error(L, "require: '%s' is not a module name (letters, digits, '_', '-', dots)",
                          name);
    if (rc != 0)
        return luaL_error(L, "module '%s' not found beside the script or beside functions.lua",
                          name);
    if (instance_push_chunk(L, instance, path) != LUA_OK)
        return lua_error(L);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, (void *)INSTANCE_LOADED);
    lua_settable(L, 2);
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 1, 0, finish_require); /* stack: name, loaded, value */
    return finish_require(L, LUA_OK, 0);
}
