/* jwt.verifier's settings: a userdata that owns what the verifier borrows. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/jwt_internal.h"
#include "lua/lazy.h"
#include "issuer/issuer_link.h"
#include "options/options.h"
#include "lua/vm.h"
#include "run/instance.h"

static int l_gc(lua_State *L)
{
    struct jwt_verifier *v = lua_touserdata(L, 1);
    keyset_source_clear(&v->spec.own_keys);
    arena_free(&v->arena);
    return 0;
}

static struct jwt_verifier *push_empty(lua_State *L)
{
    struct jwt_verifier *v = lua_newuserdatauv(L, sizeof(*v), 0);
    memset(v, 0, sizeof(*v));
    arena_init(&v->arena);
    if (luaL_newmetatable(L, "luafn.verifier")) {
        lua_pushcfunction(L, l_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return v;
}

/* The fault's text without the file and member that only functions.lua has: "?:1: issuer: Expected
 * ..." */
static const char *plain_text(const struct err *err)
{
    const char *text = strstr(err->text, ": ");
    text = text != NULL ? text + 2 : err->text;
    const char *expected = strstr(text, "Expected '");
    return expected != NULL ? expected : text;
}

void jwt_check_verifier_keys(lua_State *L, int index, const char *name)
{
    static const char *const own[] = {"map_claims", "handle_error", NULL};
    struct err err;
    struct options_reader r = {.L = L, .err = &err, .file = "?"};
    lua_pushvalue(L, index);
    lazy_make_plain(L, -1);
    if (options_check_verifier_keys(&r, own) != 0)
        luaL_error(L, "%s: %s", name, plain_text(&err));
    lua_pop(L, 1);
}

/* The instance's, so that keys outlive a verifier that is made anew for each request. */
static struct issuer_links *lx_links(lua_State *L, struct jwt_verifier *v)
{
    struct instance *instance = vm_of(L)->instance;
    struct issuer_links *links = instance != NULL ? instance->links : NULL;
    if (links == NULL)
        links = issuer_links_new(instance != NULL ? &instance->arena : &v->arena);
    if (links == NULL)
        luaL_error(L, "out of memory");
    if (instance != NULL)
        instance->links = links;
    return links;
}

struct jwt_verifier *jwt_push_verifier(lua_State *L, int index)
{
    if (!lua_istable(L, index))
        luaL_error(L, "A valid configuration object must be provided");
    struct vm *vm = vm_of(L);
    struct jwt_verifier *v = push_empty(L);
    struct err err;
    struct options_reader r = {.L = L, .arena = &v->arena, .err = &err, .file = "?"};
    lua_pushvalue(L, index);
    lazy_make_plain(L, -1);
    int rc = options_read_verifier(&r, &v->spec);
    if (rc != 0)
        luaL_error(L, "%s", plain_text(&err));
    lua_pop(L, 1);
    if (v->spec.verifier.dpop.mode != DPOP_UNSET || v->spec.verifier.mtls != MTLS_UNSET)
        luaL_error(L, "`dpop` and `mtls` are for `auth` in functions.lua, or of a function");
    if (vm->services != NULL &&
        issuer_link(vm->services->issuers, lx_links(L, v), false, &v->spec, &err) != 0)
        luaL_error(L, "%s", err.text);
    v->verifiers = &v->spec.verifier;
    v->count = 1;
    return v;
}

struct jwt_verifier *jwt_push_default_verifier(lua_State *L)
{
    const struct services *services = vm_of(L)->services;
    if (services == NULL || services->verifier_count == 0)
        luaL_error(
            L,
            "functions.lua has no `auth`; write auth = { issuer = \"https://...\", audience = \"...\" }");
    struct jwt_verifier *v = push_empty(L);
    const struct function_spec *spec = vm_of(L)->spec;
    bool of_function =
        spec != NULL && spec->policy.own_count == 0 && spec->policy.verifiers != NULL;
    v->verifiers =
        of_function ? spec->policy.verifiers : services->verifiers; /* for its resource */
    v->count = services->verifier_count;
    v->claim_namespace = services->claim_namespace;
    v->role_path = services->role_path;
    return v;
}
