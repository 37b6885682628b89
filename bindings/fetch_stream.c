/* Streamed answers of fetch: what the client has read is taken when the script asks for it, and the
 * peer waits meanwhile. */
#include "bindings/fetch_stream.h"

#include <lauxlib.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "bindings/fetch_told.h"
#include "run/await.h"
#include "run/invocation.h"

static const char METATABLE[] = "luafn.fetch_stream";

struct fetch_stream {
    struct invocation_ending ending; /* in the invocation's list while the call runs */
    struct invocation *inv;          /* whose transfers are counted; NULL when the call is over */
    struct client_call *call;        /* NULL when it is over */
    void (*on_head)(void *arg, const struct client_response *res); /* NULL once called */
    void *arg;
    struct read_op *reader; /* borrowed: waits for a piece; NULL: nobody */
    struct buf rest;        /* owned: what was not taken when the call ended */
    bool closed;            /* by the script, before its end */
    bool replayed;
    int error;
    char error_text[256];
};

struct read_op {
    struct op op;
    struct fetch_stream *stream; /* kept alive by the function that waits */
};

/* ---- the client's side ---- */

static void wake(struct fetch_stream *s)
{
    struct read_op *reader = s->reader;
    s->reader = NULL;
    if (reader != NULL)
        await_op_complete(&reader->op);
}

static void tell_head(struct fetch_stream *s, const struct client_response *res)
{
    void (*on_head)(void *, const struct client_response *) = s->on_head;
    s->on_head = NULL;
    on_head(s->arg, res);
}

static void on_stream(void *arg)
{
    struct fetch_stream *s = arg;
    struct client_response res;
    if (s->on_head == NULL)
        wake(s);
    else if (client_stream_head(s->call, &res))
        tell_head(s, &res);
}

/* The call is over. */
static void leave(struct fetch_stream *s)
{
    s->call = NULL;
    list_remove(&s->ending.node);
    if (s->inv != NULL)
        s->inv->fetching--;
    s->inv = NULL;
}

static void on_done(void *arg, const struct client_response *res)
{
    struct fetch_stream *s = arg;
    leave(s);
    if (s->on_head != NULL) {
        tell_head(s, res);
        return;
    }
    s->error = res->error;
    snprintf(s->error_text, sizeof(s->error_text), "%s",
             res->error_text != NULL ? res->error_text : "failed");
    buf_add_str(&s->rest, res->body);
    wake(s);
}

void fetch_stream_close(struct fetch_stream *s)
{
    if (s->call != NULL)
        client_cancel(s->call);
    leave(s);
    s->on_head = NULL;
    s->closed = true;
    buf_free(&s->rest);
}

static void on_invocation_end(struct invocation_ending *ending)
{
    fetch_stream_close(container_of(ending, struct fetch_stream, ending));
}

/* ---- reading ---- */

static void cancel_read(struct op *op)
{
    container_of(op, struct read_op, op)->stream->reader = NULL;
}

/* A piece; ptr NULL: the end, or that error. */
static void lx_tell_piece(lua_State *L, struct hook *hook, struct str bytes, const char *error)
{
    if (bytes.ptr != NULL || error == NULL) {
        lx_told_text(L, hook, "fetch.chunk", bytes, STR("null"));
        return;
    }
    hook_text(hook);
    fetch_told_error(hook, lx_told_begin(L, hook, "fetch.chunk"), error);
}

static int lx_push_recorded(lua_State *L, struct hook *hook)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, "fetch.chunk");
    const json_t *answer = lx_told_recorded(L, hook, call);
    const json_t *error = json_object_get(answer, "error");
    struct buf *text = hook_text(hook);
    bool is_text = told_read_text(answer, text);
    hook->type->end(hook, call, STR(""));
    if (error != NULL)
        return luaL_error(L, "fetch: %s", json_string_value(error));
    if (is_text)
        lua_pushlstring(L, text->data != NULL ? text->data : "", text->len);
    else
        lua_pushnil(L);
    return 1;
}

/* The next piece, or nil at the end; false when there is none yet. */
static bool lx_push_piece(lua_State *L, struct fetch_stream *s)
{
    struct str bytes = s->call != NULL ? client_stream_bytes(s->call) : buf_str(&s->rest);
    struct hook *hook = told_hook(L);
    if (bytes.len > 0) {
        if (hook != NULL)
            lx_tell_piece(L, hook, bytes, NULL);
        lua_pushlstring(L, bytes.ptr, bytes.len);
        if (s->call != NULL)
            client_stream_take(s->call);
        else
            buf_free(&s->rest);
        return true;
    }
    if (s->call != NULL)
        return false;
    const char *error = s->closed              ? "the stream is closed"
                        : s->error != 0        ? s->error_text
                        : buf_failed(&s->rest) ? "out of memory"
                                               : NULL;
    if (hook != NULL)
        lx_tell_piece(L, hook, (struct str){NULL, 0}, error);
    if (error != NULL)
        luaL_error(L, "fetch: %s", error);
    lua_pushnil(L);
    return true;
}

static int finish_read(lua_State *L, struct op *op)
{
    struct fetch_stream *s = container_of(op, struct read_op, op)->stream;
    if (!lx_push_piece(L, s))
        lua_pushliteral(L, ""); /* not reached: it was woken for a piece or the end */
    return 1;
}

static const struct op_type read_type = {
    .name = "fetch", .cancel = cancel_read, .finish = finish_read};

static int l_next(lua_State *L)
{
    struct fetch_stream *s = luaL_checkudata(L, lua_upvalueindex(1), METATABLE);
    if (s->reader != NULL)
        return luaL_error(L, "fetch: the stream is being read already");
    if (s->replayed && told_hook(L) != NULL)
        return lx_push_recorded(L, told_hook(L));
    if (lx_push_piece(L, s))
        return 1;
    struct read_op *r = (struct read_op *)await_op_new(L, &read_type, sizeof(*r));
    r->stream = s;
    s->reader = r;
    return await(L, &r->op);
}

int l_fetch_chunks(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "stream");
    if (luaL_testudata(L, 2, METATABLE) == NULL)
        return luaL_error(L, "chunks: the answer is no stream; ask for one with { stream = true }");
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, l_next, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, 2); /* a loop that is left early closes it */
    return 4;
}

/* ---- the userdata ---- */

static int l_close(lua_State *L)
{
    struct fetch_stream *s = luaL_checkudata(L, 1, METATABLE);
    if (s->reader != NULL)
        return luaL_error(L, "fetch: the stream is being read");
    if (s->call != NULL)
        fetch_stream_close(s);
    return 0;
}

static int l_gc(lua_State *L)
{
    fetch_stream_close(luaL_checkudata(L, 1, METATABLE));
    return 0;
}

static void push_metatable(lua_State *L)
{
    static const luaL_Reg methods[] = {{"__close", l_close}, {"__gc", l_gc}, {NULL, NULL}};
    if (luaL_newmetatable(L, METATABLE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
}

struct fetch_stream *
lx_fetch_stream_start(lua_State *L, struct client *client, struct client_request *req,
                      void (*on_head)(void *arg, const struct client_response *res), void *arg)
{
    struct invocation *inv = invocation_of(L);
    if (inv == NULL)
        luaL_error(L, "fetch: a stream can only be had while a request is handled");
    struct fetch_stream *s = lua_newuserdatauv(L, sizeof(*s), 0);
    *s = (struct fetch_stream){.on_head = on_head, .arg = arg, .rest = BUF_INIT};
    list_init(&s->ending.node);
    s->ending.end = on_invocation_end;
    push_metatable(L);
    lua_setmetatable(L, -2);
    struct err err;
    req->on_stream = on_stream;
    if (client_start(client, req, on_done, s, &s->call, &err) != 0) {
        s->call = NULL;
        luaL_error(L, "fetch: %s", err.text);
    }
    invocation_on_end(inv, &s->ending);
    s->inv = inv;
    inv->fetching++;
    return s;
}

struct fetch_stream *lx_fetch_stream_replayed(lua_State *L)
{
    struct fetch_stream *s = lua_newuserdatauv(L, sizeof(*s), 0);
    *s = (struct fetch_stream){.rest = BUF_INIT, .replayed = true};
    list_init(&s->ending.node);
    push_metatable(L);
    lua_setmetatable(L, -2);
    return s;
}
