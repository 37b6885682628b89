/* kv: values that outlive a request, shared by all workers.
 *
 * Every function has a namespace of its own, unless functions.lua gives it another. Strings are
 * kept as they are, everything else as JSON with sorted keys, so that equal values are equal bytes
 * (which kv.cas compares). Reading is done at once; what writes waits until it is on the disk. */
#include <lauxlib.h>
#include <stdlib.h>

#include "base/limits.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "json/dump.h"
#include "lua/lazy.h"
#include "run/await.h"
#include "lua/json_lazy.h"
#include "lua/told.h"
#include "lua/tree.h"
#include "lua/vm.h"
#include "options/spec.h"
#include "store/store.h"

/* A request to the store. It has memory of its own, since the store may still work on it when the
 * script's operation is gone. */
struct kv_call {
    struct store_request request;
    struct buf texts;     /* key, values: what the request's slices point into once it is sent */
    struct kv_op *waiter; /* borrowed; NULL after cancel */
    bool sent;
};

struct kv_op {
    struct op op;
    struct kv_call *call; /* owned; the store's while sent and not done */
    unsigned told;        /* the call, for who listens */
};

static void free_call(struct kv_call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->texts);
    buf_free(&call->request.out);
    buf_free(&call->request.position);
    free(call);
}

static void on_done(struct store_request *request)
{
    struct kv_call *call = container_of(request, struct kv_call, request);
    call->sent = false;
    if (call->waiter != NULL)
        await_op_complete(&call->waiter->op);
    else
        free_call(call);
}

static void cancel(struct op *op)
{
    struct kv_op *waiter = container_of(op, struct kv_op, op);
    if (waiter->call == NULL || !waiter->call->sent)
        return;
    waiter->call->waiter = NULL; /* on_done frees it */
    waiter->call = NULL;
}

static void dispose(struct op *op)
{
    struct kv_op *waiter = container_of(op, struct kv_op, op);
    free_call(waiter->call);
    waiter->call = NULL;
}

/* ---- results ---- */

static int push_failure(lua_State *L, int status)
{
    lua_pushnil(L);
    lua_pushstring(L, store_error_text(status));
    return 2;
}

static int push_json(lua_State *L, struct str text)
{
    lua_pushlstring(L, text.len > 0 ? text.ptr : "", text.len);
    return json_lazy_decode(L, -1);
}

static int push_value(lua_State *L, const struct store_request *r)
{
    if (r->found == STORE_ABSENT)
        lua_pushnil(L);
    else if (r->found == STORE_TEXT)
        lua_pushlstring(L, r->out.data != NULL ? r->out.data : "", r->out.len);
    else if (push_json(L, buf_str(&r->out)) != 0)
        return push_failure(L, STORE_DAMAGED);
    return 1;
}

static int push_list(lua_State *L, const struct store_request *r)
{
    struct str rest = buf_str(&r->out), key;
    lua_newtable(L);
    tree_push_array_mt(L);
    lua_setmetatable(L, -2);
    for (lua_Integer i = 1; store_next_key(&rest, &key); i++) {
        lua_pushlstring(L, key.ptr, key.len);
        lua_rawseti(L, -2, i);
    }
    if (!r->more)
        return 1;
    lua_pushlstring(L, r->position.data, r->position.len);
    return 2;
}

static int push_result(lua_State *L, const struct store_request *r)
{
    if (r->status != 0)
        return push_failure(L, r->status);
    switch (r->kind) {
    case STORE_GET:
        return push_value(L, r);
    case STORE_LIST:
        return push_list(L, r);
    case STORE_INCR:
        lua_pushinteger(L, (lua_Integer)r->number);
        return 1;
    case STORE_SET:
        lua_pushboolean(L, 1);
        return 1;
    default:
        lua_pushboolean(L, r->changed);
        return 1;
    }
}

/* ---- what is told ---- */

static void add_value(struct hook *hook, enum store_type kind, struct str bytes, struct buf *out)
{
    if (kind == STORE_ABSENT)
        buf_add_str(out, STR("null"));
    else if (kind == STORE_TEXT)
        redact_add_text(hook->redact, bytes, LIMIT_JOURNAL_TEXT, out);
    else if (bytes.len > LIMIT_JOURNAL_TEXT)
        buf_printf(out, "{\"cut\":%zu}", bytes.len);
    else
        redact_add_json(hook->redact, bytes, out);
}

static void tell_answer(struct hook *hook, unsigned told, const struct store_request *r)
{
    struct buf *out = hook_text(hook);
    buf_printf(out, "{\"status\":%d", r->status);
    if (r->status == 0 && r->kind == STORE_GET) {
        static const char *const kinds[] = {"absent", "text", "json"};
        buf_printf(out, ",\"found\":\"%s\",\"value\":", kinds[r->found]);
        add_value(hook, r->found, buf_str(&r->out), out);
    } else if (r->status == 0 && r->kind == STORE_LIST) {
        struct str rest = buf_str(&r->out), key;
        buf_add_str(out, STR(",\"keys\":["));
        for (bool first = true; store_next_key(&rest, &key); first = false) {
            if (!first)
                buf_add_char(out, ',');
            redact_add_text(hook->redact, key, LIMIT_JOURNAL_TEXT, out);
        }
        buf_add_char(out, ']');
        if (r->more)
            buf_add_str(out, STR(",\"after\":"));
        if (r->more)
            redact_add_text(hook->redact, buf_str(&r->position), LIMIT_JOURNAL_TEXT, out);
    } else if (r->status == 0 && r->kind == STORE_INCR) {
        buf_printf(out, ",\"number\":%lld", (long long)r->number);
    } else if (r->status == 0) {
        buf_printf(out, ",\"changed\":%s", r->changed ? "true" : "false");
    }
    buf_add_char(out, '}');
    told_end(hook, told);
}

static unsigned lx_tell(lua_State *L, struct hook *hook, const struct store_request *r)
{
    static const char *const names[] = {
        [STORE_GET] = "kv.get",   [STORE_SET] = "kv.set",       [STORE_CAS] = "kv.cas",
        [STORE_INCR] = "kv.incr", [STORE_DELETE] = "kv.delete", [STORE_LIST] = "kv.list"};
    struct buf *out = hook_text(hook);
    buf_add_str(out, STR("{\"key\":"));
    redact_add_text(hook->redact, r->key, LIMIT_JOURNAL_TEXT, out);
    if (r->kind == STORE_CAS) {
        buf_add_str(out, STR(",\"expected\":"));
        add_value(hook, r->expected.type, r->expected.bytes, out);
    }
    if (r->kind == STORE_CAS || r->kind == STORE_SET) {
        buf_add_str(out, STR(",\"value\":"));
        add_value(hook, r->value.type, r->value.bytes, out);
    }
    if (r->kind == STORE_INCR)
        buf_printf(out, ",\"by\":%lld", (long long)r->by);
    if (r->kind == STORE_LIST) {
        buf_printf(out, ",\"limit\":%u,\"after\":", r->limit);
        redact_add_text(hook->redact, r->after, LIMIT_JOURNAL_TEXT, out);
    }
    if (r->ttl_ms > 0)
        buf_printf(out, ",\"ttl_ms\":%llu", (unsigned long long)r->ttl_ms);
    buf_add_char(out, '}');
    return lx_told_begin(L, hook, names[r->kind]);
}

/* ---- a recorded answer ---- */

static void read_value(const json_t *value, struct store_request *r)
{
    if (r->found == STORE_TEXT && !told_read_text(value, &r->out))
        r->status = STORE_DAMAGED;
    if (r->found != STORE_JSON)
        return;
    dump_json(&r->out, value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (buf_failed(&r->out))
        r->status = STORE_DAMAGED;
}

static const json_t *lx_read_answer(lua_State *L, struct hook *hook, struct kv_op *waiter)
{
    struct store_request *r = &waiter->call->request;
    const json_t *answer = lx_told_recorded(L, hook, waiter->told);
    const char *found = json_string_value(json_object_get(answer, "found"));
    r->status = (int)json_integer_value(json_object_get(answer, "status"));
    r->number = json_integer_value(json_object_get(answer, "number"));
    r->changed = json_is_true(json_object_get(answer, "changed"));
    if (found != NULL && strcmp(found, "absent") != 0)
        r->found = strcmp(found, "text") == 0 ? STORE_TEXT : STORE_JSON;
    read_value(json_object_get(answer, "value"), r);
    return answer;
}

static int push_recorded_list(lua_State *L, const json_t *answer)
{
    const json_t *keys = json_object_get(answer, "keys"), *after = json_object_get(answer, "after");
    lua_createtable(L, (int)json_array_size(keys), 0);
    tree_push_array_mt(L);
    lua_setmetatable(L, -2);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        lua_pushstring(L, json_string_value(json_array_get(keys, i)));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (after == NULL)
        return 1;
    lua_pushstring(L, json_string_value(after));
    return 2;
}

static int finish(lua_State *L, struct op *op)
{
    struct kv_op *waiter = container_of(op, struct kv_op, op);
    struct hook *hook = told_hook(L);
    const json_t *recorded = NULL;
    if (hook != NULL && hook_replays(hook))
        recorded = lx_read_answer(L, hook, waiter);
    if (hook != NULL)
        tell_answer(hook, waiter->told, &waiter->call->request);
    int count = json_object_get(recorded, "keys") != NULL ? push_recorded_list(L, recorded)
                                                          : push_result(L, &waiter->call->request);
    dispose(op);
    return count;
}

static const struct op_type kv_type = {
    .name = "kv", .cancel = cancel, .finish = finish, .dispose = dispose};

/* ---- arguments ---- */

/* A new operation at the top of the stack. Whatever raises from here on frees it. */
static struct kv_op *lx_begin(lua_State *L, enum store_kind kind)
{
    const struct vm *vm = vm_of(L);
    bool reads = kind == STORE_GET || kind == STORE_LIST;
    bool replays = vm->hook != NULL && hook_replays(vm->hook);
    if (vm->spec == NULL || vm->services == NULL || (vm->services->store == NULL && !replays))
        luaL_error(L, "kv is not available here");
    if ((!reads || replays || store_is_remote(vm->services->store)) &&
        (vm->task == NULL || !vm_can_yield(L)))
        luaL_error(L, "kv cannot wait here");
    struct kv_op *waiter = (struct kv_op *)await_op_new(L, &kv_type, sizeof(*waiter));
    waiter->call = calloc(1, sizeof(*waiter->call));
    if (waiter->call == NULL)
        luaL_error(L, "out of memory");
    waiter->call->waiter = waiter;
    waiter->call->request.kind = kind;
    waiter->call->request.done = on_done;
    return waiter;
}

static struct str lx_text(lua_State *L, int index)
{
    struct str text;
    luaL_checktype(L, index, LUA_TSTRING);
    text.ptr = lua_tolstring(L, index, &text.len);
    return text;
}

static struct str lx_key(lua_State *L, int index, size_t shortest)
{
    struct str key = lx_text(L, index);
    luaL_argcheck(L, key.len >= shortest && key.len <= LIMIT_KV_KEY_BYTES, index,
                  "a key has 1 to 600 bytes");
    luaL_argcheck(L, str_is_utf8(key), index, "a key is UTF-8");
    return key;
}

/* Copies a text into the call; the slice gets its address in lx_send. */
static struct str keep(struct kv_call *call, struct str text)
{
    buf_add_str(&call->texts, text);
    return (struct str){NULL, text.len};
}

static struct store_value lx_value(lua_State *L, int index, struct kv_call *call)
{
    int type = lua_type(L, index);
    if (type == LUA_TSTRING)
        return (struct store_value){STORE_TEXT, keep(call, lx_text(L, index))};
    luaL_argcheck(L,
                  type == LUA_TTABLE || type == LUA_TNUMBER || type == LUA_TBOOLEAN ||
                      type == LUA_TLIGHTUSERDATA,
                  index, "a string or a JSON value expected");
    const struct json_style style = {.sort_keys = true};
    struct buf *out = json_scratch();
    if (json_encode_styled(L, index, &style, out) != 0)
        luaL_argerror(L, index, lua_tostring(L, -1));
    return (struct store_value){STORE_JSON, keep(call, buf_str(out))};
}

static void lx_check_options(lua_State *L, int index, const char *const *known)
{
    lazy_make_plain(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        unsigned i = 0;
        while (known[i] != NULL && strcmp(known[i], name) != 0)
            i++;
        if (known[i] == NULL)
            luaL_argerror(L, index,
                          lua_pushfstring(L, "unknown option '%s'; %s%s%s is known", name, known[0],
                                          known[1] != NULL ? " or " : "",
                                          known[1] != NULL ? known[1] : ""));
        lua_pop(L, 1);
    }
}

/* { ttl = seconds } */
static uint64_t lx_ttl(lua_State *L, int index)
{
    static const char *const known[] = {"ttl", NULL};
    if (lua_isnoneornil(L, index))
        return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    lx_check_options(L, index, known);
    lua_getfield(L, index, "ttl");
    lua_Number seconds = lua_tonumber(L, -1);
    luaL_argcheck(L,
                  lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TNUMBER && seconds >= 0.001 &&
                                       seconds <= LIMIT_KV_TTL),
                  index, "ttl is a number of seconds greater than 0");
    lua_pop(L, 1);
    return (uint64_t)(seconds * 1000);
}

static void point(struct str *text, struct str *rest)
{
    text->ptr = rest->ptr;
    *rest = str_skip(*rest, text->len);
}

/* Hands the call to the store and waits. The texts were kept in this order; the operation must be
 * at the top of the stack. */
static int lx_send_to(lua_State *L, struct kv_op *waiter, struct str space)
{
    const struct vm *vm = vm_of(L);
    struct kv_call *call = waiter->call;
    struct store_request *r = &call->request;
    r->space = keep(call, space);
    struct str rest = buf_str(&call->texts);
    if (buf_failed(&call->texts))
        return luaL_error(L, "out of memory");
    point(&r->key, &rest);
    point(&r->expected.bytes, &rest);
    point(&r->value.bytes, &rest);
    point(&r->after, &rest);
    point(&r->space, &rest);
    struct hook *hook = told_hook(L);
    if (hook != NULL) {
        waiter->told = lx_tell(L, hook, r);
        if (hook_replays(hook))
            return await_recorded(L, &waiter->op, waiter->told);
    }
    call->sent = true;
    store_submit(vm->services->store, r);
    return await(L, &waiter->op);
}

static int lx_send(lua_State *L, struct kv_op *waiter)
{
    return lx_send_to(L, waiter, function_spec_kv(vm_of(L)->spec));
}

/* ---- the module ---- */

/* kv.cas(key, expected, value [, options]): nil stands for no value. */
static int l_cas(lua_State *L)
{
    struct str key = lx_key(L, 1, 1);
    uint64_t ttl_ms = lx_ttl(L, 4);
    lua_settop(L, 3);
    struct kv_op *waiter = lx_begin(L, STORE_CAS);
    struct kv_call *call = waiter->call;
    call->request.ttl_ms = ttl_ms;
    call->request.key = keep(call, key);
    if (!lua_isnil(L, 2))
        call->request.expected = lx_value(L, 2, call);
    if (!lua_isnil(L, 3))
        call->request.value = lx_value(L, 3, call);
    lua_settop(L, 4);
    return lx_send(L, waiter);
}

static int l_delete(lua_State *L)
{
    struct str key = lx_key(L, 1, 1);
    struct kv_op *waiter = lx_begin(L, STORE_DELETE);
    waiter->call->request.key = keep(waiter->call, key);
    return lx_send(L, waiter);
}

static int l_get(lua_State *L)
{
    struct str key = lx_key(L, 1, 1);
    struct kv_op *waiter = lx_begin(L, STORE_GET);
    waiter->call->request.key = keep(waiter->call, key);
    return lx_send(L, waiter);
}

/* kv.incr(key [, by [, options]]) */
static int l_incr(lua_State *L)
{
    struct str key = lx_key(L, 1, 1);
    lua_Integer by = luaL_optinteger(L, 2, 1);
    uint64_t ttl_ms = lx_ttl(L, 3);
    struct kv_op *waiter = lx_begin(L, STORE_INCR);
    waiter->call->request.key = keep(waiter->call, key);
    waiter->call->request.by = (int64_t)by;
    waiter->call->request.ttl_ms = ttl_ms;
    return lx_send(L, waiter);
}

/* kv.list([prefix [, { limit =, after = }]]) */
static int l_list(lua_State *L)
{
    static const char *const known[] = {"limit", "after", NULL};
    struct str prefix = {"", 0}, after = {"", 0};
    lua_Integer limit = LIMIT_KV_LIST;
    lua_settop(L, 2);
    if (!lua_isnil(L, 1))
        prefix = lx_key(L, 1, 0);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lx_check_options(L, 2, known);
        if (lua_getfield(L, 2, "limit") != LUA_TNIL)
            limit = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        luaL_argcheck(L, limit >= 1 && limit <= LIMIT_KV_LIST, 2, "limit is 1 to 1000");
        int type = lua_getfield(L, 2, "after");
        luaL_argcheck(L, type == LUA_TNIL || type == LUA_TSTRING, 2, "after is a key");
        if (type == LUA_TSTRING)
            after = lx_text(L, 4);
        luaL_argcheck(L, after.len <= LIMIT_KV_KEY_BYTES, 2, "after is a key");
    }
    struct kv_op *waiter = lx_begin(L, STORE_LIST);
    waiter->call->request.limit = (unsigned)limit;
    waiter->call->request.key = keep(waiter->call, prefix);
    waiter->call->request.after = keep(waiter->call, after);
    return lx_send(L, waiter);
}

/* kv.set(key, value [, options]) */
static int l_set(lua_State *L)
{
    struct str key = lx_key(L, 1, 1);
    uint64_t ttl_ms = lx_ttl(L, 3);
    lua_settop(L, 2);
    struct kv_op *waiter = lx_begin(L, STORE_SET);
    waiter->call->request.ttl_ms = ttl_ms;
    waiter->call->request.key = keep(waiter->call, key);
    waiter->call->request.value = lx_value(L, 2, waiter->call);
    lua_settop(L, 3);
    return lx_send(L, waiter);
}

static const luaL_Reg functions[] = {
    {"cas", l_cas},   {"delete", l_delete}, {"get", l_get}, {"incr", l_incr},
    {"list", l_list}, {"set", l_set},       {NULL, NULL},
};

/* host.kv(space [, after]) -> keys, as kv.list
 * host.kv(space, nil, key) -> value, as kv.get */
int kv_look(lua_State *L)
{
    struct str space = lx_text(L, 1), key = {"", 0}, after = {"", 0};
    luaL_argcheck(L, space.len > 0 && space.len <= LIMIT_KV_SPACE_NAME, 1, "a namespace expected");
    lua_settop(L, 3);
    if (!lua_isnil(L, 2))
        after = lx_key(L, 2, 0);
    if (!lua_isnil(L, 3))
        key = lx_key(L, 3, 1);
    struct kv_op *waiter = lx_begin(L, key.len > 0 ? STORE_GET : STORE_LIST);
    waiter->call->request.limit = LIMIT_KV_LOOK;
    waiter->call->request.key = keep(waiter->call, key);
    waiter->call->request.after = keep(waiter->call, after);
    return lx_send_to(L, waiter, space);
}

int open_kv(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
