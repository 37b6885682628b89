/* Scripts of the program itself. */
#include "lua/own_script.h"

#include <errno.h>
#include <lualib.h>

#include "base/embedded.h"
#include "lua/vm.h"

struct run {
    const char *file;
    void (*body)(lua_State *L, void *arg);
    void *arg;
};

static void lx_load(lua_State *L, const char *name)
{
    const struct embedded_file *file = embedded_find(name);
    if (file == NULL)
        luaL_error(L, "the program lacks %s", name);
    else if (luaL_loadbufferx(L, file->data, file->len, name, "t") != LUA_OK)
        lua_error(L);
}

/* (name): what another of them returns. */
static int l_include(lua_State *L)
{
    lx_load(L, luaL_checkstring(L, 1));
    lua_call(L, 0, 1);
    return 1;
}

static int l_run(lua_State *L)
{
    const struct run *run = lua_touserdata(L, 1);
    lua_settop(L, 0);
    luaL_openlibs(L);
    lua_register(L, "include", l_include);
    lx_load(L, run->file);
    run->body(L, run->arg);
    return 0;
}

int own_script_run(const char *file, void (*body)(lua_State *L, void *arg), void *arg,
                   struct err *err)
{
    struct run run = {file, body, arg};
    struct vm *vm = vm_new(0, NULL);
    if (vm == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    lua_State *L = vm->L;
    lua_pushcfunction(L, l_run);
    lua_pushlightuserdata(L, &run);
    int status = lua_pcall(L, 1, 0, 0);
    int rc = status == LUA_OK       ? 0
             : status == LUA_ERRMEM ? err_set(err, -ENOMEM, "out of memory")
                                    : err_set(err, -EINVAL, "%s", lua_tostring(L, -1));
    vm_free(vm);
    return rc;
}
