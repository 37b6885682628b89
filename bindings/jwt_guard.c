/* jwt.verifier, jwt.verify, require_auth, require_scope, require_role: a token check around a
 * handler.
 *
 * A guarded handler goes through these steps; each may wait, so each is a continuation of the one
 * before:
 *
 *     l_guarded: header -> verdict -> (keys) -> verified: role -> map_claims -> admit: scope ->
 * handler
 *
 * A refusal anywhere is a response table, or what handle_error makes of it. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/jwt_internal.h"
#include "lua/lazy.h"
#include "lua/names.h"
#include "run/claims_table.h"
#include "run/event.h"

/* Upvalues of a guarded handler. */
enum {
    UP_VERIFIER = 1,
    UP_MAP,
    UP_HANDLE_ERROR,
    UP_HANDLER,
    UP_SCOPE,
    UP_ROLE,
    UP_COUNT = UP_ROLE
};
/* Its stack: event, context, then what the steps push. */
enum { EVENT = 1, CONTEXT = 2 };

/* ---- the steps ---- */

static struct str upvalue_text(lua_State *L, int index)
{
    struct str s = {NULL, 0};
    if (lua_type(L, lua_upvalueindex(index)) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, lua_upvalueindex(index), &s.len);
    return s;
}

/* Takes what is on top into the table at `index`, raw. [-1, +0] */
static void set_named(lua_State *L, int index, enum name name)
{
    name_push(L, name);
    lua_insert(L, -2);
    lua_rawset(L, index);
}

/* stack: event, context, identity, claims. A clientContext that the script has looked at already
 * gets its user here; one that is read later makes it from the identity (run/event.c). [-0, +0] */
static void set_user(lua_State *L)
{
    if (!lua_istable(L, CONTEXT))
        return;
    name_push(L, NAME_CLIENT_CONTEXT);
    if (lua_rawget(L, CONTEXT) == LUA_TTABLE) {
        lazy_make_plain(L, -1);
        lua_pushliteral(L, "user");
        lua_pushvalue(L, 4);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

/* stack: event, context, identity, claims. Puts the identity into the context and calls the
 * handler. */
static int admit(lua_State *L)
{
    struct str scope = upvalue_text(L, UP_SCOPE);
    if (scope.ptr != NULL && !jwt_has_scope(L, 4, scope))
        return jwt_refuse_scope(L, scope);
    set_user(L);
    set_named(L, 3, NAME_CLAIMS); /* stack: event, context, identity */
    if (lua_istable(L, CONTEXT))
        set_named(L, CONTEXT, NAME_IDENTITY_CONTEXT);
    lua_settop(L, CONTEXT);
    lua_pushvalue(L, lua_upvalueindex(UP_HANDLER));
    lua_insert(L, 1);
    lua_callk(L, 2, 1, 0, jwt_return_result);
    return 1;
}

/* stack: event, context, identity, then the mapped claims or an error value. */
static int mapped(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    struct str why;
    return jwt_has_no_claims(L, status, &why)
               ? jwt_refuse(L, STR("claims_mapping"), why, upvalue_text(L, UP_SCOPE),
                            lua_upvalueindex(UP_HANDLE_ERROR))
               : admit(L);
}

/* A handler that wants a role has no map_claims: the token's own claims are what counts. Whether
 * there is memory to look, *asked tells. */
static bool lacks_role(const struct jwt_verifier *v, const struct verdict *verdict, struct str role,
                       bool *asked)
{
    json_t *claims = claims_plain(verdict->claims, v->claim_namespace);
    bool has = claims != NULL && claims_have_role(claims, v->role_path, role);
    *asked = claims != NULL;
    json_decref(claims);
    return !has;
}

/* stack: event, context. */
static int verified(lua_State *L, const struct jwt_verifier *v, struct verdict *verdict,
                    struct str token)
{
    struct str role = upvalue_text(L, UP_ROLE);
    bool asked = true;
    lua_settop(L, CONTEXT);
    if (role.ptr != NULL && lacks_role(v, verdict, role, &asked))
        return asked ? jwt_refuse_role(L, role) : luaL_error(L, "out of memory");
    lua_createtable(L, 0, 2);
    name_push(L, NAME_TOKEN);
    claims_push_token(L, verdict->claims, token);
    lua_rawset(L, -3);
    if (jwt_push_mapped(L, lua_upvalueindex(UP_MAP), v, verdict))
        return admit(L);
    if (lua_isnil(L, lua_upvalueindex(UP_MAP))) {
        jwt_push_claims(L, v, verdict);
        return admit(L);
    }
    lua_pushvalue(L, lua_upvalueindex(UP_MAP));
    jwt_push_claims(L, v, verdict);
    return mapped(L, lua_pcallk(L, 1, 1, 0, 0, mapped), 0);
}

/* event.headers.authorization; straight from the request where the script has not looked at the
 * headers. */
static bool get_header(lua_State *L, struct str *out)
{
    if (event_authorization(L, EVENT, out))
        return out->ptr != NULL;
    if (!lua_istable(L, EVENT) || lua_getfield(L, EVENT, "headers") != LUA_TTABLE)
        return false;
    lua_getfield(L, -1, "authorization");
    if (lua_type(L, -1) != LUA_TSTRING)
        return false;
    out->ptr = lua_tolstring(L, -1, &out->len); /* stays alive with event.headers */
    return true;
}

/* As verify_read_header; what the request's policy has read is not read again. */
static bool read_token(lua_State *L, const struct str *header, struct str *token,
                       struct verdict *verdict)
{
    if (header != NULL && header->len > VERIFY_SCHEME_BYTES) {
        *token = str_skip(*header, VERIFY_SCHEME_BYTES);
        if (jwt_known_claims(L, *token) != 0)
            return true;
    }
    return verify_read_header(header, token, verdict) == 0;
}

static int judge(lua_State *L, bool waited);

static int judge_again(lua_State *L)
{
    return judge(L, true);
}

static int judge(lua_State *L, bool waited)
{
    struct jwt_verifier *v = lua_touserdata(L, lua_upvalueindex(UP_VERIFIER));
    struct str header = {NULL, 0}, token = {NULL, 0};
    struct verdict verdict = {0};
    lua_settop(L, CONTEXT);
    bool has_header = get_header(L, &header);
    if (!read_token(L, has_header ? &header : NULL, &token, &verdict))
        return jwt_refuse(L, str_from(verdict.code), verdict.text, upvalue_text(L, UP_SCOPE),
                          lua_upvalueindex(UP_HANDLE_ERROR));
    jwt_judge(L, v, token, waited, &verdict);
    if (verdict.status == VERIFY_OK)
        return verified(L, v, &verdict, token);
    if (verdict.status == VERIFY_NEEDS_KEY)
        return waited ? jwt_refuse_unavailable(L, &verdict)
                      : jwt_await_keys(L, &verdict, judge_again);
    if (strcmp(verdict.code, VERIFY_CODE_UNKNOWN) == 0)
        return jwt_refuse_unavailable(L, &verdict);
    if (strcmp(verdict.code, VERIFY_CODE_MEMORY) == 0)
        return luaL_error(L, "out of memory");
    return jwt_refuse(L, str_from(verdict.code), verdict.text, upvalue_text(L, UP_SCOPE),
                      lua_upvalueindex(UP_HANDLE_ERROR));
}

/* (event, context) */
static int l_guarded(lua_State *L)
{
    return judge(L, false);
}

/* ---- making guarded handlers ---- */

/* wrap(handler): upvalues are the verifier, map_claims, handle_error. */
static int l_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    for (int i = UP_VERIFIER; i <= UP_HANDLE_ERROR; i++)
        lua_pushvalue(L, lua_upvalueindex(i));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushcclosure(L, l_guarded, UP_COUNT);
    return 1;
}

/* Pushes the member of the options at `index`, nil where it is absent. What it is instead of a
 * function, or NULL. [-0, +1] */
static const char *function_option(lua_State *L, int index, const char *name)
{
    int type = lua_getfield(L, index, name);
    if (type == LUA_TLIGHTUSERDATA) { /* json.null */
        lua_pop(L, 1);
        lua_pushnil(L);
        type = LUA_TNIL;
    }
    if (type == LUA_TFUNCTION || type == LUA_TNIL)
        return NULL;
    return type == LUA_TTABLE ? "object" : luaL_typename(L, -1);
}

static void push_map_claims(lua_State *L, int index)
{
    const char *wrong = function_option(L, index, "map_claims");
    if (wrong != NULL)
        luaL_error(L, "Expected 'mapClaims' to be a function, got '%s'", wrong);
}

int l_jwt_verifier(lua_State *L)
{
    lua_settop(L, 1);
    jwt_push_verifier(L, 1);
    jwt_check_verifier_keys(L, 1, "jwt.verifier");
    push_map_claims(L, 1);
    const char *wrong = function_option(L, 1, "handle_error");
    if (wrong != NULL)
        return luaL_error(L, "Expected 'handleError' to be a function, got '%s'", wrong);
    lua_pushcclosure(L, l_wrap, 3);
    return 1;
}

/* A handler behind the deployment's issuers; scope and role are pushed by the caller as the last
 * two upvalues. */
static int push_guarded(lua_State *L, int handler, int scope, int role)
{
    luaL_checktype(L, handler, LUA_TFUNCTION);
    jwt_push_default_verifier(L);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, handler);
    if (scope > 0)
        lua_pushvalue(L, scope);
    else
        lua_pushnil(L);
    if (role > 0)
        lua_pushvalue(L, role);
    else
        lua_pushnil(L);
    lua_pushcclosure(L, l_guarded, UP_COUNT);
    return 1;
}

int l_jwt_require_auth(lua_State *L)
{
    return push_guarded(L, 1, 0, 0);
}

int l_jwt_require_scope(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    luaL_argcheck(L, strchr(lua_tostring(L, 1), ' ') == NULL, 1, "one scope has no blank");
    return push_guarded(L, 2, 1, 0);
}

int l_jwt_require_role(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    return push_guarded(L, 2, 0, 1);
}

/* ---- jwt.verify and verify_read_header ---- */

/* stack: token, options, verifier, map_claims or nil. */
static int verify(lua_State *L, bool waited);

static int verify_again(lua_State *L)
{
    return verify(L, true);
}

static int verify_mapped(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    struct str why;
    return jwt_has_no_claims(L, status, &why) ? jwt_push_refusal(L, STR("claims_mapping"), why) : 1;
}

static int verify(lua_State *L, bool waited)
{
    struct jwt_verifier *v = lua_touserdata(L, 3);
    struct str token = {NULL, 0};
    struct verdict verdict = {0};
    if (lua_type(L, 1) == LUA_TSTRING)
        token.ptr = lua_tolstring(L, 1, &token.len);
    jwt_judge(L, v, token, waited, &verdict);
    if (verdict.status == VERIFY_OK) {
        jwt_push_claims(L, v, &verdict);
        if (lua_isnil(L, 4))
            return 1;
        lua_pushvalue(L, 4);
        lua_insert(L, -2);
        return verify_mapped(L, lua_pcallk(L, 1, 1, 0, 0, verify_mapped), 0);
    }
    if (verdict.status == VERIFY_NEEDS_KEY && !waited)
        return jwt_await_keys(L, &verdict, verify_again);
    if (verdict.status == VERIFY_NEEDS_KEY)
        return jwt_push_refusal(L, STR("keys_unavailable"),
                                STR("The keys of the token's issuer cannot be had at the moment"));
    return jwt_push_refusal(L, str_from(verdict.code), verdict.text);
}

int l_jwt_verify(lua_State *L)
{
    lua_settop(L, 2);
    luaL_argcheck(L, lua_isnil(L, 1) || lua_type(L, 1) == LUA_TSTRING, 1,
                  "a token (text) expected");
    if (lua_isnil(L, 2)) {
        jwt_push_default_verifier(L);
        lua_pushnil(L);
    } else {
        jwt_push_verifier(L, 2);
        jwt_check_verifier_keys(L, 2, "jwt.verify");
        push_map_claims(L, 2);
    }
    return verify(L, false);
}

int l_jwt_token_from_header(lua_State *L)
{
    struct str header = {NULL, 0}, token;
    struct verdict verdict = {0};
    bool absent =
        lua_isnoneornil(L, 1) || (lua_islightuserdata(L, 1) && lua_touserdata(L, 1) == NULL);
    if (!absent) {
        luaL_checktype(L, 1, LUA_TSTRING);
        header.ptr = lua_tolstring(L, 1, &header.len);
    }
    if (verify_read_header(absent ? NULL : &header, &token, &verdict) != 0)
        return jwt_push_refusal(L, str_from(verdict.code), verdict.text);
    lua_pushlstring(L, token.ptr != NULL ? token.ptr : "", token.len);
    return 1;
}
