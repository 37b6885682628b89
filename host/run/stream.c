/* Answers in pieces: the body function and its `write`. */
#include "run/stream.h"

#include <lauxlib.h>

#include "base/limits.h"
#include "base/list.h"
#include "journal/hook.h"
#include "run/await.h"
#include "run/invocation.h"

/* ---- waiting for the client ---- */

struct write_op {
    struct op op;
    struct list node; /* in inv->writers */
};

static void cancel(struct op *op)
{
    list_remove(&container_of(op, struct write_op, op)->node);
}

static int finish(lua_State *L, struct op *op)
{
    (void)op;
    struct invocation *inv = invocation_of(L);
    if (inv->stream != 0)
        invocation_extend(inv);
    lua_pushboolean(L, inv->ex->conn != NULL);
    return 1;
}

static const struct op_type write_type = {.name = "write", .cancel = cancel, .finish = finish};

/* Whoever goes on may write and wait again, or end the others and itself: the list is taken off
 * first, and cancelled writers take themselves out of it. */
void stream_go_on(struct invocation *inv)
{
    struct list round;
    list_init(&round);
    list_append(&round, &inv->writers);
    while (!list_is_empty(&round)) {
        struct write_op *w = container_of(round.next, struct write_op, node);
        list_remove(&w->node);
        await_op_complete(&w->op);
    }
}

static void on_drained(struct exchange *ex)
{
    stream_go_on(ex->owner);
}

static int wait(lua_State *L, struct invocation *inv)
{
    lua_settop(L, 0); /* what was written is not kept alive by who waits */
    struct write_op *w = (struct write_op *)await_op_new(L, &write_type, sizeof(*w));
    list_push(&inv->writers, &w->node);
    inv->ex->on_drained = on_drained;
    return await(L, &w->op);
}

/* ---- write ---- */

int lx_stream_send(lua_State *L, size_t unsent)
{
    struct invocation *inv = invocation_of(L);
    invocation_extend(inv);
    if (unsent > LIMIT_STREAM_BYTES)
        return wait(L, inv);
    lua_pushboolean(L, inv->ex->conn != NULL);
    return 1;
}

lua_Integer stream_id(lua_State *L)
{
    struct invocation *inv = invocation_of(L);
    return inv != NULL ? (lua_Integer)inv->stream : 0;
}

int lx_stream_write(lua_State *L, lua_Integer stream, struct str bytes)
{
    struct invocation *inv = invocation_of(L);
    if (stream == 0 || stream_id(L) != stream || inv->ex->conn == NULL) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (bytes.len > LIMIT_RESPONSE_BYTES)
        return luaL_error(L, "write: a piece has %d bytes at most", LIMIT_RESPONSE_BYTES);
    if (!vm_can_yield(L))
        return luaL_error(L, "write cannot wait here");
    vm_note_answer(vm_of(L), bytes.len);
    if (inv->ex->hook != NULL)
        inv->ex->hook->type->written(inv->ex->hook, bytes);
    return lx_stream_send(L, exchange_stream_write(inv->ex, bytes));
}

static int l_write(lua_State *L)
{
    struct str bytes;
    bytes.ptr = luaL_checklstring(L, 1, &bytes.len);
    return lx_stream_write(L, lua_tointeger(L, lua_upvalueindex(1)), bytes);
}

/* ---- the body ---- */

static int body_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

uint64_t stream_begin(struct invocation *inv)
{
    static uint64_t last;
    inv->stream = ++last;
    invocation_extend(inv);
    exchange_answer(inv->ex);
    return last;
}

int lx_stream_run(lua_State *L, struct invocation *inv)
{
    lua_pushliteral(L, "body");
    lua_rawget(L, -2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_write, 1);
    lua_pushinteger(L, (lua_Integer)stream_begin(inv));
    lua_setupvalue(L, -2, 1);
    if (inv->ex->conn == NULL || !exchange_sends_body(inv->ex))
        return 0;
    lua_callk(L, 1, 0, 0, body_done);
    return 0;
}
