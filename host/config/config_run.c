/* Running functions.lua in a sandbox of its own, in which only `env` is to be had. */
#include "config/config_internal.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "lua/chunk.h"
#include "lua/guard.h"
#include "lua/vm.h"

enum { MEMORY_LIMIT = 64 * 1024 * 1024, MISSING_MAX = 8 };

struct loader {
    struct config *config;
    struct options_reader reader;
    const char *missing[MISSING_MAX]; /* variables that functions.lua asked for and nobody set; in
                                         the arena */
    unsigned missing_count;
    int rc;
};

/* env.NAME in functions.lua: every variable; remembers those that are not set, for the message of a
 * later fault. */
static int l_env_index(lua_State *L)
{
    struct loader *loader = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 2);
    const char *value = env_get(loader->config->env, name);
    if (value == NULL && loader->missing_count < MISSING_MAX) {
        struct str copy = arena_copy(&loader->config->arena, str_from(name));
        if (copy.ptr != NULL)
            loader->missing[loader->missing_count++] = copy.ptr;
    }
    lua_pushstring(L, value);
    return 1;
}

static void push_env(lua_State *L, struct loader *loader)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushlightuserdata(L, loader);
    lua_pushcclosure(L, l_env_index, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* (loader): opens the sandbox, runs the text, reads the table. */
static int l_run(lua_State *L)
{
    struct loader *loader = lua_touserdata(L, 1);
    struct str source = chunk_body(loader->reader.source);
    guard_open(L);
    push_env(L, loader);
    lua_setglobal(L, "env");
    char name[256];
    snprintf(name, sizeof(name), "@%s", loader->reader.file);
    if (chunk_load(L, source, name) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1)) {
        loader->rc = options_fault(&loader->reader, NULL,
                                   "must return a table: return { functions = \"scripts\" }");
        return 0;
    }
    loader->rc = config_read_top(&loader->reader, loader->config);
    return 0;
}

/* "...; not set: JWT_ISSUER (put it into .env, or into the environment)" */
static void add_missing(const struct loader *loader, struct err *err)
{
    size_t used = strlen(err->text);
    for (unsigned i = 0; i < loader->missing_count && used < sizeof(err->text); i++)
        used += (size_t)snprintf(err->text + used, sizeof(err->text) - used, "%s%s",
                                 i > 0                           ? ", "
                                 : loader->reader.kept_count > 1 ? "\nnot set: "
                                                                 : "; not set: ",
                                 loader->missing[i]);
    if (loader->missing_count > 0 && used < sizeof(err->text))
        snprintf(err->text + used, sizeof(err->text) - used,
                 " (put it into .env beside functions.lua: NAME=value%s)",
                 loader->config->dev ? "" : "; `luafn check --dev` knows those of `dev`");
}

int config_run(struct config *config, struct str source, const char *shown, struct err *err)
{
    struct loader all = {
        .config = config,
        .reader = {.arena = &config->arena, .err = err, .file = shown, .source = source},
    };
    struct loader *loader = &all;
    struct vm *vm = vm_new(MEMORY_LIMIT, NULL);
    if (vm == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    struct budget budget = {.cpu_limit_ns = (uint64_t)(LIMIT_FN_LOAD_CPU * 1e9)};
    loader->reader.L = vm->L;
    lua_pushcfunction(vm->L, l_run);
    lua_pushlightuserdata(vm->L, loader);
    vm->budget = &budget;
    budget_enter(&budget, vm->L);
    int status = lua_pcall(vm->L, 1, 0, 0);
    budget_leave(&budget);
    vm->budget = &vm->unlimited;
    int rc = loader->rc;
    if (budget.end != BUDGET_RUNNING)
        rc = err_set(err, -ETIMEDOUT, "%s: uses more than %.0f s of processor time",
                     loader->reader.file, LIMIT_FN_LOAD_CPU);
    else if (status != LUA_OK)
        rc = err_set(err, -EINVAL, "%s",
                     lua_type(vm->L, -1) == LUA_TSTRING ? lua_tostring(vm->L, -1)
                                                        : "functions.lua raised a value");
    if (rc != 0)
        add_missing(loader, err);
    vm_free(vm);
    return rc;
}
