/* jwt.verifier, jwt.verify, require_auth, require_scope, require_role: a token check around a
 * handler.
 *
 * A guarded handler goes through these steps; each may wait, so each is a continuation of the one
 * before:
 *
 *     l_guarded: header -> verdict -> (keys) -> verified -> map_claims -> admit: scope or role ->
 * handler
 *
 * A refusal anywhere is a response table, or what handle_error makes of it. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "auth/policy.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "bindings/json.h"
#include "bindings/jwt_internal.h"
#include "base/limits.h"
#include "net/issuer.h"
#include "run/await.h"
#include "run/event.h"
#include "run/guard.h"
#include "run/options.h"
#include "run/tree.h"
#include "run/vm.h"

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

/* Texts of one verdict; emptied before the next. Nothing in it outlives the step. */
static struct arena scratch;

/* ---- waiting for keys ---- */

struct keys_op {
    struct op op;
    struct issuer_wait wait;
    int (*next)(lua_State *L); /* the step that judges again */
};

static void on_keys(struct issuer_wait *wait)
{
    op_complete(&container_of(wait, struct keys_op, wait)->op);
}

static void cancel_keys(struct op *op)
{
    struct keys_op *k = container_of(op, struct keys_op, op);
    if (k->wait.done != NULL)
        issuer_cancel(&k->wait);
}

static int finish_keys(lua_State *L, struct op *op)
{
    struct keys_op *k = container_of(op, struct keys_op, op);
    int (*next)(lua_State *) = k->next;
    lua_pop(L, 1); /* the operation */
    return next(L);
}

static const struct op_type keys_type = {
    .name = "keys", .cancel = cancel_keys, .finish = finish_keys};

static struct issuer *issuer_of(lua_State *L, const struct verdict *verdict)
{
    struct issuers *issuers = vm_of(L)->services->issuers;
    return issuers != NULL ? issuers_by_source(issuers, verdict->verifier->keys) : NULL;
}

/* Waits for the key that the verdict lacks, then goes on with `next`; at once where waiting is of
 * no use. */
static int await_keys(lua_State *L, const struct verdict *verdict, int (*next)(lua_State *L))
{
    struct issuer *issuer = issuer_of(L, verdict);
    char kid[LIMIT_KID_BYTES];
    size_t len = verdict->kid.len < sizeof(kid) ? verdict->kid.len : sizeof(kid);
    memcpy(kid, verdict->kid.ptr != NULL ? verdict->kid.ptr : "", len);
    struct keys_op *k = (struct keys_op *)op_new(L, &keys_type, sizeof(*k));
    list_init(&k->wait.node);
    k->next = next;
    if (issuer != NULL) {
        k->wait.done = on_keys;
        if (issuer_want(issuer, (struct str){kid, len}, &k->wait) != 0)
            return await(L, &k->op);
    }
    k->wait.done = NULL;
    lua_pop(L, 1);
    return next(L);
}

/* Judges the token, its texts in `scratch`. A key that was waited for and is not there does not
 * exist, unless the issuer cannot be asked: then the verdict stays VERIFY_NEEDS_KEY, which is a
 * 503. */
static void judge_token(lua_State *L, const struct jwt_verifier *v, struct str token, bool waited,
                        struct verdict *verdict)
{
    arena_reset(&scratch);
    token_verify(v->verifiers, v->count, token, clock_now(), false, &scratch, verdict);
    if (verdict->status != VERIFY_NEEDS_KEY || !waited)
        return;
    struct issuer *issuer = issuer_of(L, verdict);
    if (issuer == NULL || !issuer_is_failing(issuer))
        token_verify(v->verifiers, v->count, token, clock_now(), true, &scratch, verdict);
}

/* ---- refusals ---- */

static void set_text(lua_State *L, const char *name, struct str value)
{
    lua_pushlstring(L, value.ptr != NULL ? value.ptr : "", value.len);
    lua_setfield(L, -2, name);
}

/* A response table: status, JSON error body, and the challenge (NULL: none). [-0, +1] */
static void push_response(lua_State *L, int status, struct str code, struct str text,
                          const char *challenge)
{
    struct buf *body = json_scratch();
    buf_add_str(body, STR("{\"error\":"));
    buf_add_json(body, code);
    buf_add_str(body, STR(",\"error_description\":"));
    buf_add_json(body, text);
    buf_add_char(body, '}');
    if (buf_failed(body))
        luaL_error(L, "out of memory");
    lua_createtable(L, 0, 3);
    set_text(L, "body", buf_str(body));
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "statusCode");
    lua_createtable(L, 0, 2);
    set_text(L, "Content-Type", STR("application/json"));
    if (challenge != NULL)
        set_text(L, "WWW-Authenticate", str_from(challenge));
    lua_setfield(L, -2, "headers");
}

static int return_result(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 1;
}

/* 401, or what handle_error says. The error is a table: code, message. */
static int refuse(lua_State *L, struct str code, struct str text)
{
    if (lua_type(L, lua_upvalueindex(UP_HANDLE_ERROR)) == LUA_TNIL) {
        bool sent = !str_eq(code, STR("invalid_header")) && !str_eq(code, STR("jwt_missing"));
        push_response(L, 401, code, text,
                      sent ? "Bearer realm=\"luafn\", error=\"invalid_token\""
                           : "Bearer realm=\"luafn\"");
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_HANDLE_ERROR));
    lua_createtable(L, 0, 2);
    set_text(L, "code", code);
    set_text(L, "message", text);
    lua_callk(L, 1, 1, 0, return_result);
    return 1;
}

static int refuse_unavailable(lua_State *L)
{
    push_response(L, 503, STR("keys_unavailable"),
                  STR("The keys of the token's issuer cannot be had at the moment"), NULL);
    lua_getfield(L, -1, "headers");
    lua_pushinteger(L, (lua_Integer)(LIMIT_KEYS_RETRY + 0.999));
    lua_setfield(L, -2, "Retry-After");
    lua_pop(L, 1);
    return 1;
}

static int refuse_scope(lua_State *L, struct str scope)
{
    char text[256], challenge[320];
    snprintf(text, sizeof(text), "Token does not contain the required '%.*s' scope",
             STR_ARG(scope));
    snprintf(challenge, sizeof(challenge),
             "Bearer realm=\"luafn\", error=\"insufficient_scope\", scope=\"%.*s\"",
             STR_ARG(scope));
    push_response(L, 403, STR("access_denied"), str_from(text), challenge);
    return 1;
}

static int refuse_role(lua_State *L, struct str role)
{
    char text[256];
    snprintf(text, sizeof(text), "User does not have the '%.*s' role", STR_ARG(role));
    push_response(L, 403, STR("access_denied"), str_from(text),
                  "Bearer realm=\"luafn\", error=\"insufficient_scope\"");
    return 1;
}

/* ---- the steps ---- */

static struct str upvalue_text(lua_State *L, int index)
{
    struct str s = {NULL, 0};
    if (lua_type(L, lua_upvalueindex(index)) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, lua_upvalueindex(index), &s.len);
    return s;
}

/* stack: event, context, identity, claims. Puts the identity into the context and calls the
 * handler. */
static int admit(lua_State *L)
{
    struct str scope = upvalue_text(L, UP_SCOPE), role = upvalue_text(L, UP_ROLE);
    if (scope.ptr != NULL && !jwt_has_scope(L, 4, scope))
        return refuse_scope(L, scope);
    if (role.ptr != NULL && !(lua_istable(L, 4) && jwt_claim_has_word(L, 4, "roles", role)))
        return refuse_role(L, role);
    lua_setfield(L, 3, "claims"); /* stack: event, context, identity */
    if (lua_istable(L, CONTEXT)) {
        lua_pushliteral(L, "identityContext");
        lua_insert(L, 3);
        lua_rawset(L, CONTEXT);
    }
    lua_settop(L, CONTEXT);
    lua_pushvalue(L, lua_upvalueindex(UP_HANDLER));
    lua_insert(L, 1);
    lua_callk(L, 2, 1, 0, return_result);
    return 1;
}

/* stack: event, context, identity, then the mapped claims or an error value. */
static int mapped(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    if (status != LUA_OK && status != LUA_YIELD) {
        guard_caught(L, status);
        struct str text = {"", 0};
        if (lua_istable(L, -1))
            lua_getfield(L, -1, "message");
        if (lua_type(L, -1) == LUA_TSTRING)
            text.ptr = lua_tolstring(L, -1, &text.len);
        return refuse(L, STR("claims_mapping"), text);
    }
    if (lua_isnil(L, 4) || (lua_islightuserdata(L, 4) && lua_touserdata(L, 4) == NULL))
        return refuse(L, STR("claims_mapping"),
                      STR("The mapClaims function returned an empty object"));
    return admit(L);
}

static int l_push_tree(lua_State *L)
{
    tree_push(L, lua_touserdata(L, 1));
    return 1;
}

/* Takes the verdict's claims. [-0, +1] */
static void push_claims(lua_State *L, struct verdict *verdict)
{
    lua_pushcfunction(L, l_push_tree);
    lua_pushlightuserdata(L, verdict->claims->json);
    int status = lua_pcall(L, 1, 1, 0);
    claims_unref(verdict->claims);
    verdict->claims = NULL;
    if (status != LUA_OK)
        lua_error(L);
}

/* stack: event, context. */
static int verified(lua_State *L, struct verdict *verdict, struct str token)
{
    lua_settop(L, CONTEXT);
    push_claims(L, verdict);
    lua_createtable(L, 0, 2);
    set_text(L, "token", token);
    lua_insert(L, 3); /* stack: event, context, identity, claims */
    if (lua_type(L, lua_upvalueindex(UP_MAP)) == LUA_TNIL)
        return admit(L);
    lua_pushvalue(L, lua_upvalueindex(UP_MAP));
    lua_insert(L, 4);
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
    if (token_from_header(has_header ? &header : NULL, &token, &verdict) != 0)
        return refuse(L, str_from(verdict.code), verdict.text);
    judge_token(L, v, token, waited, &verdict);
    if (verdict.status == VERIFY_OK)
        return verified(L, &verdict, token);
    if (verdict.status == VERIFY_NEEDS_KEY)
        return waited ? refuse_unavailable(L) : await_keys(L, &verdict, judge_again);
    if (strcmp(verdict.code, VERIFY_CODE_MEMORY) == 0)
        return luaL_error(L, "out of memory");
    return refuse(L, str_from(verdict.code), verdict.text);
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

static const char *function_option(lua_State *L, const char *name)
{
    int type = lua_getfield(L, 1, name);
    if (type == LUA_TLIGHTUSERDATA) { /* json.null */
        lua_pop(L, 1);
        lua_pushnil(L);
        type = LUA_TNIL;
    }
    if (type == LUA_TFUNCTION || type == LUA_TNIL)
        return NULL;
    return type == LUA_TTABLE ? "object" : luaL_typename(L, -1);
}

int l_jwt_verifier(lua_State *L)
{
    static const char *const own_keys[] = {"map_claims", "handle_error", NULL};
    lua_settop(L, 1);
    struct jwt_verifier *v = jwt_push_verifier(L, 1);
    (void)v;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        bool known = false;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        for (int i = 0; own_keys[i] != NULL; i++)
            known = known || strcmp(key, own_keys[i]) == 0;
        for (int i = 0; verifier_keys[i] != NULL; i++)
            known = known || strcmp(key, verifier_keys[i]) == 0;
        if (!known)
            return luaL_error(L, "jwt.verifier: unknown option '%s'", key);
    }
    const char *wrong = function_option(L, "map_claims");
    if (wrong != NULL)
        return luaL_error(L, "Expected 'mapClaims' to be a function, got '%s'", wrong);
    wrong = function_option(L, "handle_error");
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
    return push_guarded(L, 2, 1, 0);
}

int l_jwt_require_role(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    return push_guarded(L, 2, 0, 1);
}

/* ---- jwt.verify and token_from_header ---- */

static int push_refusal(lua_State *L, struct str code, struct str text)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    set_text(L, "code", code);
    set_text(L, "message", text);
    return 2;
}

/* stack: token, options, verifier. */
static int verify(lua_State *L, bool waited);

static int verify_again(lua_State *L)
{
    return verify(L, true);
}

static int verify(lua_State *L, bool waited)
{
    struct jwt_verifier *v = lua_touserdata(L, 3);
    struct str token = {NULL, 0};
    struct verdict verdict = {0};
    if (lua_type(L, 1) == LUA_TSTRING)
        token.ptr = lua_tolstring(L, 1, &token.len);
    judge_token(L, v, token, waited, &verdict);
    if (verdict.status == VERIFY_OK) {
        push_claims(L, &verdict);
        return 1;
    }
    if (verdict.status == VERIFY_NEEDS_KEY && !waited)
        return await_keys(L, &verdict, verify_again);
    if (verdict.status == VERIFY_NEEDS_KEY)
        return push_refusal(L, STR("keys_unavailable"),
                            STR("The keys of the token's issuer cannot be had at the moment"));
    return push_refusal(L, str_from(verdict.code), verdict.text);
}

int l_jwt_verify(lua_State *L)
{
    lua_settop(L, 2);
    luaL_argcheck(L, lua_isnil(L, 1) || lua_type(L, 1) == LUA_TSTRING, 1,
                  "a token (text) expected");
    if (lua_isnil(L, 2))
        jwt_push_default_verifier(L);
    else
        jwt_push_verifier(L, 2);
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
    if (token_from_header(absent ? NULL : &header, &token, &verdict) != 0)
        return push_refusal(L, str_from(verdict.code), verdict.text);
    lua_pushlstring(L, token.ptr != NULL ? token.ptr : "", token.len);
    return 1;
}
