/* fetch(url, options): outbound HTTP that waits without blocking the host.
 *
 * The response is copied out of the client's callback into the operation, and becomes Lua values
 * when the coroutine goes on. */
#include <lauxlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "bindings/bindings.h"
#include "bindings/fetch_stream.h"
#include "bindings/keys.h"
#include "http/headers.h"
#include "base/limits.h"
#include "client/client.h"
#include "run/await.h"
#include "lua/json_lazy.h"
#include "lua/lazy.h"
#include "run/invocation.h"

enum { HEADERS_MAX = 100 }; /* of a request */

struct fetch_op {
    struct op op;
    struct client_call *call;    /* NULL when it is over, or a stream's */
    struct fetch_stream *stream; /* NULL: the answer is gathered; kept alive by the user value */
    struct invocation *inv; /* whose transfers are counted; NULL when this one is not, any more */
    int error;
    char error_text[256];
    long status;
    struct buf data; /* owned: URL, then name and value of each header, then the body */
    size_t url_len, body_len;
    struct buf sizes; /* owned: struct sizes, one for each header */
};

struct sizes {
    size_t name, value;
};

/* ---- the end of the transfer ---- */

static void uncount(struct fetch_op *f)
{
    if (f->inv != NULL)
        f->inv->fetching--;
    f->inv = NULL;
}

static void cancel(struct op *op)
{
    struct fetch_op *f = container_of(op, struct fetch_op, op);
    uncount(f);
    if (f->call != NULL)
        client_cancel(f->call);
    if (f->stream != NULL)
        fetch_stream_close(f->stream);
    f->call = NULL;
}

static void dispose(struct op *op)
{
    struct fetch_op *f = container_of(op, struct fetch_op, op);
    buf_free(&f->data);
    buf_free(&f->sizes);
}

static void keep(struct fetch_op *f, const struct client_response *res)
{
    f->status = res->status;
    buf_add_str(&f->data, res->url);
    f->url_len = res->url.len;
    for (unsigned i = 0; i < res->header_count; i++) {
        const struct header *h = &res->headers[i];
        const struct sizes sizes = {h->name.len, h->value.len};
        buf_add_str(&f->data, h->name);
        buf_add_str(&f->data, h->value);
        buf_add(&f->sizes, &sizes, sizeof(sizes));
    }
    buf_add_str(&f->data, res->body);
    f->body_len = res->body.len;
}

static void on_done(void *arg, const struct client_response *res)
{
    struct fetch_op *f = arg;
    uncount(f);
    f->call = NULL;
    f->error = res->error;
    if (res->error == 0)
        keep(f, res);
    else
        snprintf(f->error_text, sizeof(f->error_text), "%s",
                 res->error_text != NULL ? res->error_text : "failed");
    await_op_complete(&f->op);
}

/* ---- the response object ---- */

static void lx_get_body(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getfield(L, 1, "stream") != LUA_TNIL)
        luaL_error(L, "fetch: the answer is a stream; read it with chunks()");
    lua_getfield(L, 1, "body");
}

static int l_text(lua_State *L)
{
    lx_get_body(L);
    return 1;
}

static int l_json(lua_State *L)
{
    lx_get_body(L);
    luaL_checkstring(L, -1);
    if (json_lazy_decode(L, -1) != 0)
        return lua_error(L);
    return 1;
}

static void push_methods(lua_State *L)
{
    if (!luaL_newmetatable(L, "luafn.response"))
        return;
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, l_fetch_chunks);
    lua_setfield(L, -2, "chunks");
    lua_pushcfunction(L, l_text);
    lua_setfield(L, -2, "text");
    lua_pushcfunction(L, l_json);
    lua_setfield(L, -2, "json");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* Names are lower case; a repeated one is joined with ", ", but set-cookie becomes a list when
 * repeated. */
static void add_header(lua_State *L, struct str name, struct str value)
{
    lua_pushlstring(L, name.ptr, name.len);
    lua_pushvalue(L, -1);
    int type = lua_rawget(L, -3); /* stack: headers, name, before */
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushlstring(L, value.ptr, value.len);
    } else if (!str_eq(name, STR("set-cookie"))) {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value.ptr, value.len);
        lua_concat(L, 3);
    } else {
        if (type == LUA_TSTRING) {
            lua_createtable(L, 2, 0);
            lua_insert(L, -2);
            lua_rawseti(L, -2, 1);
        }
        lua_pushlstring(L, value.ptr, value.len);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    lua_rawset(L, -3);
}

/* The op is at index `op_index`. */
static void push_body(lua_State *L, struct fetch_op *f, const char *bytes, int op_index)
{
    if (f->stream == NULL) {
        lua_pushlstring(L, bytes, f->body_len);
        lua_setfield(L, -2, "body");
    } else {
        lua_getiuservalue(L, op_index, 1);
        lua_setfield(L, -2, "stream");
    }
}

static int finish(lua_State *L, struct op *op)
{
    struct fetch_op *f = container_of(op, struct fetch_op, op);
    bool lost = buf_failed(&f->data) || buf_failed(&f->sizes);
    if (f->error == 0 && lost)
        snprintf(f->error_text, sizeof(f->error_text), "out of memory");
    if (f->error != 0 || lost)
        return luaL_error(L, "fetch: %s", f->error_text);
    const char *p = f->data.data;
    int op_index = lua_gettop(L);
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, f->status);
    lua_setfield(L, -2, "status");
    lua_pushboolean(L, f->status >= 200 && f->status < 300);
    lua_setfield(L, -2, "ok");
    lua_pushlstring(L, p, f->url_len);
    lua_setfield(L, -2, "url");
    p += f->url_len;
    size_t count = f->sizes.len / sizeof(struct sizes);
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        struct sizes sizes;
        memcpy(&sizes, f->sizes.data + i * sizeof(sizes), sizeof(sizes));
        struct str name = {p, sizes.name};
        struct str value = {p + name.len, sizes.value};
        add_header(L, name, value);
        p = value.ptr + value.len;
    }
    lua_setfield(L, -2, "headers");
    push_body(L, f, p, op_index);
    push_methods(L);
    lua_setmetatable(L, -2);
    dispose(&f->op);
    return 1;
}

static const struct op_type fetch_type = {
    .name = "fetch", .cancel = cancel, .finish = finish, .dispose = dispose};

/* ---- the request ---- */

static struct str check_text(lua_State *L, int index, const char *what)
{
    struct str s;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "fetch: %s must be a text, not a %s", what, luaL_typename(L, index));
    s.ptr = lua_tolstring(L, index, &s.len);
    return s;
}

/* options.headers: name = "value" (or a number). Values stay on the stack, which keeps them alive.
 */
static unsigned read_headers(lua_State *L, struct header *out)
{
    unsigned count = 0;
    if (lua_getfield(L, 2, "headers") == LUA_TNIL)
        return 0;
    if (!lua_istable(L, -1))
        luaL_error(L, "fetch: headers must be a table");
    int table = lua_gettop(L);
    luaL_checkstack(L, HEADERS_MAX * 2 + 8, "fetch");
    lazy_make_whole(L, table);
    for (lua_pushnil(L); lua_next(L, table) != 0;) { /* stack: ..., name, value */
        if (count == HEADERS_MAX - 2)
            luaL_error(L, "fetch: more than %d headers", HEADERS_MAX - 2);
        struct str name = check_text(L, -2, "a header's name");
        if (lua_type(L, -1) == LUA_TNUMBER)
            luaL_tolstring(L, -1, NULL), lua_replace(L, -2);
        struct str value = check_text(L, -1, "a header's value");
        if (!header_name_is_valid(name) || !header_value_is_valid(value))
            luaL_error(L, "fetch: the header '%s' cannot be sent", name.ptr);
        out[count++] = (struct header){name, value};
        lua_pushvalue(L, -2); /* the name again, for lua_next; the pair stays below */
    }
    return count;
}

static double read_timeout(lua_State *L)
{
    double timeout = LIMIT_FETCH_TIMEOUT;
    if (lua_getfield(L, 2, "timeout") != LUA_TNIL) {
        timeout = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || !(timeout > 0 && timeout <= 3600))
            luaL_error(L, "fetch: timeout must be a number of seconds between 0 and 3600");
    }
    lua_pop(L, 1);
    return timeout;
}

/* "follow" (the default), "manual" or "error", as in the Fetch standard. */
static void read_redirect(lua_State *L, struct client_request *req)
{
    static const char *const modes[] = {"follow", "manual", "error"};
    int type = lua_getfield(L, 2, "redirect");
    const char *mode = type == LUA_TNIL ? "follow" : type == LUA_TSTRING ? lua_tostring(L, -1) : "";
    unsigned i = 0;
    while (i < 3 && strcmp(mode, modes[i]) != 0)
        i++;
    if (i == 3)
        luaL_error(L, "fetch: redirect must be \"follow\", \"manual\" or \"error\", not %s",
                   type == LUA_TSTRING ? lua_pushfstring(L, "\"%s\"", mode)
                                       : luaL_tolstring(L, -1, NULL));
    req->max_redirects = i == 0 ? LIMIT_FETCH_REDIRECTS : 0;
    req->no_redirect = i == 2;
    lua_pop(L, 1);
}

static bool read_options(lua_State *L, struct client_request *req)
{
    static const char *const known[] = {"method", "headers",  "body", "timeout",
                                        "stream", "redirect", NULL};
    lx_keys_check(L, 2, known, "fetch");
    if (lua_getfield(L, 2, "method") != LUA_TNIL)
        req->method = check_text(L, -1, "method");
    if (lua_getfield(L, 2, "body") != LUA_TNIL)
        req->body = check_text(L, -1, "body");
    req->timeout = read_timeout(L);
    read_redirect(L, req);
    int type = lua_getfield(L, 2, "stream");
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luaL_error(L, "fetch: stream must be true or false, not a %s", lua_typename(L, type));
    bool stream = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return stream;
}

static struct client_rules rules_of(const struct vm *vm)
{
    struct client_rules rules = {.any_public = true, .allow_loopback = vm->services->dev};
    if (vm->spec != NULL) {
        rules.hosts = vm->spec->fetch_hosts;
        rules.host_count = vm->spec->fetch_host_count;
        rules.any_public = !vm->spec->fetch_declared;
    }
    return rules;
}

/* The trace goes on in the request that this one makes. */
static void add_trace(lua_State *L, struct client_request *req, struct header *headers)
{
    struct invocation *inv = invocation_of(L);
    if (inv != NULL && inv->ex->traceparent.len > 0)
        headers[req->header_count++] = (struct header){STR("traceparent"), inv->ex->traceparent};
}

static int l_fetch(lua_State *L)
{
    struct client_request req = {.max_bytes = LIMIT_FETCH_RESPONSE_BYTES,
                                 .timeout = LIMIT_FETCH_TIMEOUT,
                                 .max_redirects = LIMIT_FETCH_REDIRECTS};
    struct header headers[HEADERS_MAX];
    req.url.ptr = luaL_checklstring(L, 1, &req.url.len);
    lua_settop(L, 2);
    req.headers = headers;
    bool stream = false;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        stream = read_options(L, &req);
        req.header_count = read_headers(L, headers);
    }
    add_trace(L, &req, headers);
    struct vm *vm = vm_of(L);
    if (vm->services == NULL || vm->services->client == NULL)
        return luaL_error(L, "fetch cannot wait here");
    req.rules = rules_of(vm);
    struct fetch_op *f = (struct fetch_op *)await_op_new(L, &fetch_type, sizeof(*f));
    struct invocation *inv = invocation_of(L);
    if (inv != NULL && inv->fetching >= LIMIT_FETCH_PARALLEL)
        return luaL_error(L, "fetch: more than %d transfers at once in one request",
                          LIMIT_FETCH_PARALLEL);
    if (stream) {
        f->stream = lx_fetch_stream_start(L, vm->services->client, &req, on_done, f);
        lua_setiuservalue(L, -2, 1);
        return await(L, &f->op);
    }
    struct err err;
    if (client_start(vm->services->client, &req, on_done, f, &f->call, &err) != 0) {
        f->call = NULL;
        return luaL_error(L, "fetch: %s", err.text);
    }
    f->inv = inv;
    if (inv != NULL)
        inv->fetching++;
    return await(L, &f->op);
}

int open_fetch(lua_State *L)
{
    lua_pushcfunction(L, l_fetch);
    return 1;
}
