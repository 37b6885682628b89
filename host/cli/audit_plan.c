/* What share/audit.lua needs of the host: keys, signatures, base64url, and a list to add to. */
#include "cli/audit_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "auth/token.h"
#include "lua/own_script.h"

static const char KEY[] = "luafn.audit.key";
static struct buf scratch; /* what is pushed next: nothing that raises may own memory */

static struct audit_plan *plan_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct str check_text(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

static int push_scratch(lua_State *L)
{
    if (buf_failed(&scratch))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, scratch.len > 0 ? scratch.data : "", scratch.len);
    return 1;
}

/* Of a value that is ours to release; NULL: nil. */
static int push_json(lua_State *L, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text == NULL)
        return 0;
    buf_clear(&scratch);
    buf_add_str(&scratch, str_from(text));
    free(text);
    return push_scratch(L);
}

/* ---- keys ---- */

static struct key **push_key(lua_State *L)
{
    struct key **key = lua_newuserdatauv(L, sizeof(struct key *), 0);
    *key = NULL;
    luaL_setmetatable(L, KEY);
    return key;
}

static struct key *check_key(lua_State *L, int index)
{
    return *(struct key **)luaL_checkudata(L, index, KEY);
}

static int l_key_gc(lua_State *L)
{
    key_unref(check_key(L, 1));
    return 0;
}

/* (algorithm) */
static int l_new_key(lua_State *L)
{
    struct err err;
    enum alg alg = alg_parse(check_text(L, 1));
    return key_generate(alg, push_key(L), &err) == 0 ? 1 : luaL_error(L, "%s", err.text);
}

/* (bytes, algorithm); nil where they are no key for it */
static int l_secret(lua_State *L)
{
    struct str secret = check_text(L, 1), name = check_text(L, 2);
    struct key **key = push_key(L);
    int rc = key_from_secret(secret, key, NULL);
    if (rc == -ENOMEM)
        return luaL_error(L, "out of memory");
    return rc == 0 && key_fits(*key, alg_parse(name));
}

/* (key) */
static int l_pem(lua_State *L)
{
    buf_clear(&scratch);
    return key_to_public_pem(check_key(L, 1), &scratch) == 0 ? push_scratch(L) : 0;
}

/* (key): its public half as JSON */
static int l_jwk(lua_State *L)
{
    const struct key *key = check_key(L, 1);
    enum alg alg = ALG_RS256;
    while (alg < ALG_COUNT && !key_fits(key, alg))
        alg++;
    return push_json(L, alg < ALG_COUNT ? key_to_jwk(key, alg) : NULL);
}

/* ---- tokens ---- */

static int l_encode(lua_State *L)
{
    struct str bytes = check_text(L, 1);
    buf_clear(&scratch);
    base64url_encode(bytes.ptr, bytes.len, &scratch);
    return push_scratch(L);
}

static int l_decode(lua_State *L)
{
    struct str text = check_text(L, 1);
    luaL_Buffer bytes;
    size_t len;
    if (base64url_decode(text, luaL_buffinitsize(L, &bytes, BASE64URL_DECODED_MAX(text.len)),
                         &len) != 0)
        return 0;
    luaL_pushresultsize(&bytes, len);
    return 1;
}

/* (key, algorithm, header as JSON, claims as JSON) */
static int l_sign(lua_State *L)
{
    struct err err = {.text = "out of memory"};
    struct key *key = check_key(L, 1);
    enum alg alg = alg_parse(check_text(L, 2));
    struct str header_text = check_text(L, 3), claims = check_text(L, 4);
    json_t *header = json_loadb(header_text.ptr, header_text.len, 0, NULL);
    buf_clear(&scratch);
    int rc = header != NULL ? key_sign(key, alg, header, claims, &scratch, &err) : -EINVAL;
    json_decref(header);
    return rc == 0 ? push_scratch(L) : luaL_error(L, "%s", err.text);
}

/* (token): as JSON; nil where it is no token */
static int l_claims_of(lua_State *L)
{
    struct token token;
    if (token_parse(check_text(L, 1), &token) != 0)
        return 0;
    json_t *claims = json_incref(token.claims);
    token_clear(&token);
    return push_json(L, claims);
}

/* (token); nil where it is no token, or has none */
static int l_kid_of(lua_State *L)
{
    struct token token;
    if (token_parse(check_text(L, 1), &token) != 0)
        return 0;
    const json_t *kid = json_object_get(token.header, "kid");
    bool found = json_is_string(kid);
    buf_clear(&scratch);
    buf_add(&scratch, json_string_value(kid), json_string_length(kid));
    token_clear(&token);
    return found ? push_scratch(L) : 0;
}

/* ---- the plan ---- */

static struct str keep(lua_State *L, struct str text)
{
    text = arena_copy(plan_of(L)->arena, text);
    if (text.ptr == NULL)
        luaL_error(L, "out of memory");
    return text;
}

static bool flag(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    return lua_toboolean(L, -1) != 0;
}

/* { name=, headers=, query=, good=, oversize= } */
static int l_add(lua_State *L)
{
    struct audit_plan *plan = plan_of(L);
    if (plan->count == AUDIT_ATTACKS)
        return luaL_error(L, "more than %d attacks", AUDIT_ATTACKS);
    struct attack *attack = &plan->attacks[plan->count];
    lua_getfield(L, 1, "name");
    lua_getfield(L, 1, "headers"); /* stack: attack, name, headers */
    *attack = (struct attack){.name = keep(L, check_text(L, 2)),
                              .good = flag(L, "good"),
                              .oversize = flag(L, "oversize")};
    if (lua_getfield(L, 1, "query") == LUA_TSTRING)
        attack->query = keep(L, check_text(L, -1));
    for (; attack->header_count < 2; lua_pop(L, 1)) {
        if (lua_rawgeti(L, 3, (lua_Integer)attack->header_count + 1) != LUA_TSTRING)
            break;
        attack->headers[attack->header_count++] = keep(L, check_text(L, -1));
    }
    plan->count++;
    return 0;
}

static const luaL_Reg calls[] = {
    {"add", l_add},       {"claims_of", l_claims_of}, {"decode", l_decode}, {"encode", l_encode},
    {"jwk", l_jwk},       {"new_key", l_new_key},     {"kid_of", l_kid_of}, {"pem", l_pem},
    {"secret", l_secret}, {"sign", l_sign},           {NULL, NULL},
};

static void set_text(lua_State *L, const char *name, struct str text)
{
    lua_pushlstring(L, text.ptr, text.len);
    lua_setfield(L, -2, name);
}

struct making {
    struct audit_plan *plan;
    bool is_token;
};

/* stack: the script */
static void make(lua_State *L, void *arg)
{
    struct making *making = arg;
    struct audit_plan *plan = making->plan;
    struct key *key = plan->keys != NULL ? keyset_at(plan->keys, 0) : NULL;
    struct str kid = key != NULL ? key_kid(key) : STR("");
    luaL_newmetatable(L, KEY);
    lua_pushcfunction(L, l_key_gc);
    lua_setfield(L, -2, "__gc");
    lua_settop(L, 1);
    luaL_newlibtable(L, calls);
    lua_pushlightuserdata(L, plan);
    luaL_setfuncs(L, calls, 1);
    lua_newtable(L);
    set_text(L, "issuer", plan->issuer);
    set_text(L, "audience", plan->audience);
    set_text(L, "kid", kid.len > 0 ? kid : STR("k1"));
    if (plan->token.ptr != NULL)
        set_text(L, "token", plan->token);
    lua_pushinteger(L, (lua_Integer)time(NULL));
    lua_setfield(L, -2, "now");
    if (key != NULL) {
        *push_key(L) = key_ref(key);
        lua_setfield(L, -2, "key");
    }
    lua_call(L, 2, 1);
    making->is_token = lua_toboolean(L, -1) != 0;
}

int audit_plan_make(struct audit_plan *plan, struct err *err)
{
    struct making making = {.plan = plan};
    int rc = own_script_run("share/audit.lua", make, &making, err);
    buf_free(&scratch);
    if (rc != 0)
        return -EIO;
    return making.is_token ? 0 : -EINVAL;
}
