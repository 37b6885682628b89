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
#include "lua/told.h"
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
    unsigned told;            /* the call, for who listens */
};

/* What the script names; the texts are in its table. */
struct wanted {
    enum revocation_kind kind;
    struct str id, issuer; /* ptr NULL: any issuer's */
    uint32_t before;
    bool since; /* ... was given */
};

static const char *const members[] = {"sub", "sid", "jti", "before", "issuer", NULL};

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

/* ---- the call, told and had from a record ---- */

static unsigned lx_tell(lua_State *L, struct hook *hook, const struct wanted *wanted)
{
    struct buf *out = hook_text(hook);
    buf_printf(out, "{\"%s\":", members[wanted->kind]);
    redact_add_text(hook->redact, wanted->id, LIMIT_JOURNAL_TEXT, out);
    if (wanted->since)
        buf_printf(out, ",\"before\":%u", (unsigned)wanted->before);
    if (wanted->issuer.ptr != NULL) {
        buf_add_str(out, STR(",\"issuer\":"));
        redact_add_text(hook->redact, wanted->issuer, LIMIT_JOURNAL_TEXT, out);
    }
    buf_add_char(out, '}');
    return lx_told_begin(L, hook, "jwt.revoke");
}

/* The status, which is the record's where one runs again. */
static int lx_status(lua_State *L, const struct revoke_op *waiter, int status)
{
    struct hook *hook = told_hook(L);
    if (hook == NULL)
        return status;
    if (hook_replays(hook)) {
        const json_t *answer = lx_told_recorded(L, hook, waiter->told);
        status = (int)json_integer_value(json_object_get(answer, "status"));
    }
    buf_printf(hook_text(hook), "{\"status\":%d}", status);
    told_end(hook, waiter->told);
    return status;
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
    const struct revoke_op *waiter = container_of(op, struct revoke_op, op);
    int status = lx_status(L, waiter, waiter->call->request.status);
    dispose(op);
    return push_result(L, status);
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

static void lx_before(lua_State *L, double now, struct wanted *wanted)
{
    wanted->before = wanted->kind == REVOCATION_SUB ? (uint32_t)now : REVOCATION_ALWAYS;
    wanted->since = lua_getfield(L, 1, "before") != LUA_TNIL;
    if (wanted->since) {
        double time = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(time >= 0 && time <= now))
            luaL_error(L, "jwt.revoke: before is a time that has passed, in seconds since 1970");
        wanted->before = (uint32_t)time;
    }
    lua_pop(L, 1);
}

static struct wanted lx_wanted(lua_State *L, double now)
{
    struct wanted wanted = {.kind = REVOCATION_SUB};
    luaL_checktype(L, 1, LUA_TTABLE);
    lazy_make_plain(L, 1);
    lx_keys_check(L, 1, members, "jwt.revoke");
    for (unsigned i = 0; i < REVOCATION_KINDS; i++) {
        struct str text = lx_member(L, members[i]);
        if (text.ptr != NULL && wanted.id.ptr != NULL)
            luaL_error(L, "jwt.revoke: one of sub, sid and jti at a time");
        if (text.ptr != NULL) {
            wanted.id = text;
            wanted.kind = (enum revocation_kind)i;
        }
    }
    if (wanted.id.ptr == NULL)
        luaL_error(L, "jwt.revoke: sub, sid or jti is missing");
    lx_before(L, now, &wanted);
    wanted.issuer = lx_member(L, "issuer");
    return wanted;
}

int l_jwt_revoke(lua_State *L)
{
    double now = floor(clock_now());
    const struct vm *vm = vm_of(L);
    const struct wanted wanted = lx_wanted(L, now);
    struct hook *hook = told_hook(L);
    bool replays = hook != NULL && hook_replays(hook);
    if (vm->services == NULL || (vm->services->store == NULL && !replays))
        return luaL_error(L, "jwt.revoke is not available here: there is no store");
    if (vm->task == NULL || !vm_can_yield(L))
        return luaL_error(L, "jwt.revoke cannot wait here");
    struct revoke_op *waiter = (struct revoke_op *)await_op_new(L, &revoke_type, sizeof(*waiter));
    waiter->call = calloc(1, sizeof(*waiter->call));
    if (waiter->call == NULL)
        return luaL_error(L, "out of memory");
    if (hook != NULL)
        waiter->told = lx_tell(L, hook, &wanted);
    if (replays)
        return await_recorded(L, &waiter->op, waiter->told);
    const struct revocation revocation =
        revocations_make(wanted.kind, wanted.issuer, wanted.id, wanted.before, now);
    struct revoke_call *call = waiter->call;
    int rc = revocations_add(&revocation, now);
    if (rc == -ENOSPC)
        return push_result(L, lx_status(L, waiter, STORE_FULL));
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
