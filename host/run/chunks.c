/* The body of a request, asked for by its handler. */
#include "run/chunks.h"

#include <lauxlib.h>

#include "base/limits.h"
#include "lua/told.h"
#include "run/await.h"
#include "run/invocation.h"

struct read_op {
    struct op op;
    struct invocation *inv;
};

/* ---- waiting for the client ---- */

static void cancel(struct op *op)
{
    struct invocation *inv = container_of(op, struct read_op, op)->inv;
    if (inv->reader != op)
        return;
    inv->reader = NULL;
    exchange_stop_reading(inv->ex);
}

static int lx_push_recorded(lua_State *L, struct hook *hook)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, "event:chunks");
    const json_t *answer = lx_told_recorded(L, hook, call);
    struct buf *text = hook_text(hook);
    if (told_read_text(answer, text))
        lua_pushlstring(L, text->data != NULL ? text->data : "", text->len);
    else
        lua_pushnil(L);
    hook->type->end(hook, call, STR(""));
    return 1;
}

/* What has come; nil at the end. [-0, +1] */
static int lx_push_piece(lua_State *L, struct invocation *inv)
{
    struct str piece = exchange_piece(inv->ex);
    const struct http_fault *fault = exchange_body_fault(inv->ex);
    invocation_extend(inv);
    struct hook *hook = told_hook(L);
    if (hook != NULL && (piece.len > 0 || fault == NULL))
        lx_told_text(L, hook, "event:chunks", piece.len > 0 ? piece : (struct str){NULL, 0},
                     STR("null"));
    if (piece.len > 0) {
        lua_pushlstring(L, piece.ptr, piece.len);
        exchange_take_piece(inv->ex, piece.len);
    } else if (fault != NULL) {
        return luaL_error(L, "event:chunks: %s", fault->text);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int finish(lua_State *L, struct op *op)
{
    return lx_push_piece(L, container_of(op, struct read_op, op)->inv);
}

static const struct op_type read_type = {
    .name = "event:chunks", .cancel = cancel, .finish = finish};

static void on_body(struct exchange *ex)
{
    struct invocation *inv = ex->owner;
    struct op *op = inv->reader;
    inv->reader = NULL;
    await_op_complete(op);
}

static int wait(lua_State *L, struct invocation *inv)
{
    struct read_op *r = (struct read_op *)await_op_new(L, &read_type, sizeof(*r));
    r->inv = inv;
    inv->reader = &r->op;
    exchange_read_piece(inv->ex, on_body);
    return await(L, &r->op);
}

/* ---- the iterator ---- */

static struct invocation *lx_check(lua_State *L)
{
    struct invocation *inv = invocation_of(L);
    if (inv == NULL || inv->answered)
        luaL_error(L, "event:chunks: can only be used while the request is handled");
    return inv;
}

/* Of a body that is there already; the first upvalue says how much of it was given. */
static int next_of_whole(lua_State *L, struct invocation *inv)
{
    size_t given = (size_t)lua_tointeger(L, lua_upvalueindex(1));
    struct str rest = inv->ex->req.body;
    if (rest.len <= given)
        return 0;
    rest = str_skip(rest, given);
    if (inv->instance->spec.stream_body && rest.len > BODY_PIECE_BYTES)
        rest.len = BODY_PIECE_BYTES;
    lua_pushinteger(L, lua_tointeger(L, lua_upvalueindex(1)) + (lua_Integer)rest.len);
    lua_replace(L, lua_upvalueindex(1));
    lua_pushlstring(L, rest.ptr, rest.len);
    return 1;
}

static int l_next(lua_State *L)
{
    struct invocation *inv = lx_check(L);
    struct hook *hook = told_hook(L);
    if (hook != NULL && inv->instance->spec.stream_body) {
        if (hook_replays(hook))
            return lx_push_recorded(L, hook);
        if (inv->ex->body == NULL) {
            int count = next_of_whole(L, inv);
            const struct str none = {NULL, 0};
            lx_told_text(L, hook, "event:chunks",
                         count > 0 ? (struct str){lua_tostring(L, -1), lua_rawlen(L, -1)} : none,
                         STR("null"));
            return count;
        }
    }
    struct body *body = inv->ex->body;
    if (!inv->instance->spec.stream_body || body == NULL)
        return next_of_whole(L, inv);
    if (inv->reader != NULL)
        return luaL_error(L, "event:chunks: the body is being read already");
    if (body_piece(body).len > 0 || body->complete || body->fault != NULL)
        return lx_push_piece(L, inv);
    return wait(L, inv);
}

int l_chunks(lua_State *L)
{
    lx_check(L);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_next, 1);
    return 1;
}
