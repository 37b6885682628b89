/* queue.send(name, value [, { delay =, run_at =, key = }]): a job for a function, which is stored
 * before it is promised. Who runs it, and how often, is app/app_queue.c's. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "bindings/keys.h"
#include "http/exchange.h"
#include "lua/lazy.h"
#include "lua/told.h"
#include "lua/vm.h"
#include "options/spec.h"
#include "run/await.h"
#include "store/job.h"
#include "store/store.h"

/* Has memory of its own: the store may still work on it when the operation is gone. */
struct send_call {
    struct store_request request;
    struct buf texts;
    void (*sent_to)(void *arg); /* who may run it */
    void *sent_arg;
    struct send_op *waiter; /* borrowed; NULL after cancel */
    bool sent;
    char id[JOB_ID_BYTES + 1];
};

struct send_op {
    struct op op;
    struct send_call *call; /* owned; the store's while sent and not done */
    unsigned told;          /* the call, for who listens */
};

static void free_call(struct send_call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->texts);
    free(call);
}

static void on_done(struct store_request *request)
{
    struct send_call *call = container_of(request, struct send_call, request);
    void (*sent_to)(void *arg) = call->sent_to;
    void *arg = call->sent_arg;
    bool stored = request->status == 0 && request->changed && request->ttl_ms == 0;
    call->sent = false;
    if (call->waiter != NULL)
        await_op_complete(&call->waiter->op);
    else
        free_call(call);
    if (stored && sent_to != NULL)
        sent_to(arg);
}

static void cancel(struct op *op)
{
    struct send_op *waiter = container_of(op, struct send_op, op);
    if (waiter->call == NULL || !waiter->call->sent)
        return;
    waiter->call->waiter = NULL; /* on_done frees it */
    waiter->call = NULL;
}

static void dispose(struct op *op)
{
    struct send_op *waiter = container_of(op, struct send_op, op);
    free_call(waiter->call);
    waiter->call = NULL;
}

/* ---- what is told, and the result ---- */

static unsigned lx_tell(lua_State *L, struct hook *hook, const struct store_request *r,
                        struct str value)
{
    struct buf *out = hook_text(hook);
    buf_add_str(out, STR("{\"name\":"));
    redact_add_text(hook->redact, r->space, LIMIT_JOURNAL_TEXT, out);
    buf_add_str(out, STR(",\"value\":"));
    if (value.len > LIMIT_JOURNAL_TEXT)
        buf_printf(out, "{\"cut\":%zu}", value.len);
    else
        redact_add_json(hook->redact, value, out);
    if (r->key.len > 0) {
        buf_add_str(out, STR(",\"key\":"));
        redact_add_text(hook->redact, r->key, LIMIT_JOURNAL_TEXT, out);
    }
    if (r->ttl_ms > 0)
        buf_printf(out, ",\"delay_ms\":%llu", (unsigned long long)r->ttl_ms);
    buf_add_char(out, '}');
    return lx_told_begin(L, hook, "queue.send");
}

static void tell_answer(struct hook *hook, unsigned told, const struct send_call *call)
{
    struct buf *out = hook_text(hook);
    buf_printf(out, "{\"status\":%d,\"taken\":%s,\"id\":\"%s\"}", call->request.status,
               call->request.changed ? "false" : "true", call->id);
    told_end(hook, told);
}

static void lx_read_answer(lua_State *L, struct hook *hook, const struct send_op *waiter)
{
    const json_t *answer = lx_told_recorded(L, hook, waiter->told);
    struct send_call *call = waiter->call;
    const char *id = json_string_value(json_object_get(answer, "id"));
    call->request.status = (int)json_integer_value(json_object_get(answer, "status"));
    call->request.changed = !json_is_true(json_object_get(answer, "taken"));
    if (id != NULL && strlen(id) == JOB_ID_BYTES)
        memcpy(call->id, id, JOB_ID_BYTES);
}

static int finish(lua_State *L, struct op *op)
{
    struct send_op *waiter = container_of(op, struct send_op, op);
    const struct send_call *call = waiter->call;
    struct hook *hook = told_hook(L);
    if (hook != NULL && hook_replays(hook))
        lx_read_answer(L, hook, waiter);
    if (hook != NULL)
        tell_answer(hook, waiter->told, call);
    int status = call->request.status;
    bool good = status == 0 && call->request.changed;
    if (good)
        lua_pushstring(L, call->id);
    else
        lua_pushnil(L);
    if (!good)
        lua_pushstring(L, status == 0 ? "taken" : store_error_text(status));
    dispose(op);
    return good ? 1 : 2;
}

static const struct op_type send_type = {
    .name = "queue.send", .cancel = cancel, .finish = finish, .dispose = dispose};

/* ---- arguments ---- */

struct options {
    struct str key;
    uint64_t delay_ms;
};

/* A number of seconds, or `absent`. */
static double lx_seconds(lua_State *L, const char *name, double absent)
{
    int type = lua_getfield(L, 3, name);
    double seconds = type == LUA_TNIL ? absent : lua_tonumber(L, -1);
    if (type != LUA_TNIL && (type != LUA_TNUMBER || !isfinite(seconds)))
        luaL_error(L, "queue.send: %s is a number of seconds", name);
    lua_pop(L, 1);
    return seconds;
}

static struct options lx_options(lua_State *L)
{
    static const char *const known[] = {"delay", "key", "run_at", NULL};
    struct options options = {.delay_ms = 0};
    if (lua_isnoneornil(L, 3))
        return options;
    luaL_checktype(L, 3, LUA_TTABLE);
    lazy_make_plain(L, 3);
    lx_keys_check(L, 3, known, "queue.send");
    double now = clock_now();
    double delay = lx_seconds(L, "delay", -1), run_at = lx_seconds(L, "run_at", -1);
    if (delay >= 0 && run_at >= 0)
        luaL_error(L, "queue.send: delay or run_at, not both");
    if (run_at >= 0)
        delay = run_at > now ? run_at - now : 0;
    if (delay > LIMIT_QUEUE_DELAY)
        luaL_error(L, "queue.send: a job waits for at most 366 days");
    options.delay_ms = delay > 0 ? (uint64_t)ceil(delay * 1000) : 0;
    int type = lua_getfield(L, 3, "key"); /* stays on the stack */
    if (type == LUA_TSTRING)
        options.key.ptr = lua_tolstring(L, -1, &options.key.len);
    if (type != LUA_TNIL &&
        (options.key.len == 0 || options.key.len > LIMIT_KV_KEY_BYTES || !str_is_utf8(options.key)))
        luaL_error(L, "queue.send: a key is a text of 1 to %d bytes, in UTF-8", LIMIT_KV_KEY_BYTES);
    return options;
}

static struct send_op *lx_begin(lua_State *L)
{
    struct send_op *waiter = (struct send_op *)await_op_new(L, &send_type, sizeof(*waiter));
    waiter->call = calloc(1, sizeof(*waiter->call));
    if (waiter->call == NULL)
        luaL_error(L, "out of memory");
    waiter->call->waiter = waiter;
    exchange_make_id(waiter->call->id);
    return waiter;
}

static int l_send(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    const struct services *services = vm->services;
    bool replays = vm->hook != NULL && hook_replays(vm->hook);
    struct str name = {NULL, 0};
    luaL_checktype(L, 1, LUA_TSTRING);
    luaL_checkany(L, 2);
    name.ptr = lua_tolstring(L, 1, &name.len);
    if (services == NULL || (services->store == NULL && !replays))
        return luaL_error(L, "queue.send is not available here: there is no store");
    if (vm->task == NULL || !vm_can_yield(L))
        return luaL_error(L, "queue.send cannot wait here");
    if (!replays && services->has_function != NULL &&
        !services->has_function(services->has_function_arg, name))
        return luaL_error(L, "queue.send: there is no function '%s'", name.ptr);
    lua_settop(L, 3);
    struct options options = lx_options(L);
    struct buf *json = json_scratch();
    if (json_encode_value(L, 2, json) != 0)
        return luaL_argerror(L, 2, lua_tostring(L, -1));
    const size_t json_len = json->len;
    if (json_len > LIMIT_QUEUE_JOB_BYTES) {
        lua_pushnil(L);
        lua_pushstring(L, store_error_text(STORE_JOB_TOO_LARGE));
        return 2;
    }
    struct send_op *waiter = lx_begin(L);
    struct send_call *call = waiter->call;
    job_begin_payload(&call->texts, JOB_VALUE);
    buf_add_str(&call->texts, buf_str(json));
    size_t payload = call->texts.len;
    buf_add_str(&call->texts, name);
    buf_add_str(&call->texts, options.key);
    if (buf_failed(&call->texts))
        return luaL_error(L, "out of memory");
    const char *texts = call->texts.data;
    call->request = (struct store_request){.kind = STORE_JOB_ADD,
                                           .space = {texts + payload, name.len},
                                           .key = {texts + payload + name.len, options.key.len},
                                           .id = str_from(call->id),
                                           .value = {STORE_TEXT, {texts, payload}},
                                           .ttl_ms = options.delay_ms,
                                           .done = on_done};
    if (vm->hook != NULL) {
        waiter->told = lx_tell(L, vm->hook, &call->request,
                               (struct str){texts + payload - json_len, json_len});
        if (replays)
            return await_recorded(L, &waiter->op, waiter->told);
    }
    call->sent_to = services->job_sent;
    call->sent_arg = services->job_sent_arg;
    call->sent = true;
    store_submit(services->store, &call->request);
    return await(L, &waiter->op);
}

static const luaL_Reg functions[] = {{"send", l_send}, {NULL, NULL}};

int open_queue(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
