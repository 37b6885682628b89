/* A handler's result as a response, by Netlify's table: statusCode, headers, multiValueHeaders,
 * body, isBase64Encoded. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "lua/lazy.h"
#include "lua/names.h"
#include "options/options.h"
#include "run/instance.h"
#include "run/outcome.h"

/* All values are read raw: no metamethod of a result runs. */
enum { RESULTS_CHECKED = 100 };

struct result {
    lua_State *L;
    int table;
    struct exchange *ex;
    size_t header_bytes;
    unsigned found; /* members that were there and read */
};

static void lx_add_header(struct result *r, struct str name, struct str value, bool replace)
{
    struct headers *headers = &r->ex->res.headers;
    int rc = replace ? headers_set(headers, &r->ex->arena, name, value)
                     : headers_add(headers, &r->ex->arena, name, value);
    if (rc != 0)
        luaL_error(r->L, "out of memory");
}

/* The answer to a result that cannot be sent: 500, text. Always returns false. */
static bool refuse(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool refuse(struct result *r, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct exchange *ex = r->ex;
    ex->error_code = "invalid_result";
    ex->res.streamed = ex->res.upgraded = false;
    outcome_log(ex, "the result cannot be sent", str_from(text), NULL, (struct str){NULL, 0});
    ex->res.headers.len = 0;
    struct str body = lx_vm_check(r->L, arena_copy(&ex->arena, str_from(text)));
    if (response_set_body(&ex->res, &ex->arena, 500, STR("text/plain; charset=utf-8"), body) != 0)
        luaL_error(r->L, "out of memory");
    lx_add_header(r, STR("X-Content-Type-Options"), STR("nosniff"), false);
    return false;
}

/* A number as JavaScript writes it, so that 10/2 is "5". */
static struct str number_text(lua_State *L, int index, char out[64])
{
    double value = lua_tonumber(L, index);
    if (lua_isinteger(L, index))
        snprintf(out, 64, "%lld", (long long)lua_tointeger(L, index));
    else if (isnan(value))
        snprintf(out, 64, "NaN");
    else if (isinf(value))
        snprintf(out, 64, "%sInfinity", value < 0 ? "-" : "");
    else
        snprintf(out, 64, "%.14g", value);
    return str_from(out);
}

/* ---- showing a value in a message, as Node's util.inspect would, bounded ---- */

static void show(lua_State *L, int index, struct buf *out, unsigned depth);

static void show_table(lua_State *L, int index, struct buf *out, unsigned depth)
{
    lazy_make_whole(L, index);
    bool list = lua_rawlen(L, index) > 0;
    if (depth > 2) {
        buf_add_str(out, list ? STR("[Array]") : STR("[Object]"));
        return;
    }
    buf_add_str(out, list ? STR("[ ") : STR("{"));
    unsigned count = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (count++ >= 8) {
            lua_pop(L, 2);
            buf_add_str(out, STR(" ..."));
            break;
        }
        buf_add_str(out, count > 1 ? STR(", ") : list ? STR("") : STR(" "));
        if (!list && lua_type(L, -2) == LUA_TSTRING) {
            buf_add_str(out, (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)});
            buf_add_str(out, STR(": "));
        }
        show(L, lua_gettop(L), out, depth + 1);
    }
    buf_add_str(out, list ? STR(" ]") : count > 0 ? STR(" }") : STR("}"));
}

static void show(lua_State *L, int index, struct buf *out, unsigned depth)
{
    char number[64];
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        buf_add_str(out, STR("undefined"));
        break;
    case LUA_TLIGHTUSERDATA:
        buf_add_str(out, STR("null"));
        break;
    case LUA_TBOOLEAN:
        buf_add_str(out, lua_toboolean(L, index) ? STR("true") : STR("false"));
        break;
    case LUA_TNUMBER:
        buf_add_str(out, number_text(L, index, number));
        break;
    case LUA_TSTRING: {
        struct str text = {lua_tostring(L, index), lua_rawlen(L, index)};
        buf_add_char(out, '\'');
        buf_add_str(out, (struct str){text.ptr, text.len < 100 ? text.len : 100});
        buf_add_char(out, '\'');
        break;
    }
    case LUA_TTABLE:
        luaL_checkstack(L, 4, NULL);
        show_table(L, index, out, depth);
        break;
    default:
        buf_printf(out, "[%s]", luaL_typename(L, index));
    }
}

static bool refuse_value(struct result *r, const char *message, int index)
{
    struct buf shown = BUF_INIT;
    char text[256] = "";
    show(r->L, index, &shown, 0);
    snprintf(text, sizeof(text), "%.*s", STR_ARG(buf_str(&shown)));
    buf_free(&shown);
    return refuse(r, "%s. You gave: %s", message, text);
}

/* ---- statusCode ---- */

/* Then it is answered by run/websocket.c, where the request asks for one. */
static bool is_websocket(struct result *r)
{
    lua_pushliteral(r->L, "websocket");
    r->ex->res.upgraded = lua_rawget(r->L, r->table) == LUA_TFUNCTION;
    lua_pop(r->L, 1);
    return r->ex->res.upgraded;
}

static bool read_status(struct result *r)
{
    static const char message[] = "Your function response must have a numerical statusCode";
    lua_State *L = r->L;
    name_push(L, NAME_STATUS_CODE);
    lua_rawget(L, r->table);
    double status = 0;
    int type = lua_type(L, -1);
    if (type == LUA_TNIL && is_websocket(r)) {
        lua_pop(L, 1);
        return true;
    }
    if (type == LUA_TNUMBER || (type == LUA_TSTRING && lua_isnumber(L, -1)))
        status = lua_tonumber(L, -1);
    if (status == 0 || isnan(status))
        return refuse_value(r, message, lua_gettop(L));
    char number[64];
    if (!(status >= 200 && status < 1000))
        return refuse(r, "Invalid status code: %s", number_text(L, -1, number).ptr);
    lua_pop(L, 1);
    r->found++;
    r->ex->res.status = (int)status;
    return true;
}

/* ---- headers ---- */

/* Set by the host alone: what frames the message on the wire. */
static bool is_framing(struct str name)
{
    return str_eq_nocase(name, STR("content-length")) ||
           str_eq_nocase(name, STR("transfer-encoding")) ||
           str_eq_nocase(name, STR("connection")) || str_eq_nocase(name, STR("date")) ||
           str_eq_nocase(name, STR("keep-alive")) || str_eq_nocase(name, STR("upgrade"));
}

/* One value at the top of the stack (left there). */
static bool add_value(struct result *r, struct str name, bool replace)
{
    lua_State *L = r->L;
    struct str value;
    char number[64];
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        value = (struct str){lua_tostring(L, -1), lua_rawlen(L, -1)};
        break;
    case LUA_TNUMBER:
        value = number_text(L, -1, number);
        break;
    case LUA_TBOOLEAN:
        value = lua_toboolean(L, -1) ? STR("true") : STR("false");
        break;
    default:
        return refuse(r, "TypeError: Invalid value \"%s\" for header \"%.*s\"",
                      lua_islightuserdata(L, -1) ? "null" : luaL_typename(L, -1), STR_ARG(name));
    }
    if (!header_value_is_valid(value))
        return refuse(r, "TypeError: Invalid character in header content [\"%.*s\"]",
                      STR_ARG(name));
    if (is_framing(name))
        return true;
    r->header_bytes += name.len + value.len;
    if (r->ex->res.headers.len >= LIMIT_RESPONSE_HEADERS ||
        r->header_bytes > LIMIT_RESPONSE_HEADER_BYTES)
        return refuse(r, "The response has more than %d headers, or %d bytes in them",
                      LIMIT_RESPONSE_HEADERS, LIMIT_RESPONSE_HEADER_BYTES);
    value = lx_vm_check(L, arena_copy(&r->ex->arena, value));
    lx_add_header(r, lx_vm_check(L, arena_copy(&r->ex->arena, name)), value, replace);
    return true;
}

/* A value or a list of values at the top of the stack (left there). `multi`: replaces what
 * `headers` said. */
static bool add_values(struct result *r, struct str name, bool multi)
{
    lua_State *L = r->L;
    if (!lua_istable(L, -1))
        return add_value(r, name, multi);
    lazy_make_plain(L, -1);
    size_t count = lua_rawlen(L, -1);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        bool ok = add_value(r, name, multi && i == 1);
        if (!ok)
            return false;
        lua_pop(L, 1);
    }
    return true;
}

static bool read_headers(struct result *r, enum name member, bool multi)
{
    lua_State *L = r->L;
    name_push(L, member);
    int type = lua_rawget(L, r->table);
    r->found += type != LUA_TNIL;
    if (type != LUA_TTABLE) {
        lua_pop(L, 1);
        return type == LUA_TNIL || type == LUA_TLIGHTUSERDATA ||
               refuse(r, "TypeError: `%s` must be a table", name_text(member));
    }
    lazy_make_whole(L, -1);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        struct str name = {"", 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name = (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)};
        if (!header_name_is_valid(name))
            return refuse(r, "TypeError: Header name must be a valid HTTP token [\"%.*s\"]",
                          STR_ARG(name));
        if (!add_values(r, name, multi))
            return false;
    }
    lua_pop(L, 1);
    return true;
}

/* ---- body ---- */

static bool decode_body(struct result *r, struct str text)
{
    char *out = arena_alloc(&r->ex->arena, BASE64_DECODED_MAX(text.len));
    if (out == NULL)
        luaL_error(r->L, "out of memory");
    r->ex->res.body = (struct str){out, base64_decode_loosely(text, out)};
    return true;
}

static bool read_body(struct result *r)
{
    lua_State *L = r->L;
    name_push(L, NAME_IS_BASE64);
    r->found += lua_rawget(L, r->table) != LUA_TNIL;
    bool is_base64 = lua_toboolean(L, -1);
    name_push(L, NAME_BODY);
    int type = lua_rawget(L, r->table);
    r->found += type != LUA_TNIL;
    bool empty = type == LUA_TNIL || type == LUA_TLIGHTUSERDATA ||
                 (type == LUA_TBOOLEAN && !lua_toboolean(L, -1)) ||
                 (type == LUA_TNUMBER && lua_tonumber(L, -1) == 0);
    if (empty)
        return true;
    if (type == LUA_TFUNCTION && !is_base64) {
        r->ex->res.streamed = true;
        return true;
    }
    if (type != LUA_TSTRING)
        return refuse_value(r, "Your function response must have a string or a stream body",
                            lua_gettop(L));
    struct str text = {lua_tostring(L, -1), lua_rawlen(L, -1)};
    if (text.len > LIMIT_RESPONSE_BYTES)
        return refuse(r, "The response body has %zu bytes; %d are allowed", text.len,
                      LIMIT_RESPONSE_BYTES);
    vm_note_answer(vm_of(L), text.len);
    if (is_base64)
        return decode_body(r, text);
    r->ex->res.body = lx_vm_check(L, arena_copy(&r->ex->arena, text));
    return true;
}

/* Looks like JSON: begins and ends as an object or array does. Not parsed. */
static struct str guess_type(struct str body)
{
    size_t start = 0, end = body.len;
    while (start < end && strchr(" \t\r\n", body.ptr[start]) != NULL)
        start++;
    while (end > start && strchr(" \t\r\n", body.ptr[end - 1]) != NULL)
        end--;
    bool json = end - start >= 2 && ((body.ptr[start] == '{' && body.ptr[end - 1] == '}') ||
                                     (body.ptr[start] == '[' && body.ptr[end - 1] == ']'));
    return json ? STR("application/json") : STR("text/plain; charset=utf-8");
}

static void add_defaults(struct result *r)
{
    struct response *res = &r->ex->res;
    if (response_has_body(res->status) && headers_get(&res->headers, STR("content-type")) == NULL)
        lx_add_header(r, STR("Content-Type"), guess_type(res->body), false);
    if (headers_get(&res->headers, STR("x-content-type-options")) == NULL)
        lx_add_header(r, STR("X-Content-Type-Options"), STR("nosniff"), false);
}

static bool is_known(const char *name, const char *const *known)
{
    for (; *known != NULL; known++) {
        if (strcmp(name, *known) == 0)
            return true;
    }
    return false;
}

/* What nobody has read may be a member whose name was misspelt. A script always misspells alike, so
 * the first results of each generation tell. */
static bool check_members(struct result *r)
{
    struct instance *instance = vm_of(r->L)->instance;
    if (instance == NULL || instance->results_checked >= RESULTS_CHECKED)
        return true;
    instance->results_checked++;
    static const char *const known[] = {"statusCode",      "headers", "multiValueHeaders",
                                        "isBase64Encoded", "body",    NULL};
    lua_State *L = r->L;
    unsigned count = 0;
    for (lua_pushnil(L); lua_next(L, r->table) != 0; lua_pop(L, 1))
        count++;
    if (count == r->found)
        return true;
    for (lua_pushnil(L); lua_next(L, r->table) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        const char *near =
            name != NULL && !is_known(name, known) ? options_nearest(known, str_from(name)) : NULL;
        if (near != NULL)
            return refuse(r, "Unknown member `%s` of the function's response; did you mean `%s`?",
                          name, near);
    }
    return true;
}

static void read_table(struct result *r)
{
    if (read_status(r) && read_headers(r, NAME_HEADERS, false) &&
        read_headers(r, NAME_MULTI_VALUE_HEADERS, true) && !r->ex->res.upgraded && read_body(r) &&
        check_members(r))
        add_defaults(r);
}

void outcome_read_result(lua_State *L, int index, struct exchange *ex)
{
    struct result r = {L, lua_absindex(L, index), ex, 0, 0};
    ex->res.status = 200;
    ex->res.headers.len = 0;
    ex->res.body = (struct str){NULL, 0};
    ex->res.streamed = ex->res.upgraded = false;
    lazy_make_plain(L, r.table);
    switch (lua_type(L, r.table)) {
    case LUA_TNIL:
        refuse(&r, "lambda response was undefined. check your function code again");
        break;
    case LUA_TLIGHTUSERDATA:
        refuse(
            &r,
            "no lambda response. check your function code again. make sure to return a promise or use the callback.");
        break;
    case LUA_TSTRING:
        lua_createtable(L, 0, 2);
        lua_pushinteger(L, 200);
        lua_setfield(L, -2, "statusCode");
        lua_pushvalue(L, r.table);
        lua_setfield(L, -2, "body");
        r.table = lua_gettop(L);
        read_table(&r);
        break;
    case LUA_TTABLE:
        read_table(&r);
        break;
    default:
        refuse(&r, "Your function response must have a numerical statusCode. You gave: undefined");
    }
    lua_settop(L, r.table);
}

/* ---- a raised answer ---- */

struct raised {
    struct exchange *ex;
    bool is_answer;
};

/* (raised, value). */
static int l_take_raised(lua_State *L)
{
    struct raised *raised = lua_touserdata(L, 1);
    if (lua_type(L, 2) != LUA_TTABLE)
        return 0;
    lazy_make_plain(L, 2);
    lua_pushliteral(L, "body");
    bool streams = lua_rawget(L, 2) == LUA_TFUNCTION;
    lua_pushliteral(L, "statusCode");
    if (streams || lua_rawget(L, 2) != LUA_TNUMBER)
        return 0;
    outcome_read_result(L, 2, raised->ex);
    raised->is_answer = true;
    return 0;
}

bool outcome_take_raised(lua_State *L, lua_State *co, struct exchange *ex)
{
    struct raised raised = {.ex = ex};
    if (ex->state <= EXCHANGE_WORKING)
        outcome_call_with_raised(L, co, l_take_raised, &raised);
    return raised.is_answer;
}
