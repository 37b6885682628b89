/* fetch(url, options): outbound HTTP that waits without blocking the host.
 *
 * The response is copied out of the client's callback into the operation, and becomes Lua values
 * when the coroutine goes on. */
#include <lauxlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "bindings/bindings.h"
#include "bindings/fetch_options.h"
#include "bindings/fetch_stream.h"
#include "bindings/fetch_told.h"
#include "base/limits.h"
#include "client/client.h"
#include "run/await.h"
#include "lua/json_lazy.h"
#include "run/invocation.h"

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
    unsigned told;    /* the call, for who listens */
    bool streamed;    /* it is run again, and was a stream */
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

static void tell_answer(struct hook *hook, const struct fetch_op *f)
{
    struct header headers[LIMIT_FETCH_HEADER_COUNT];
    unsigned count = 0;
    const char *p = f->data.data + f->url_len;
    for (size_t i = 0; i < f->sizes.len / sizeof(struct sizes); i++) {
        struct sizes sizes;
        memcpy(&sizes, f->sizes.data + i * sizeof(sizes), sizeof(sizes));
        const struct header h = {{p, sizes.name}, {p + sizes.name, sizes.value}};
        p += sizes.name + sizes.value;
        if (count < LIMIT_FETCH_HEADER_COUNT)
            headers[count++] = h;
    }
    const struct str body = {f->stream == NULL ? p : NULL, f->body_len};
    fetch_told_answer(hook, f->told, f->status, (struct str){f->data.data, f->url_len}, headers,
                      count, body);
}

/* The answer of the record; of a stream there is the head. */
static void lx_read_answer(lua_State *L, struct hook *hook, struct fetch_op *f)
{
    const json_t *answer = lx_told_recorded(L, hook, f->told);
    const char *error = json_string_value(json_object_get(answer, "error"));
    const json_t *list = json_object_get(answer, "headers"), *pair;
    size_t i;
    f->error = error != NULL;
    if (error != NULL)
        snprintf(f->error_text, sizeof(f->error_text), "%s", error);
    f->status = (long)json_integer_value(json_object_get(answer, "status"));
    told_read_text(json_object_get(answer, "url"), &f->data);
    f->url_len = f->data.len;
    json_array_foreach(list, i, pair)
    {
        const json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);
        const struct sizes sizes = {json_string_length(name), json_string_length(value)};
        told_read_text(name, &f->data);
        told_read_text(value, &f->data);
        buf_add(&f->sizes, &sizes, sizeof(sizes));
    }
    size_t before = f->data.len;
    told_read_text(json_object_get(answer, "body"), &f->data);
    f->body_len = f->data.len - before;
    if (error != NULL || !f->streamed)
        return;
    f->stream = lx_fetch_stream_replayed(L);
    lua_setiuservalue(L, -2, 1);
}

static int finish(lua_State *L, struct op *op)
{
    struct fetch_op *f = container_of(op, struct fetch_op, op);
    struct hook *hook = told_hook(L);
    if (hook != NULL && hook_replays(hook))
        lx_read_answer(L, hook, f);
    bool lost = buf_failed(&f->data) || buf_failed(&f->sizes);
    if (f->error == 0 && lost)
        snprintf(f->error_text, sizeof(f->error_text), "out of memory");
    if (f->error != 0 || lost) {
        if (hook != NULL)
            fetch_told_error(hook, f->told, f->error_text);
        return luaL_error(L, "fetch: %s", f->error_text);
    }
    if (hook != NULL)
        tell_answer(hook, f);
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

/* ---- the call ---- */

static int l_fetch(lua_State *L)
{
    struct fetch_request request;
    lx_fetch_read(L, &request);
    struct client *client = vm_of(L)->services->client;
    struct fetch_op *f = (struct fetch_op *)await_op_new(L, &fetch_type, sizeof(*f));
    struct invocation *inv = invocation_of(L);
    if (inv != NULL && inv->fetching >= LIMIT_FETCH_PARALLEL)
        return luaL_error(L, "fetch: more than %d transfers at once in one request",
                          LIMIT_FETCH_PARALLEL);
    struct hook *hook = told_hook(L);
    if (hook != NULL)
        f->told = lx_fetch_told_begin(L, hook, &request.req, request.stream);
    if (hook != NULL && hook_replays(hook)) {
        f->streamed = request.stream;
        return await_recorded(L, &f->op, f->told);
    }
    if (request.stream) {
        f->stream = lx_fetch_stream_start(L, client, &request.req, on_done, f);
        lua_setiuservalue(L, -2, 1);
        return await(L, &f->op);
    }
    struct err err;
    if (client_start(client, &request.req, on_done, f, &f->call, &err) != 0) {
        f->call = NULL;
        if (hook != NULL)
            fetch_told_error(hook, f->told, err.text);
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
