/* Any text as the value of `auth` in functions.lua: read as a policy and as an issuer. What is read
 * holds what was written, and whoever has no token is let in by "public" alone. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "auth/policy.h"
#include "options/options.h"
#include "options/options_auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 20000, MEMORY = 4 << 20 };

static size_t used;
static struct key_source keys;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void *allocate(void *ud, void *old, size_t old_size, size_t new_size)
{
    (void)ud;
    if (old == NULL)
        old_size = 0;
    if (new_size > old_size && used - old_size + new_size > MEMORY)
        return NULL;
    used = used - old_size + new_size;
    if (new_size > 0)
        return realloc(old, new_size);
    free(old);
    return NULL;
}

static void on_step(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    luaL_error(L, "too long");
}

static void ask_without_token(struct policy *policy)
{
    static struct verifier verifier;
    struct verdict verdict;
    struct exchange *ex = exchange_new(NULL, NULL);
    require(ex != NULL);
    verify_setup(&verifier);
    verifier.keys = &keys;
    policy->verifiers = &verifier;
    policy->verifier_count = 1;
    enum policy_result result = policy_check(policy, ex, 1700000000, true, &verdict);
    require((result == POLICY_ALLOW) == (policy->kind == POLICY_PUBLIC));
    require(result == POLICY_ALLOW || ex->res.status == 401);
    require(verdict.claims == NULL);
    exchange_release(ex);
}

static bool is_http(struct str url)
{
    return str_starts_with(url, STR("http://")) || str_starts_with(url, STR("https://"));
}

static void check_dpop(const struct dpop *dpop)
{
    require(dpop->mode <= DPOP_REQUIRED);
    require(dpop->origin.ptr == NULL || (is_http(dpop->origin) && dpop->mode >= DPOP_OPTIONAL));
}

static void check_webhook(const struct webhook *webhook)
{
    require(webhook->secret_count > 0 && webhook->names[0].signature.len > 0);
    require(webhook->digest != NULL && webhook->tolerance >= 1);
    for (unsigned i = 0; i < webhook->secret_count; i++)
        require(webhook->secrets[i].key.len > 0);
}

static void check_policy(struct policy *policy, bool is_public, struct arena *arena)
{
    require(policy->kind == (is_public                 ? POLICY_PUBLIC
                             : policy->webhook != NULL ? POLICY_WEBHOOK
                                                       : POLICY_TOKEN));
    if (policy->webhook != NULL)
        check_webhook(policy->webhook);
    require(policy->role.ptr == NULL || policy->role.len > 0);
    for (unsigned i = 0; i < policy->scope_count; i++)
        require(policy->scopes[i].len > 0);
    check_dpop(&policy->dpop);
    require(policy_text(policy, arena).len > 0);
    ask_without_token(policy);
}

static void check_verifier(const struct verifier_spec *spec)
{
    const struct verifier *verifier = &spec->verifier;
    require(verifier->issuer.len > 0 && verifier->audience_count > 0 && verifier->algorithms != 0);
    require(((verifier->algorithms & ALG_HMAC) != 0) == (spec->secret.ptr != NULL));
    require(spec->secret.ptr == NULL || spec->secret.len >= 32);
    require(verifier->clock_tolerance >= 0 && verifier->clock_tolerance <= 300);
    const struct introspection_spec *asked = &spec->introspection;
    require(asked->url.len == 0 ||
            (is_http(asked->url) && asked->client_id.len > 0 && asked->client_secret.len > 0));
    require(asked->url.len == 0 || (asked->cache >= 1 && asked->cache <= 3600));
    check_dpop(&verifier->dpop);
}

/* stack: the value. Under lua_pcall, as readers are. */
static int l_read(lua_State *L)
{
    struct arena *arena = lua_touserdata(L, lua_upvalueindex(1));
    json_t **claims = lua_touserdata(L, lua_upvalueindex(2));
    struct err err = {.text = ""};
    struct options_reader r = {.L = L, .arena = arena, .err = &err, .file = "functions.lua"};
    struct policy policy = {.kind = POLICY_UNSET};
    struct verifier_spec spec;
    bool is_public = lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), "public") == 0;
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_setfield(L, 2, "auth");
    int rc = options_read_policy(&r, &policy);
    *claims = policy.claims;
    require(rc == 0 || (rc == -EINVAL && err.text[0] != '\0'));
    if (rc == 0 && !lua_isnil(L, 1)) {
        require(lua_gettop(L) == 2);
        check_policy(&policy, is_public, arena);
    }
    lua_settop(L, 1);
    if (!lua_istable(L, 1))
        return 0;
    rc = options_read_verifier(&r, &spec);
    require(rc == 0 || (rc == -EINVAL && err.text[0] != '\0'));
    if (rc == 0)
        check_verifier(&spec);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    json_t *claims = NULL;
    used = 0;
    lua_State *L = lua_newstate(allocate, NULL);
    require(L != NULL);
    arena_init(&arena);
    if (keys.id == 0)
        keyset_source_init(&keys);
    lua_pushlightuserdata(L, &arena);
    lua_pushlightuserdata(L, &claims);
    lua_pushcclosure(L, l_read, 2);
    lua_sethook(L, on_step, LUA_MASKCOUNT, STEPS);
    if (luaL_loadbufferx(L, (const char *)data, size, "=auth", "t") == LUA_OK &&
        lua_pcall(L, 0, 1, 0) == LUA_OK) {
        lua_sethook(L, NULL, 0, 0);
        (void)lua_pcall(L, 1, 0, 0);
    }
    lua_close(L);
    json_decref(claims);
    arena_free(&arena);
    return 0;
}
