/* jwt.revoke{ sub = | sid = | jti =, before =, issuer = }: tokens that are not to be let in any
 * more.
 *
 * All workers of this host know it before the call waits; it returns when the store has it. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bindings/bindings.h"
#include "bindings/jwt_internal.h"
#include "bindings/keys.h"
#include "lua/lazy.h"
#include "lua/vm.h"
#include "run/await.h"
#include "shared/revocations.h"
#include "store/store.h"

/* Has memory of its own: the store may still work on it when the operation is gone. */
struct revoke_call {
    struct store_request request;
    char bytes[REVOCATION_BYTES];
    struct revoke_op *waiter; /* borrowed; NULL after cancel */
    bool sent;
};

struct revoke_op {
    struct op op;
    struct revoke_call *call; /* owned; the store's while sent and not done */
};

static void on_done(struct store_request *request)
{
    struct revoke_call *call = container_of(request, struct revoke_call, request);
    call->sent = false;
    if (call->waiter != NULL)
        await_op_complete(&call->waiter->op);
    else
        free(call);
}

static void cancel(struct op *op)
{
    struct revoke_op *waiter = container_of(op, struct revoke_op, op);
    if (waiter->call == NULL || !waiter->call->sent)
        return;
    waiter->call->waiter = NULL; /* on_done frees it */
    waiter->call = NULL;
}

static void dispose(struct op *op)
{
    struct revoke_op *waiter = container_of(op, struct revoke_op, op);
    free(waiter->call);
    waiter->call = NULL;
}

static int push_result(lua_State *L, int status)
{
    if (status == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, store_error_text(status));
    return 2;
}

static int finish(lua_State *L, struct op *op)
{
    int count = push_result(L, container_of(op, struct revoke_op, op)->call->request.status);
    dispose(op);
    return count;
}

static const struct op_type revoke_type = {
    .name = "jwt.revoke", .cancel = cancel, .finish = finish, .dispose = dispose};

/* ---- arguments ---- */

/* The member's text, which stays in the table; ptr NULL: it is not there. */
static struct str lx_member(lua_State *L, const char *name)
{
    struct str text = {NULL, 0};
    int type = lua_getfield(L, 1, name);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_error(L, "jwt.revoke: %s is a text, not a %s", name, lua_typename(L, type));
    if (type == LUA_TSTRING)
        text.ptr = lua_tolstring(L, -1, &text.len);
    if (text.ptr != NULL && text.len == 0)
        luaL_error(L, "jwt.revoke: %s is empty", name);
    lua_pop(L, 1);
    return text;
}

static uint32_t lx_before(lua_State *L, uint32_t otherwise, double now)
{
    uint32_t before = otherwise;
    if (lua_getfield(L, 1, "before") != LUA_TNIL) {
        double time = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(time >= 0 && time <= now))
            luaL_error(L, "jwt.revoke: before is a time that has passed, in seconds since 1970");
        before = (uint32_t)time;
    }
    lua_pop(L, 1);
    return before;
}

static struct revocation lx_revocation(lua_State *L, double now)
{
    static const char *const known[] = {"sub", "sid", "jti", "before", "issuer", NULL};
    struct str id = {NULL, 0};
    enum revocation_kind kind = REVOCATION_SUB;
    luaL_checktype(L, 1, LUA_TTABLE);
    lazy_make_plain(L, 1);
    lx_keys_check(L, 1, known, "jwt.revoke");
    for (unsigned i = 0; i < REVOCATION_KINDS; i++) {
        struct str text = lx_member(L, known[i]);
        if (text.ptr != NULL && id.ptr != NULL)
            luaL_error(L, "jwt.revoke: one of sub, sid and jti at a time");
        if (text.ptr != NULL) {
            id = text;
            kind = (enum revocation_kind)i;
        }
    }
    if (id.ptr == NULL)
        luaL_error(L, "jwt.revoke: sub, sid or jti is missing");
    uint32_t before = lx_before(L, kind == REVOCATION_SUB ? (uint32_t)now : REVOCATION_ALWAYS, now);
    return revocations_make(kind, lx_member(L, "issuer"), id, before, now);
}

int l_jwt_revoke(lua_State *L)
{
    double now = floor(clock_now());
    const struct vm *vm = vm_of(L);
    struct revocation revocation = lx_revocation(L, now);
    if (vm->services == NULL || vm->services->store == NULL)
        return luaL_error(L, "jwt.revoke is not available here: there is no store");
    if (vm->task == NULL || !vm_can_yield(L))
        return luaL_error(L, "jwt.revoke cannot wait here");
    struct revoke_op *waiter = (struct revoke_op *)await_op_new(L, &revoke_type, sizeof(*waiter));
    waiter->call = calloc(1, sizeof(*waiter->call));
    if (waiter->call == NULL)
        return luaL_error(L, "out of memory");
    struct revoke_call *call = waiter->call;
    int rc = revocations_add(&revocation, now);
    if (rc == -ENOSPC)
        return push_result(L, STORE_FULL);
    if (rc != 0)
        return luaL_error(L, "out of memory");
    revocations_write(&revocation, call->bytes);
    call->waiter = waiter;
    call->sent = true;
    call->request =
        (struct store_request){.kind = STORE_REVOKE,
                               .value = {STORE_TEXT, {call->bytes, sizeof(call->bytes)}},
                               .ttl_ms = (uint64_t)LIMIT_REVOCATION_LIFE * 1000,
                               .done = on_done};
    store_submit(vm->services->store, &call->request);
    return await(L, &waiter->op);
}
