/* The env global: the environment variables that this function may see, read-only.
 *
 * A function with an `env` list sees the names that one of its globs matches; without a list, what
 * the host offers (functions.lua and tools: everything; serve: the .env files). */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"
#include "bindings/bindings.h"
#include "lua/lazy.h"
#include "lua/told.h"
#include "lua/vm.h"
#include "options/spec.h"

/* The dev issuer's private keys: for the dev issuer alone. */
static bool is_host_secret(struct str name)
{
    return str_starts_with(name, STR("LUAFN_DEV_KEY"));
}

static bool is_visible(const struct vm *vm, const char *name)
{
    const struct function_spec *spec = vm->spec;
    const struct services *services = vm->services;
    if (spec != NULL && !spec->is_dev && is_host_secret(str_from(name)))
        return false;
    if (spec == NULL || !spec->env_declared)
        return services->env_is_default == NULL ||
               services->env_is_default(services->env_arg, name);
    for (unsigned i = 0; i < spec->env_count; i++) {
        if (str_glob(spec->env[i], str_from(name)))
            return true;
    }
    return false;
}

/* The program's own functions read addresses, which stand in many an answer, and keys. */
static bool is_secret(const struct vm *vm, const char *name)
{
    return vm->spec == NULL || !vm->spec->is_dev ||
           str_starts_with(str_from(name), STR("LUAFN_DEV_KEY"));
}

static int l_index(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    const struct services *services = vm->services;
    const char *value = NULL;
    if (lua_type(L, 2) == LUA_TSTRING && services != NULL && services->getenv != NULL) {
        struct str name;
        name.ptr = lua_tolstring(L, 2, &name.len);
        if (strlen(name.ptr) == name.len && is_visible(vm, name.ptr))
            value = services->getenv(services->env_arg, name.ptr);
    }
    if (value != NULL && is_secret(vm, lua_tostring(L, 2)))
        redact_learn(str_from(lua_tostring(L, 2)), str_from(value));
    struct hook *hook = told_hook(L);
    if (hook != NULL && lua_type(L, 2) == LUA_TSTRING)
        lx_told_env(L, hook, lua_tostring(L, 2), value);
    lua_pushstring(L, value); /* nil for NULL */
    return 1;
}

static int l_newindex(lua_State *L)
{
    return luaL_error(L, "env is read-only");
}

/* Walking happens on a copy. Lua may raise at every push, which must not happen within the host's
 * each_env: so the variables are measured, then packed into a userdata, and only then pushed. */
struct pack {
    const struct vm *vm;
    char *data; /* NULL while measuring */
    size_t cap;
    size_t len; /* of "NAME\0VALUE\0" after one another */
};

static void on_variable(void *arg, const char *name, const char *value)
{
    struct pack *pack = arg;
    if (!is_visible(pack->vm, name))
        return;
    size_t name_size = strlen(name) + 1;
    size_t value_size = strlen(value) + 1;
    if (pack->data != NULL) {
        if (name_size + value_size > pack->cap - pack->len)
            return;
        memcpy(pack->data + pack->len, name, name_size);
        memcpy(pack->data + pack->len + name_size, value, value_size);
    }
    pack->len += name_size + value_size;
}

/* Fills the table on top of the stack. */
static void lx_fill(lua_State *L, const struct vm *vm)
{
    const struct services *services = vm->services;
    if (services == NULL || services->each_env == NULL)
        return;
    int table = lua_gettop(L);
    struct pack pack = {.vm = vm};
    services->each_env(services->env_arg, on_variable, &pack);
    pack.cap = pack.len;
    pack.len = 0;
    pack.data = lua_newuserdatauv(L, pack.cap + 1, 0);
    services->each_env(services->env_arg, on_variable, &pack);
    for (const char *p = pack.data; p < pack.data + pack.len;) {
        const char *value = p + strlen(p) + 1;
        redact_learn(str_from(p), str_from(value));
        lua_pushstring(L, value);
        lua_setfield(L, table, p);
        p = value + strlen(value) + 1;
    }
    lua_pop(L, 1);
}

/* pairs(env) */
static int l_pairs(lua_State *L)
{
    lua_pushcfunction(L, lazy_next);
    lua_newtable(L);
    lx_fill(L, vm_of(L));
    lua_pushnil(L);
    return 3;
}

static const luaL_Reg metamethods[] = {
    {"__index", l_index},
    {"__newindex", l_newindex},
    {"__pairs", l_pairs},
    {NULL, NULL},
};

int open_env(lua_State *L)
{
    lua_newuserdatauv(L, 0, 0);
    luaL_newlib(L, metamethods);
    lua_pushliteral(L, "env");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    return 1;
}
