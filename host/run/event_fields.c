/* What each field of event and context is, from the exchange. */
#include "lua/lazy.h"
#include "run/event_fields.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "http/content_type.h"
#include "http/forwarded.h"
#include "http/target.h"
#include "run/claims_table.h"
#include "run/invocation.h"
#include "lua/json_lazy.h"
#include "lua/told.h"
#include "lua/tree.h"

static void push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.ptr != NULL ? s.ptr : "", s.len);
}

void event_push_text(lua_State *L, struct str s)
{
    if (s.ptr == NULL || str_is_utf8(s)) {
        push_str(L, s);
        return;
    }
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (s.len > 0) {
        size_t len = str_utf8_length(s);
        if (len > 0)
            luaL_addlstring(&b, s.ptr, len);
        else
            luaL_addlstring(&b, "\xEF\xBF\xBD", 3);
        s = str_skip(s, len > 0 ? len : str_utf8_broken(s));
    }
    luaL_pushresult(&b);
}

static struct request *request_of(struct invocation *inv)
{
    return &inv->ex->req;
}

/* ---- event ---- */

static void push_method(lua_State *L, struct invocation *inv)
{
    push_str(L, request_of(inv)->method_name);
}

static void push_path(lua_State *L, struct invocation *inv)
{
    push_str(L, inv->call->path);
}

static void push_raw_query(lua_State *L, struct invocation *inv)
{
    push_str(L, request_of(inv)->query);
}

static void push_raw_url(lua_State *L, struct invocation *inv)
{
    const struct request *req = request_of(inv);
    const struct str parts[] = {req->scheme,
                                STR("://"),
                                req->host,
                                inv->call->path,
                                req->query.ptr != NULL ? STR("?") : STR(""),
                                req->query};
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        luaL_addlstring(&b, parts[i].ptr, parts[i].len);
    luaL_pushresult(&b);
}

static void push_route(lua_State *L, struct invocation *inv)
{
    if (inv->instance->spec.path_count > 0 && inv->call->tool == NULL)
        push_str(L, inv->call->route);
    else
        lua_pushnil(L);
}

static void push_params(lua_State *L, struct invocation *inv)
{
    const struct call *call = inv->call;
    lua_createtable(L, 0, (int)call->param_count);
    for (unsigned i = 0; i < call->param_count; i++) {
        struct str value = target_percent_decode(&inv->ex->arena, call->params[i].value, false);
        push_str(L, call->params[i].name);
        event_push_text(L, lx_vm_check(L, value));
        lua_rawset(L, -3);
    }
}

/* Is the body text, by its Content-Type alone? */
static bool is_text(const struct request *req)
{
    static const char *const also[] = {"application/x-www-form-urlencoded",
                                       "application/csp-report", NULL};
    const struct str *header = headers_get(&req->headers, STR("content-type"));
    return header != NULL && content_type_is_text(*header, also);
}

static void push_is_base64(lua_State *L, struct invocation *inv)
{
    lua_pushboolean(L, !is_text(request_of(inv)));
}

static void push_body(lua_State *L, struct invocation *inv)
{
    const struct request *req = request_of(inv);
    /* As on Netlify: a body without a Content-Type is no body. */
    if (inv->instance->spec.stream_body || req->body.ptr == NULL || req->method == METHOD_GET ||
        req->method == METHOD_HEAD || headers_get(&req->headers, STR("content-type")) == NULL) {
        lua_pushnil(L);
    } else if (is_text(req)) {
        event_push_text(L, req->body);
    } else {
        luaL_Buffer b;
        char *out = luaL_buffinitsize(L, &b, BASE64_ENCODED_MAX(req->body.len));
        luaL_pushresultsize(&b, base64_encode(req->body, BASE64_STANDARD, out));
    }
}

/* ---- headers: names are lower case; duplicates are joined, cookies with "; " ---- */

/* What the host knows better than the client: these names of the client's are dropped. */
static const struct str own_headers[] = {
    {"client-ip", 9},        {"x-nf-client-connection-ip", 25},
    {"x-nf-request-id", 15}, {"x-nf-account-id", 15},
    {"x-nf-site-id", 12},    {"x-nf-geo", 8},
};
enum { OWN_HEADERS = sizeof(own_headers) / sizeof(own_headers[0]) };

static bool is_dropped(const struct request *req, struct str name)
{
    if (!forwarded_may_show(req, name))
        return true;
    for (unsigned i = 0; i < OWN_HEADERS; i++) {
        if (str_eq(name, own_headers[i]))
            return true;
    }
    return false;
}

static struct str own_value(struct invocation *inv, unsigned index)
{
    switch (index) {
    case 0:
    case 1:
        return request_of(inv)->client_ip;
    case 2:
        return str_from(inv->ex->request_id);
    case 3:
        return STR("");
    case 4:
        return STR("unlinked");
    default:
        return STR("e30="); /* base64 of {} */
    }
}

/* Of what comes several times, the values are joined. stack: table, name; takes the name. */
static void set_joined(lua_State *L, const char *separator, struct str value)
{
    lua_pushvalue(L, -1);
    bool more = lua_rawget(L, -3) == LUA_TSTRING;
    if (more)
        lua_pushstring(L, separator);
    else
        lua_pop(L, 1);
    event_push_text(L, value);
    if (more)
        lua_concat(L, 3);
    lua_rawset(L, -3);
}

static void push_headers(lua_State *L, struct invocation *inv)
{
    const struct headers *headers = &request_of(inv)->headers;
    lua_createtable(L, 0, (int)headers->len + OWN_HEADERS);
    for (uint32_t i = 0; i < headers->len; i++) {
        struct str name = headers->items[i].name;
        if (is_dropped(request_of(inv), name))
            continue;
        push_str(L, name);
        set_joined(L, str_eq(name, STR("cookie")) ? "; " : ", ", headers->items[i].value);
    }
    for (unsigned i = 0; i < OWN_HEADERS; i++) {
        lua_pushstring(L, own_headers[i].ptr); /* Lua remembers constants by their address */
        push_str(L, own_value(inv, i));
        lua_rawset(L, -3);
    }
}

/* Netlify gives the joined value, in a list of one. */
static void push_multi_headers(lua_State *L, struct invocation *inv)
{
    push_headers(L, inv);
    for (lua_pushnil(L); lua_next(L, -2) != 0;) { /* stack: headers, name, value */
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        tree_push_array_mt(L);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -2);
        lua_insert(L, -2); /* stack: headers, name, name, list */
        lua_rawset(L, -4); /* a member that is there already may change while they are walked */
    }
}

/* ---- query: names keep their brackets; several values are joined with ", " ---- */

static int lx_query(lua_State *L, struct invocation *inv, struct query_pair **pairs)
{
    int count = target_parse_query(&inv->ex->arena, request_of(inv)->query, pairs);
    return count >= 0 ? count : luaL_error(L, "out of memory");
}

static void push_query(lua_State *L, struct invocation *inv)
{
    struct query_pair *pairs = NULL;
    int count = lx_query(L, inv, &pairs);
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        event_push_text(L, pairs[i].name);
        set_joined(L, ", ", pairs[i].value);
    }
}

static void push_multi_query(lua_State *L, struct invocation *inv)
{
    struct query_pair *pairs = NULL;
    int count = lx_query(L, inv, &pairs);
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        event_push_text(L, pairs[i].name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_createtable(L, 1, 0);
            tree_push_array_mt(L);
            lua_setmetatable(L, -2);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        } /* stack: multi, name, list */
        event_push_text(L, pairs[i].value);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 2);
    }
}

/* ---- of a job ---- */

static void push_job(lua_State *L, struct invocation *inv)
{
    const struct job_call *job = inv->call->job;
    if (job == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 3);
    push_str(L, job->id);
    lua_setfield(L, -2, "id");
    lua_pushinteger(L, (lua_Integer)job->attempt);
    lua_setfield(L, -2, "attempt");
    if (job->key.len > 0) {
        push_str(L, job->key);
        lua_setfield(L, -2, "key");
    }
}

/* ---- of a tool's call ---- */

static void push_tool(lua_State *L, struct invocation *inv)
{
    if (inv->call->tool != NULL)
        push_str(L, inv->call->tool->name);
    else
        lua_pushnil(L);
}

static void push_arguments(lua_State *L, struct invocation *inv)
{
    if (inv->call->tool == NULL) {
        lua_pushnil(L);
        return;
    }
    push_str(L, inv->call->tool->arguments);
    if (json_lazy_decode(L, -1) != 0)
        luaL_error(L, "event.arguments: %s", lua_tostring(L, -1));
    lua_remove(L, -2);
}

const struct field event_fields[] = {
    {"body", push_body},
    {"headers", push_headers},
    {"httpMethod", push_method},
    {"isBase64Encoded", push_is_base64},
    {"multiValueHeaders", push_multi_headers},
    {"multiValueQueryStringParameters", push_multi_query},
    {"params", push_params},
    {"path", push_path},
    {"queryStringParameters", push_query},
    {"rawQuery", push_raw_query},
    {"rawUrl", push_raw_url},
    {"route", push_route},
    {"arguments", push_arguments},
    {"job", push_job},
    {"tool", push_tool},
    {NULL, NULL},
};

/* ---- context ---- */

static void push_name(lua_State *L, struct invocation *inv)
{
    push_str(L, inv->instance->spec.name);
}

static void push_version(lua_State *L, struct invocation *inv)
{
    lua_pushfstring(L, "%d", (int)inv->instance->generation);
}

static void push_request_id(lua_State *L, struct invocation *inv)
{
    lua_pushstring(L, inv->ex->request_id);
}

static void push_memory(lua_State *L, struct invocation *inv)
{
    lua_pushinteger(L, (lua_Integer)(inv->instance->spec.memory >> 20));
}

/* The exchange is a value of the closure, to be compared: one kept after its request answers 0. */
static int l_remaining(lua_State *L)
{
    const struct invocation *inv = invocation_of(L);
    bool is_own = inv != NULL && inv->ex == lua_touserdata(L, lua_upvalueindex(1));
    lua_Integer left = is_own ? (lua_Integer)(invocation_left(inv) / 1000000) : 0;
    struct hook *hook = told_hook(L);
    if (hook != NULL)
        left = (lua_Integer)lx_told_number(L, hook, "remaining", (double)left);
    lua_pushinteger(L, left);
    return 1;
}

static void push_remaining(lua_State *L, struct invocation *inv)
{
    lua_pushlightuserdata(L, inv->ex);
    lua_pushcclosure(L, l_remaining, 1);
}

static void push_claims(lua_State *L, struct invocation *inv)
{
    claims_table_push(L, inv->call->claims, inv->instance->spec.policy.namespace);
}

static void push_identity(lua_State *L, struct invocation *inv)
{
    if (inv->call->claims == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 2);
    claims_push_token(L, inv->call->claims, inv->call->token);
    lua_setfield(L, -2, "token");
    push_claims(L, inv);
    lua_setfield(L, -2, "claims");
}

/* The claims of an identity that a check in Lua has put into the context, which is at index 1.
 * [-0, +1]: them, or nil */
static void push_set_claims(lua_State *L)
{
    lua_pushliteral(L, "identityContext");
    if (lua_rawget(L, 1) == LUA_TTABLE) {
        lazy_make_plain(L, -1);
        lua_pushliteral(L, "claims");
        lua_rawget(L, -2);
        lua_remove(L, -2);
    } else {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

static void push_client_context(lua_State *L, struct invocation *inv)
{
    lua_createtable(L, 0, 1);
    push_set_claims(L);
    if (lua_isnil(L, -1) && inv->call->claims != NULL) {
        lua_pop(L, 1);
        push_claims(L, inv);
    }
    lua_setfield(L, -2, "user");
}

const struct field event_fields_context[] = {
    {"awsRequestId", push_request_id},
    {"clientContext", push_client_context},
    {"functionName", push_name},
    {"functionVersion", push_version},
    {"getRemainingTimeInMillis", push_remaining},
    {"identityContext", push_identity},
    {"memoryLimitInMB", push_memory},
    {NULL, NULL},
};
