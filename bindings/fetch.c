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

/* A body that a function gives, piece by piece. */
struct upload {
    struct str piece; /* the one that is sent; its text lies on the stack of who waits for that */
    size_t used;      /* of it */
    bool ended;       /* it was the last */
    bool replayed;    /* none is sent: the answer is a recorded one */
    uint64_t left;    /* bytes that `length` says there are still; CLIENT_BODY_UNSIZED: not said */
    struct op *waiting; /* borrowed: for the piece to be sent; NULL: nobody */
};

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
    struct upload upload;
    unsigned told; /* the call, for who listens */
    bool streamed; /* it is run again, and was a stream */
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
    struct op *waiting = f->upload.waiting;
    f->upload.waiting = NULL;
    await_op_complete(&f->op);
    if (waiting != NULL)
        await_op_complete(waiting); /* there is an answer: the rest of the body is not wanted */
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
    .name = "fetch", .cancel = cancel, .finish = finish, .dispose = dispose, .holds = 1};

/* ---- the call ---- */

static int start(lua_State *L, struct fetch_op *f, const struct client_request *req)
{
    struct invocation *inv = invocation_of(L);
    struct err err;
    if (client_start(vm_of(L)->services->client, req, on_done, f, &f->call, &err) != 0) {
        f->call = NULL;
        if (told_hook(L) != NULL)
            fetch_told_error(told_hook(L), f->told, err.text);
        return luaL_error(L, "fetch: %s", err.text);
    }
    f->inv = inv;
    if (inv != NULL)
        inv->fetching++;
    return 0;
}

/* ---- a body in pieces ---- */

static void drop_piece(struct upload *up)
{
    up->piece = (struct str){NULL, 0};
    up->used = 0;
}

/* For the client, which must not be called back. */
static long read_piece(void *arg, char *out, size_t size)
{
    struct fetch_op *f = arg;
    struct upload *up = &f->upload;
    struct str rest = str_skip(up->piece, up->used);
    if (rest.len == 0)
        return up->ended ? CLIENT_BODY_END : 0;
    if (rest.len > size)
        rest.len = size;
    memcpy(out, rest.ptr, rest.len);
    up->used += rest.len;
    if (up->used == up->piece.len && up->waiting != NULL) {
        struct op *waiting = up->waiting;
        up->waiting = NULL;
        await_op_complete_later(waiting);
    }
    return (long)rest.len;
}

struct piece_op {
    struct op op;
    struct fetch_op *fetch; /* on the stack of who waits */
};

static void cancel_piece(struct op *op)
{
    container_of(op, struct piece_op, op)->fetch->upload.waiting = NULL;
}

static int finish_piece(lua_State *L, struct op *op)
{
    (void)L;
    (void)op;
    return 0;
}

static const struct op_type piece_type = {
    .name = "fetch", .cancel = cancel_piece, .finish = finish_piece};

/* (operation, piece): until it is sent, or the call is over. */
static int l_send_piece(lua_State *L)
{
    struct fetch_op *f = lua_touserdata(L, 1);
    struct upload *up = &f->upload;
    up->used = 0;
    up->piece.ptr = lua_tolstring(L, 2, &up->piece.len);
    if (f->call == NULL)
        return 0;
    client_body_ready(f->call);
    if (f->call == NULL || up->used == up->piece.len)
        return 0;
    struct piece_op *p = (struct piece_op *)await_op_new(L, &piece_type, sizeof(*p));
    p->fetch = f;
    up->waiting = &p->op;
    return await(L, &p->op);
}

/* The function that gives the body has raised, or its task ends: nothing of it is used any more. */
static int l_leave(lua_State *L)
{
    struct fetch_op *f = *(struct fetch_op **)lua_touserdata(L, 1);
    drop_piece(&f->upload);
    await_op_cancel(&f->op);
    return 0;
}

static void push_guard(lua_State *L, struct fetch_op *f)
{
    struct fetch_op **guard = lua_newuserdatauv(L, sizeof(struct fetch_op *), 0);
    *guard = f;
    if (luaL_newmetatable(L, "luafn.fetch_body")) {
        lua_pushcfunction(L, l_leave);
        lua_setfield(L, -2, "__close");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
}

/* The piece on top of the stack is as it should be. False: there are no more. */
static bool lx_check_piece(lua_State *L, struct upload *up)
{
    size_t len = lua_rawlen(L, -1);
    if (lua_isnil(L, -1)) {
        if (up->left != CLIENT_BODY_UNSIZED && up->left > 0)
            luaL_error(L, "fetch: the body ends %d bytes before its length", (int)up->left);
        return false;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "fetch: the body's function must give texts, and nil at the end, not a %s",
                   luaL_typename(L, -1));
    if (up->left != CLIENT_BODY_UNSIZED && len > up->left)
        luaL_error(L, "fetch: the body is longer than its length");
    if (up->left != CLIENT_BODY_UNSIZED)
        up->left -= len;
    return true;
}

enum { AT_OP = 1, AT_SOURCE = 2, AT_GUARD = 3 };
enum step { STEP_ASK, STEP_ASKED, STEP_SENT };

/* Asks for pieces and sends them until there are no more or there is an answer; then waits for it.
 */
static int pump(lua_State *L, int status, lua_KContext step)
{
    (void)status;
    struct fetch_op *f = lua_touserdata(L, AT_OP);
    while ((f->call != NULL || f->upload.replayed) && !f->upload.ended) {
        if (step == STEP_ASKED && lx_check_piece(L, &f->upload)) {
            lua_pushcfunction(L, l_send_piece);
            lua_pushvalue(L, AT_OP);
            lua_pushvalue(L, -3);
            lua_callk(L, 2, 0, STEP_SENT, pump);
            step = STEP_SENT;
        } else if (step == STEP_ASKED) {
            f->upload.ended = true;
            if (f->call != NULL)
                client_body_ready(f->call);
        } else {
            drop_piece(&f->upload);
            lua_settop(L, AT_GUARD);
            lua_pushvalue(L, AT_SOURCE);
            lua_callk(L, 0, 1, STEP_ASKED, pump);
            step = STEP_ASKED;
        }
    }
    drop_piece(&f->upload);
    lua_settop(L, AT_GUARD);
    lua_pushvalue(L, AT_OP);
    return f->upload.replayed ? await_recorded(L, &f->op, f->told) : await(L, &f->op);
}

static int send_pieces(lua_State *L, struct fetch_op *f, struct client_request *req)
{
    f->upload.left = req->body_size;
    req->read_body = read_piece;
    req->body_arg = f;
    if (!f->upload.replayed)
        start(L, f, req);
    lua_replace(L, AT_OP);
    lua_getfield(L, 2, "body");
    lua_replace(L, AT_SOURCE);
    lua_settop(L, AT_SOURCE);
    push_guard(L, f);
    return pump(L, LUA_OK, STEP_ASK);
}

/* ---- the same in a test, whose answer sees a body that is a text ---- */

static int l_fetch(lua_State *L);

enum { AT_URL = 1, AT_OPTIONS = 2, AT_BODY = 3, AT_TEXT = 4 };

static void push_options_with_text(lua_State *L)
{
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, AT_OPTIONS) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_pushnil(L);
    lua_setfield(L, -2, "length");
    if (lua_getfield(L, -1, "method") == LUA_TNIL) {
        lua_pushliteral(L, "POST");
        lua_setfield(L, -3, "method");
    }
    lua_pop(L, 1);
    lua_pushvalue(L, AT_TEXT);
    lua_setfield(L, -2, "body");
}

static int gather(lua_State *L, int status, lua_KContext step)
{
    struct upload up = {.left = CLIENT_BODY_UNSIZED};
    (void)status;
    for (;;) {
        if (step == STEP_SENT)
            return 1;
        if (step == STEP_ASKED && lx_check_piece(L, &up)) {
            lua_concat(L, 2);
            step = STEP_ASK;
        } else if (step == STEP_ASKED) {
            lua_settop(L, AT_TEXT);
            lua_pushcfunction(L, l_fetch);
            lua_pushvalue(L, AT_URL);
            push_options_with_text(L);
            lua_callk(L, 2, 1, STEP_SENT, gather);
            step = STEP_SENT;
        } else {
            lua_pushvalue(L, AT_BODY);
            lua_callk(L, 0, 1, STEP_ASKED, gather);
            step = STEP_ASKED;
        }
    }
}

/* ---- the whole ---- */

static int l_fetch(lua_State *L)
{
    struct fetch_request request;
    lx_fetch_read(L, &request);
    const struct client *client = vm_of(L)->services->client;
    if (request.pieces && client != NULL && client_is_faked(client)) {
        lua_settop(L, AT_OPTIONS);
        lua_getfield(L, AT_OPTIONS, "body");
        lua_pushliteral(L, "");
        return gather(L, LUA_OK, STEP_ASK);
    }
    struct fetch_op *f = (struct fetch_op *)await_op_new(L, &fetch_type, sizeof(*f));
    struct invocation *inv = invocation_of(L);
    if (inv != NULL && inv->fetching >= LIMIT_FETCH_PARALLEL)
        return luaL_error(L, "fetch: more than %d transfers at once in one request",
                          LIMIT_FETCH_PARALLEL);
    struct hook *hook = told_hook(L);
    if (hook != NULL)
        f->told = lx_fetch_told_begin(L, hook, &request);
    f->upload.replayed = hook != NULL && hook_replays(hook);
    if (request.pieces)
        return send_pieces(L, f, &request.req);
    if (f->upload.replayed) {
        f->streamed = request.stream;
        return await_recorded(L, &f->op, f->told);
    }
    if (request.stream) {
        f->stream = lx_fetch_stream_start(L, vm_of(L)->services->client, &request.req, on_done, f);
        lua_setiuservalue(L, -2, 1);
        return await(L, &f->op);
    }
    start(L, f, &request.req);
    return await(L, &f->op);
}

int open_fetch(lua_State *L)
{
    lua_pushcfunction(L, l_fetch);
    return 1;
}
