/* What a guarded handler answers in the place of its own: 401, 403, 503; and how jwt.verify says
 * no. */
#include <lauxlib.h>

#include "auth/policy.h"
#include "base/buf.h"
#include "base/limits.h"
#include "bindings/json.h"
#include "bindings/jwt_internal.h"
#include "http/response.h"

/* Sets a field of the table on top. */
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
    response_write_error(body, code, text);
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

int jwt_return_result(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 1;
}

/* Pushes it; a scope that the attribute cannot hold is left out (RFC 6750 section 3). [-0, +1] */
static const char *push_challenge(lua_State *L, const char *error, struct str scope)
{
    lua_pushfstring(L, "Bearer realm=\"luafn\"%s", error);
    if (policy_is_scope_text(scope))
        lua_pushfstring(L, "%s, scope=\"%s\"", lua_tostring(L, -1), scope.ptr);
    return lua_tostring(L, -1);
}

int jwt_refuse(lua_State *L, struct str code, struct str text, struct str scope, int handle_error)
{
    if (lua_type(L, handle_error) == LUA_TNIL) {
        bool sent = !str_eq(code, STR("invalid_header")) && !str_eq(code, STR("jwt_missing"));
        push_response(L, 401, code, text,
                      push_challenge(L, sent ? ", error=\"invalid_token\"" : "", scope));
        return 1;
    }
    lua_pushvalue(L, handle_error);
    lua_createtable(L, 0, 2);
    set_text(L, "code", code);
    set_text(L, "message", text);
    lua_callk(L, 1, 1, 0, jwt_return_result);
    return 1;
}

int jwt_refuse_unavailable(lua_State *L, const struct verdict *verdict)
{
    bool keys = verdict->status == VERIFY_NEEDS_KEY;
    push_response(L, 503, keys ? STR("keys_unavailable") : str_from(verdict->code),
                  keys ? STR("The keys of the token's issuer cannot be had at the moment")
                       : verdict->text,
                  NULL);
    lua_getfield(L, -1, "headers");
    lua_pushinteger(L, (lua_Integer)(LIMIT_KEYS_RETRY + 0.999));
    lua_setfield(L, -2, "Retry-After");
    lua_pop(L, 1);
    return 1;
}

/* 403 because `what` is missing. */
static int refuse_access(lua_State *L, const char *before, struct str what, const char *after,
                         bool is_scope)
{
    struct str text;
    lua_pushstring(L, before);
    lua_pushlstring(L, what.ptr, what.len);
    lua_pushstring(L, after);
    lua_concat(L, 3);
    text.ptr = lua_tolstring(L, -1, &text.len);
    push_response(L, 403, STR("access_denied"), text,
                  push_challenge(L, ", error=\"insufficient_scope\"",
                                 is_scope ? what : (struct str){NULL, 0}));
    return 1;
}

int jwt_refuse_scope(lua_State *L, struct str scope)
{
    return refuse_access(L, "Token does not contain the required '", scope, "' scope", true);
}

int jwt_refuse_role(lua_State *L, struct str role)
{
    return refuse_access(L, "User does not have the '", role, "' role", false);
}

int jwt_push_refusal(lua_State *L, struct str code, struct str text)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    set_text(L, "code", code);
    set_text(L, "message", text);
    return 2;
}
