/* A WebSocket of a handler: messages in, messages out, and the clock of the connection. */
#include "run/websocket.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "auth/claims.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/websocket.h"
#include "lua/lazy.h"
#include "options/options.h"
#include "run/await.h"
#include "run/event.h"
#include "run/invocation.h"
#include "run/stream.h"

static const char METATABLE[] = "luafn.websocket";

struct message {
    struct list node;
    bool binary;
    size_t len;
    char bytes[];
};

struct websocket {
    struct invocation *inv;
    struct websocket_reader reader;
    struct list messages; /* struct message, that nobody has taken */
    size_t waiting;       /* bytes in them */
    size_t charged;       /* to the function's memory */
    uint64_t due_ns;      /* monotonic: when its clock ticks */
    double expires;       /* of the token, seconds since 1970; NaN: never */
    bool light;           /* the request's memory is gone, */
    bool lightens;        /* or may go at the next tick */
    bool heard;           /* since the last tick */
    bool pinged;          /* and nothing has come since */
    bool closed;          /* our close was sent, or nobody is there: nothing more is sent */
    bool over;            /* nothing more comes */
    bool working;         /* the script has taken a message, and has not asked for the next */
    bool reading;         /* read_on is at work */
    bool pong_due;
    uint8_t pong_len;
    uint16_t code;         /* to close with when what has come is answered; 0: none */
    uint32_t protocol_len; /* 0: none was chosen */
    char *pong;            /* owned: of the last ping, while its pong is due */
    char protocol[];
};

/* What a script holds. It may outlive the websocket, whose number then is nobody's. */
struct handle {
    lua_Integer stream;
};

/* ---- frames of our own ---- */

/* Frames are put together here: one at a time, in one thread. */
static struct buf scratch;

static size_t send_scratch(struct websocket *ws)
{
    size_t unsent = 0;
    if (buf_failed(&scratch))
        exchange_stream_abort(ws->inv->ex);
    else
        unsent = exchange_stream_write(ws->inv->ex, buf_str(&scratch));
    if (scratch.cap > LIMIT_STREAM_BYTES || buf_failed(&scratch))
        buf_free(&scratch);
    buf_clear(&scratch);
    return unsent;
}

static void say_close(struct websocket *ws, unsigned code, struct str reason)
{
    if (ws->closed)
        return;
    ws->closed = true;
    websocket_put_close(&scratch, code, reason);
    send_scratch(ws);
}

/* Who does not read its pongs gets the last one alone (RFC 6455 section 5.5.3). */
static void say_pong(struct websocket *ws)
{
    if (!ws->pong_due || ws->closed ||
        exchange_stream_write(ws->inv->ex, STR("")) > LIMIT_STREAM_BYTES)
        return;
    ws->pong_due = false;
    websocket_put(&scratch, WEBSOCKET_PONG, (struct str){ws->pong, ws->pong_len});
    free(ws->pong);
    ws->pong = NULL;
    send_scratch(ws);
}

/* ---- what comes ---- */

/* Counts what is held to the function's memory. False: it has no room for that. */
static bool charge(struct websocket *ws)
{
    size_t now = ws->waiting + ws->reader.message.cap;
    bool may = vm_charge(ws->inv->instance->vm, ws->charged, now);
    if (may)
        ws->charged = now;
    return may;
}

static void end_reading(struct websocket *ws)
{
    ws->over = true;
    invocation_leave(ws->inv);
    if (ws->inv->ex->conn != NULL)
        exchange_stop_reading(ws->inv->ex);
    websocket_reader_free(&ws->reader);
    (void)charge(ws);
}

static void close_with(struct websocket *ws, unsigned code, struct str reason)
{
    say_close(ws, code, reason);
    end_reading(ws);
}

static void drop_messages(struct websocket *ws)
{
    list_each(node, &ws->messages) free(container_of(node, struct message, node));
    list_init(&ws->messages);
    ws->waiting = 0;
}

static bool keep_message(struct websocket *ws)
{
    struct str bytes = buf_str(&ws->reader.message);
    struct message *message = malloc(sizeof(*message) + bytes.len);
    if (message == NULL)
        return false;
    message->binary = ws->reader.kind == WEBSOCKET_BINARY;
    message->len = bytes.len;
    if (bytes.len > 0)
        memcpy(message->bytes, bytes.ptr, bytes.len);
    list_push(&ws->messages, &message->node);
    ws->waiting += sizeof(*message) + bytes.len;
    if (ws->reader.message.cap > LIMIT_STREAM_BYTES)
        buf_free(&ws->reader.message);
    return true;
}

static void arm(struct websocket *ws);

/* Nothing more comes; what has come may be answered before we say good-bye. */
static void fail(struct websocket *ws, unsigned code)
{
    end_reading(ws);
    if (list_is_empty(&ws->messages) && !ws->working) {
        say_close(ws, code, (struct str){NULL, 0});
        return;
    }
    ws->code = (uint16_t)code;
    arm(ws);
}

static void say_what_is_due(struct websocket *ws)
{
    if (ws->code != 0)
        say_close(ws, ws->code, (struct str){NULL, 0});
}

static void take_control(struct websocket *ws)
{
    struct websocket_reader *reader = &ws->reader;
    if (reader->control_kind == WEBSOCKET_CLOSE) {
        fail(ws, reader->code);
    } else if (reader->control_kind == WEBSOCKET_PING) {
        free(ws->pong);
        ws->pong = reader->control;
        ws->pong_len = reader->control_len;
        ws->pong_due = true;
        reader->control = NULL;
        reader->control_len = 0;
        say_pong(ws);
    }
}

static void take_bytes(struct websocket *ws, struct str bytes)
{
    ws->heard = true;
    ws->pinged = false;
    while (!ws->over) {
        enum websocket_event event = websocket_feed(&ws->reader, &bytes);
        if (event == WEBSOCKET_FAULT)
            fail(ws, ws->reader.code);
        else if (event == WEBSOCKET_CONTROL)
            take_control(ws);
        else if (event == WEBSOCKET_MESSAGE && !keep_message(ws))
            fail(ws, WEBSOCKET_LATER);
        if (!ws->over && !charge(ws))
            fail(ws, WEBSOCKET_LATER);
        if (event == WEBSOCKET_MORE)
            return;
    }
}

static void wake(struct invocation *inv)
{
    struct op *op = inv->reader;
    inv->reader = NULL;
    if (op != NULL)
        await_op_complete(op);
}

static void on_body(struct exchange *ex);

/* Reads on while little waits for the script. */
static void read_on(struct websocket *ws)
{
    struct exchange *ex = ws->inv->ex;
    if (ws->reading)
        return;
    ws->reading = true;
    while (!ws->over && ex->conn != NULL && ex->on_body == NULL && ws->waiting < LIMIT_STREAM_BYTES)
        exchange_read_piece(ex, on_body); /* what is there already comes from within */
    ws->reading = false;
}

static void take_pieces(struct websocket *ws)
{
    struct exchange *ex = ws->inv->ex;
    struct str piece = exchange_piece(ex);
    if (piece.len > 0) {
        take_bytes(ws, piece);
        exchange_take_piece(ex, piece.len);
    } else {
        ws->closed = true; /* without a word: 1006 */
        end_reading(ws);
    }
}

/* May end the invocation: the last thing that is done. */
static void on_body(struct exchange *ex)
{
    struct invocation *inv = ex->owner;
    struct websocket *ws = inv->websocket;
    take_pieces(ws);
    if (ws->reading)
        return;
    read_on(ws);
    if (ws->over || !list_is_empty(&ws->messages))
        wake(inv);
}

/* ---- the request, whose memory is not kept for as long as the connection ---- */

/* Not while something asks in its name, and in `dev` tools may want to show it. */
static bool may_lighten(const struct invocation *inv)
{
    const struct call *call = inv->call;
    return inv->slot == NULL && inv->fetching == 0 && !inv->function->services->dev &&
           call->job == NULL && call->tool == NULL;
}

/* Of the call its claims stay, which the end gives back, and their token. */
struct kept {
    struct call call;
    char token[];
};

static struct call *keep_call(struct kept *kept, const struct call *call)
{
    static struct call nothing; /* of a call without claims nobody asks anything any more */
    if (call->claims == NULL)
        return &nothing;
    if (call->token.len > 0)
        memcpy(kept->token, call->token.ptr, call->token.len);
    kept->call = (struct call){.function = call->function,
                               .ex = call->ex,
                               .claims = call->claims,
                               .token = {kept->token, call->token.len}};
    list_init(&kept->call.waiting);
    return &kept->call;
}

static void lighten(struct invocation *inv)
{
    const struct call *call = inv->call;
    size_t own = call->claims != NULL ? sizeof(struct kept) + call->token.len : 0;
    struct arena before;
    struct kept *kept =
        may_lighten(inv) && !inv->websocket->light ? exchange_lighten(inv->ex, own, &before) : NULL;
    if (kept == NULL)
        return;
    inv->call = keep_call(kept, call);
    inv->websocket->light = true;
    arena_free(&before);
}

/* The answer's head is out, and nothing waits behind it. */
static void on_head_sent(struct exchange *ex)
{
    lighten(ex->owner);
}

/* ---- the clock ---- */

static void set_clock(struct websocket *ws, double seconds)
{
    ws->due_ns = clock_monotonic_ns() + (uint64_t)(seconds * 1e9);
    ws->inv->clock_ns = ws->lightens ? 0 : ws->due_ns;
    invocation_arm(ws->inv);
}

static void arm(struct websocket *ws)
{
    double wait = ws->over ? LIMIT_WEBSOCKET_GOODBYE : LIMIT_WEBSOCKET_PING;
    double left = ws->over ? NAN : ws->expires - clock_now();
    if (left < wait)
        wait = left > 0 ? left : 0;
    set_clock(ws, wait);
}

/* At the next turn of the loop, where scripts may go on. */
static void tick_soon(struct websocket *ws)
{
    set_clock(ws, 0);
}

/* Not at once: what runs now may have texts of the request in its hands. */
static void lighten_soon(struct invocation *inv)
{
    if (inv->websocket == NULL)
        return;
    inv->websocket->lightens = true;
    inv->clock_ns = 0;
    invocation_arm(inv);
}

/* Who waits to send goes on; who waits for a message as well, then at the next tick. */
static void on_gone(struct exchange *ex)
{
    struct invocation *inv = ex->owner;
    inv->websocket->closed = true;
    end_reading(inv->websocket);
    if (list_is_empty(&inv->writers)) {
        wake(inv);
        return;
    }
    tick_soon(inv->websocket);
    stream_go_on(inv);
}

/* Nothing was heard for a while: asks, and gives up who does not answer. */
static void check_alive(struct websocket *ws)
{
    if (ws->pinged) {
        ws->closed = true;
        ws->inv->ex->error_code = "websocket_silent";
        end_reading(ws);
    } else if (!ws->heard && !ws->closed) {
        ws->pinged = true;
        websocket_put(&scratch, WEBSOCKET_PING, STR(""));
        send_scratch(ws);
    }
    ws->heard = false;
}

void websocket_tick(struct invocation *inv)
{
    struct websocket *ws = inv->websocket;
    bool due = ws->due_ns <= clock_monotonic_ns();
    ws->lightens = false;
    lighten(inv);
    if (!due) {
        inv->clock_ns = ws->due_ns;
        invocation_arm(inv);
        return;
    }
    if (!ws->over && ws->expires <= clock_now()) {
        close_with(ws, WEBSOCKET_POLICY, (struct str){NULL, 0});
    }
    if (!ws->over) {
        say_pong(ws);
        check_alive(ws);
    } else
        say_what_is_due(ws);
    if (!ws->over) {
        arm(ws);
        return;
    }
    ws->due_ns = inv->clock_ns = UINT64_MAX;
    invocation_arm(inv);
    wake(inv);
}

/* ---- the end ---- */

void websocket_end(struct invocation *inv, unsigned code)
{
    struct websocket *ws = inv->websocket;
    say_what_is_due(ws);
    say_close(ws, code, (struct str){NULL, 0});
    if (!ws->over)
        end_reading(ws);
    drop_messages(ws);
    (void)charge(ws);
    inv->reader = NULL;
    inv->websocket = NULL;
    inv->clock_ns = UINT64_MAX;
    free(ws->pong);
    free(ws);
}

void websocket_go_away(struct invocation *inv)
{
    struct websocket *ws = inv->websocket;
    if (ws == NULL || ws->over)
        return;
    close_with(ws, WEBSOCKET_GOING_AWAY, (struct str){NULL, 0});
    tick_soon(ws);
}

/* ---- ws:messages() ---- */

struct receive_op {
    struct op op;
    struct invocation *inv;
};

static void cancel(struct op *op)
{
    struct invocation *inv = container_of(op, struct receive_op, op)->inv;
    if (inv->reader == op)
        inv->reader = NULL;
}

/* The websocket that a script's `ws` at `index` stands for, or NULL: it is over. */
static struct websocket *lx_websocket(lua_State *L, int index)
{
    const struct handle *handle = luaL_checkudata(L, index, METATABLE);
    struct invocation *inv = invocation_of(L);
    return inv != NULL && (lua_Integer)inv->stream == handle->stream ? inv->websocket : NULL;
}

/* Pushes the next message and its kind, or nil. */
static int lx_push_message(lua_State *L, struct websocket *ws)
{
    if (ws == NULL || list_is_empty(&ws->messages)) {
        lua_pushnil(L);
        return 1;
    }
    invocation_begin_work(ws->inv);
    ws->working = true;
    struct message *message = container_of(ws->messages.next, struct message, node);
    lua_pushlstring(L, message->bytes, message->len);
    lua_pushstring(L, message->binary ? "binary" : "text");
    list_remove(&message->node);
    ws->waiting -= sizeof(*message) + message->len;
    free(message);
    (void)charge(ws);
    read_on(ws);
    return 2;
}

static int finish(lua_State *L, struct op *op)
{
    return lx_push_message(L, container_of(op, struct receive_op, op)->inv->websocket);
}

static const struct op_type receive_type = {
    .name = "ws:messages", .cancel = cancel, .finish = finish};

static int l_next(lua_State *L)
{
    struct websocket *ws = lx_websocket(L, 1);
    if (ws != NULL)
        ws->working = false;
    if (ws != NULL && ws->over && list_is_empty(&ws->messages))
        say_what_is_due(ws);
    if (ws == NULL || ws->over || !list_is_empty(&ws->messages))
        return lx_push_message(L, ws);
    if (ws->inv->reader != NULL)
        return luaL_error(L, "ws:messages: the next message is waited for already");
    struct receive_op *op = (struct receive_op *)await_op_new(L, &receive_type, sizeof(*op));
    op->inv = ws->inv;
    ws->inv->reader = &op->op;
    return await(L, &op->op);
}

static int l_messages(lua_State *L)
{
    (void)lx_websocket(L, 1);
    lua_pushcfunction(L, l_next);
    lua_pushvalue(L, 1);
    return 2;
}

/* ---- ws:send, ws:close ---- */

static int l_send(lua_State *L)
{
    static const char *const kinds[] = {"text", "binary", NULL};
    struct websocket *ws = lx_websocket(L, 1);
    struct str bytes;
    bytes.ptr = luaL_checklstring(L, 2, &bytes.len);
    bool binary = luaL_checkoption(L, 3, "text", kinds) == 1;
    luaL_argcheck(L, binary || str_is_utf8(bytes), 2,
                  "a text must be UTF-8; bytes are sent with ws:send(bytes, \"binary\")");
    luaL_argcheck(L, bytes.len <= LIMIT_RESPONSE_BYTES, 2, "a message has 6 MB at most");
    if (ws == NULL || ws->closed) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (!vm_can_yield(L))
        return luaL_error(L, "ws:send cannot wait here");
    vm_note_answer(vm_of(L), bytes.len);
    websocket_put(&scratch, binary ? WEBSOCKET_BINARY : WEBSOCKET_TEXT, bytes);
    return lx_stream_send(L, send_scratch(ws));
}

static int l_close(lua_State *L)
{
    struct websocket *ws = lx_websocket(L, 1);
    lua_Integer code = luaL_optinteger(L, 2, WEBSOCKET_NORMAL);
    struct str reason = {"", 0};
    reason.ptr = luaL_optlstring(L, 3, "", &reason.len);
    luaL_argcheck(L, websocket_code_is_valid(code), 2,
                  "a code that may be sent expected: 1000, 1001, 1008, 1011 ..., 3000 to 4999");
    luaL_argcheck(L, reason.len <= WEBSOCKET_REASON_MAX && str_is_utf8(reason), 3,
                  "at most 123 bytes of UTF-8 expected");
    if (ws == NULL || ws->over)
        return 0;
    close_with(ws, (unsigned)code, reason);
    drop_messages(ws);
    (void)charge(ws);
    tick_soon(ws); /* another part may wait for a message */
    return 0;
}

static int l_index(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"close", l_close}, {"messages", l_messages}, {"send", l_send}};
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(name, methods[i].name) == 0) {
            lua_pushcfunction(L, methods[i].func);
            return 1;
        }
    }
    struct websocket *ws = lx_websocket(L, 1);
    if (strcmp(name, "protocol") != 0 || ws == NULL || ws->protocol_len == 0)
        return 0;
    lua_pushlstring(L, ws->protocol, ws->protocol_len);
    return 1;
}

static void lx_push_handle(lua_State *L, lua_Integer stream)
{
    struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
    handle->stream = stream;
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, l_index);
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

/* ---- the handshake: the result is at the top of the stack ---- */

static const struct http_fault wrong_origin = {
    403, "origin_refused", "Pages of this origin may not open this WebSocket (`origins`)"};

/* Calls `fn` with each text of the list `name` of the result; true when one call gave true. */
static bool lx_any_of(lua_State *L, const char *name, bool *given,
                      bool (*fn)(const struct request *req, struct str text), struct exchange *ex,
                      struct str *found)
{
    bool any = false;
    lua_pushstring(L, name);
    *given = lua_rawget(L, -2) != LUA_TNIL;
    if (*given && lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "`%s` of a WebSocket must be a list of texts", name);
    if (*given)
        lazy_make_plain(L, -1);
    for (lua_Integer i = 1; *given && !any; i++) {
        struct str text;
        if (lua_rawgeti(L, -1, i) == LUA_TNIL) {
            lua_pop(L, 1);
            break;
        }
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "`%s` of a WebSocket must be a list of texts", name);
        text.ptr = lua_tolstring(L, -1, &text.len);
        any = fn(&ex->req, text);
        if (any && found != NULL)
            *found = lx_vm_check(L, arena_copy(&ex->arena, text));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return any;
}

static bool is_origin(const struct request *req, struct str text)
{
    const struct str *origin = headers_get(&req->headers, STR("origin"));
    return str_eq(text, STR("*")) || str_eq_nocase(*origin, text);
}

/* The origin of the page that this host itself has served: scheme and Host. */
static bool is_own_origin(const struct request *req, struct str origin)
{
    size_t scheme = req->scheme.len;
    return str_starts_with(origin, req->scheme) &&
           str_starts_with(str_skip(origin, scheme), STR("://")) &&
           str_eq_nocase(str_skip(origin, scheme + 3), req->host);
}

/* Who sends none is no browser, and cannot be made to connect by a page. */
static bool lx_origin_is_allowed(lua_State *L, struct exchange *ex)
{
    bool given, many;
    const struct str *origin = headers_get_single(&ex->req.headers, STR("origin"), &many);
    if (many)
        return false;
    if (origin == NULL)
        return true;
    bool listed = lx_any_of(L, "origins", &given, is_origin, ex, NULL);
    return given ? listed : is_own_origin(&ex->req, *origin);
}

static void lx_refuse(lua_State *L, struct exchange *ex, const struct http_fault *fault)
{
    struct response *res = &ex->res;
    res->headers.len = 0;
    res->streamed = res->upgraded = false;
    ex->error_code = fault->code;
    int rc = response_set_error(res, &ex->arena, fault->status, str_from(fault->code),
                                str_from(fault->text));
    if (rc == 0 && fault->status == 426)
        rc = headers_add(&res->headers, &ex->arena, STR("Upgrade"), STR("websocket"));
    if (rc == 0 && fault == &websocket_wrong_version)
        rc = headers_add(&res->headers, &ex->arena, STR("Sec-WebSocket-Version"), STR("13"));
    if (rc != 0)
        luaL_error(L, "out of memory");
}

static void lx_add(lua_State *L, struct exchange *ex, struct str name, struct str value)
{
    if (headers_set(&ex->res.headers, &ex->arena, name, value) != 0)
        luaL_error(L, "out of memory");
}

static void lx_accept(lua_State *L, struct exchange *ex, struct str protocol)
{
    if (!ex->req.tunnel) {
        char accept[WEBSOCKET_ACCEPT_BYTES];
        websocket_accept(*headers_get(&ex->req.headers, STR("sec-websocket-key")), accept);
        struct str value = {accept, sizeof(accept)};
        lx_add(L, ex, STR("Upgrade"), STR("websocket"));
        lx_add(L, ex, STR("Sec-WebSocket-Accept"), lx_vm_check(L, arena_copy(&ex->arena, value)));
    }
    if (protocol.len > 0)
        lx_add(L, ex, STR("Sec-WebSocket-Protocol"), protocol);
    ex->res.status = ex->req.tunnel ? 200 : 101;
    ex->res.streamed = ex->res.upgraded = true;
}

/* `message` of the result, or the function's. */
static size_t lx_message_limit(lua_State *L, struct invocation *inv)
{
    struct err err;
    struct options_reader r = {.L = L, .arena = &inv->ex->arena, .err = &err, .file = "result"};
    size_t limit = inv->instance->spec.message;
    if (options_size(&r, "message", 1, LIMIT_RESPONSE_BYTES, &limit) != 0)
        luaL_error(L, "%s", err.text);
    return limit;
}

static struct websocket *lx_new(lua_State *L, struct invocation *inv, struct str protocol)
{
    struct websocket *ws = calloc(1, sizeof(*ws) + protocol.len);
    if (ws == NULL)
        luaL_error(L, "out of memory");
    ws->inv = inv;
    ws->protocol_len = (uint32_t)protocol.len;
    if (protocol.len > 0)
        memcpy(ws->protocol, protocol.ptr, protocol.len);
    ws->expires = inv->call->claims != NULL ? inv->call->claims->expires : NAN;
    ws->due_ns = UINT64_MAX;
    list_init(&ws->messages);
    inv->websocket = ws;
    return ws;
}

static int done(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

int lx_websocket_run(lua_State *L, struct invocation *inv)
{
    struct exchange *ex = inv->ex;
    struct str protocol = {NULL, 0};
    bool given;
    const struct http_fault *fault = websocket_check(&ex->req);
    if (fault == NULL && !lx_origin_is_allowed(L, ex))
        fault = &wrong_origin;
    if (fault != NULL) {
        lx_refuse(L, ex, fault);
        return 0;
    }
    (void)lx_any_of(L, "protocols", &given, websocket_offers, ex, &protocol);
    size_t limit = lx_message_limit(L, inv);
    lx_accept(L, ex, protocol);
    event_let_go(L, inv, lighten_soon);
    struct websocket *ws = lx_new(L, inv, protocol);
    websocket_reader_init(&ws->reader, limit);
    lua_pushliteral(L, "websocket");
    lua_rawget(L, -2);
    lua_remove(L, -2); /* the result, which would stay for as long as the connection */
    lx_push_handle(L, (lua_Integer)stream_begin(inv));
    if (ex->conn == NULL)
        return 0;
    ex->on_gone = on_gone;
    ex->on_drained = on_head_sent;
    arm(ws);
    read_on(ws);
    lua_callk(L, 1, 0, 0, done);
    return 0;
}
