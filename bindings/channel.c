/* channel: texts from one function to all who listen, in all workers, and with KV_URL on all hosts.
 *
 * A subscription is a userdata that is called for the next text, as a loop does. It ends with its
 * invocation, and before that when the client of a WebSocket leaves, or the host goes. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "bindings/bindings.h"
#include "channel/channel.h"
#include "lua/told.h"
#include "run/await.h"
#include "run/invocation.h"
#include "store/store.h"

static const char METATABLE[] = "luafn.subscription";

struct subscription {
    struct channel_sub sub;
    struct invocation *inv; /* NULL: that is over */
    struct invocation_leaving leaving;
    struct invocation_ending ending;
    struct listen_op *waiting; /* borrowed; NULL: nobody waits for a text, or for its beginning */
    bool replayed;
    size_t len;
    char name[LIMIT_CHANNEL_NAME];
};

struct listen_op {
    struct op op;
    struct subscription *s;
};

/* ---- arguments ---- */

/* NULL: a replay needs none. */
static struct channel_hub *lx_hub(lua_State *L, const char *what)
{
    const struct vm *vm = vm_of(L);
    bool replays = vm->hook != NULL && hook_replays(vm->hook);
    if (invocation_of(L) == NULL || (vm->services->channels == NULL && !replays) ||
        !vm_can_yield(L))
        luaL_error(L, "%s cannot be used here", what);
    return vm->services->channels;
}

static struct str lx_name(lua_State *L)
{
    struct str name;
    luaL_checktype(L, 1, LUA_TSTRING);
    name.ptr = lua_tolstring(L, 1, &name.len);
    luaL_argcheck(L, name.len > 0 && name.len <= LIMIT_CHANNEL_NAME && str_is_utf8(name), 1,
                  "a channel's name has 1 to 128 bytes of UTF-8");
    return name;
}

static int push_failure(lua_State *L, int status)
{
    lua_pushnil(L);
    lua_pushstring(L, store_error_text(status));
    return 2;
}

/* ---- channel.publish: a request to the store where that is a server ---- */

struct publish_call {
    struct store_request request;
    struct publish_op *waiter; /* borrowed; NULL after cancel */
    char texts[];
};

struct publish_op {
    struct op op;
    struct publish_call *call; /* the store's until it is done, then owned */
    unsigned told;
};

static void on_published(struct store_request *request)
{
    struct publish_call *call = container_of(request, struct publish_call, request);
    if (call->waiter != NULL)
        await_op_complete(&call->waiter->op);
    else
        free(call);
}

static void cancel_publish(struct op *op)
{
    struct publish_op *p = container_of(op, struct publish_op, op);
    if (p->call != NULL)
        p->call->waiter = NULL; /* on_published frees it */
    p->call = NULL;
}

static void dispose_publish(struct op *op)
{
    struct publish_op *p = container_of(op, struct publish_op, op);
    free(p->call);
    p->call = NULL;
}

static void tell_status(struct hook *hook, unsigned told, int status)
{
    buf_printf(hook_text(hook), "{\"status\":%d}", status);
    told_end(hook, told);
}

static int push_published(lua_State *L, struct hook *hook, unsigned told, int status)
{
    if (hook != NULL)
        tell_status(hook, told, status);
    if (status != 0)
        return push_failure(L, status);
    lua_pushboolean(L, 1);
    return 1;
}

static int finish_publish(lua_State *L, struct op *op)
{
    struct publish_op *p = container_of(op, struct publish_op, op);
    struct hook *hook = told_hook(L);
    int status = p->call != NULL ? p->call->request.status : 0;
    if (hook != NULL && hook_replays(hook)) {
        const json_t *answer = lx_told_recorded(L, hook, p->told);
        status = (int)json_integer_value(json_object_get(answer, "status"));
    } else if (status == 0) {
        channel_count_published(vm_of(L)->services->channels);
    }
    return push_published(L, hook, p->told, status);
}

static const struct op_type publish_type = {.name = "channel.publish",
                                            .cancel = cancel_publish,
                                            .finish = finish_publish,
                                            .dispose = dispose_publish};

static unsigned lx_tell_publish(lua_State *L, struct hook *hook, struct str name, struct str text)
{
    struct buf *out = hook_text(hook);
    buf_add_str(out, STR("{\"channel\":"));
    redact_add_text(hook->redact, name, LIMIT_JOURNAL_TEXT, out);
    buf_add_str(out, STR(",\"text\":"));
    redact_add_text(hook->redact, text, LIMIT_JOURNAL_TEXT, out);
    buf_add_char(out, '}');
    return lx_told_begin(L, hook, "channel.publish");
}

static int submit(lua_State *L, struct publish_op *p, struct store *server, struct str name,
                  struct str text)
{
    struct publish_call *call = calloc(1, sizeof(*call) + name.len + text.len);
    if (call == NULL)
        return luaL_error(L, "out of memory");
    memcpy(call->texts, name.ptr, name.len);
    memcpy(call->texts + name.len, text.ptr, text.len);
    call->waiter = p;
    call->request =
        (struct store_request){.kind = STORE_PUBLISH,
                               .key = {call->texts, name.len},
                               .value = {STORE_TEXT, {call->texts + name.len, text.len}},
                               .done = on_published};
    p->call = call;
    store_submit(server, &call->request);
    return await(L, &p->op);
}

static int l_publish(lua_State *L)
{
    struct channel_hub *hub = lx_hub(L, "channel.publish");
    struct str name = lx_name(L), text;
    luaL_checktype(L, 2, LUA_TSTRING);
    text.ptr = lua_tolstring(L, 2, &text.len);
    luaL_argcheck(L, text.len <= LIMIT_CHANNEL_TEXT, 2, "a message has 64 KiB at most");
    struct hook *hook = told_hook(L);
    bool replays = hook != NULL && hook_replays(hook);
    unsigned told = hook != NULL ? lx_tell_publish(L, hook, name, text) : 0;
    if (!replays && channel_server(hub) == NULL)
        return push_published(L, hook, told, channel_publish(hub, name, text));
    struct publish_op *p = (struct publish_op *)await_op_new(L, &publish_type, sizeof(*p));
    p->told = told;
    if (replays)
        return await_recorded(L, &p->op, told);
    return submit(L, p, channel_server(hub), name, text);
}

/* ---- a subscription ---- */

static struct subscription *lx_subscription(lua_State *L)
{
    return luaL_checkudata(L, 1, METATABLE);
}

static void wake(struct subscription *s)
{
    struct listen_op *waiting = s->waiting;
    s->waiting = NULL;
    if (waiting == NULL)
        return;
    s->inv->listening--;
    await_op_complete_later(&waiting->op);
}

static void on_news(struct channel_sub *sub)
{
    wake(container_of(sub, struct subscription, sub));
}

static void leave(struct subscription *s)
{
    channel_leave(&s->sub, CHANNEL_OVER);
    if (s->sub.state == CHANNEL_OPEN)
        s->sub.state = CHANNEL_OVER; /* of a recorded run */
    wake(s);
}

static void on_leaving(struct invocation_leaving *leaving)
{
    leave(container_of(leaving, struct subscription, leaving));
}

static void on_ending(struct invocation_ending *ending)
{
    struct subscription *s = container_of(ending, struct subscription, ending);
    list_remove(&s->leaving.node);
    leave(s);
    s->inv = NULL;
}

static void cancel(struct op *op)
{
    struct subscription *s = container_of(op, struct listen_op, op)->s;
    if (s->waiting == NULL || &s->waiting->op != op)
        return;
    s->waiting = NULL;
    s->inv->listening--;
}

static int l_close(lua_State *L)
{
    leave(lx_subscription(L));
    return 0;
}

static int l_gc(lua_State *L)
{
    struct subscription *s = lx_subscription(L);
    if (s->inv != NULL) {
        list_remove(&s->ending.node);
        list_remove(&s->leaving.node);
    }
    s->waiting = NULL;
    channel_leave(&s->sub, CHANNEL_OVER);
    return 0;
}

/* ---- the next text ---- */

static int lx_raise_dropped(lua_State *L, const struct subscription *s)
{
    lua_pushlstring(L, s->name, s->len);
    if (s->sub.state == CHANNEL_MISSED)
        return luaL_error(L,
                          "channel '%s': this worker was busy for too long, and has lost messages",
                          lua_tostring(L, -1));
    return luaL_error(L, "channel '%s': more came than was taken (%d messages or 256 KiB may wait)",
                      lua_tostring(L, -1), LIMIT_CHANNEL_QUEUE);
}

static int lx_push_recorded(lua_State *L, struct subscription *s, struct hook *hook)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, "channel.message");
    const json_t *answer = lx_told_recorded(L, hook, call);
    struct buf *text = hook_text(hook);
    bool is_text = told_read_text(answer, text), dropped = json_is_object(answer) && !is_text;
    hook->type->end(hook, call, STR(""));
    if (dropped)
        return lx_raise_dropped(L, s);
    if (is_text)
        lua_pushlstring(L, text->data != NULL ? text->data : "", text->len);
    else
        lua_pushnil(L);
    return 1;
}

/* There is a text, or an end. */
static int lx_push_next(lua_State *L, struct subscription *s)
{
    struct str text = {NULL, 0};
    struct hook *hook = told_hook(L);
    bool has_text = channel_first(&s->sub, &text);
    bool dropped = s->sub.state == CHANNEL_SLOW || s->sub.state == CHANNEL_MISSED;
    if (s->inv->stream != 0)
        invocation_begin_work(s->inv);
    if (hook != NULL)
        lx_told_text(L, hook, "channel.message", text,
                     dropped ? STR("{\"error\":\"dropped\"}") : STR("null"));
    if (dropped)
        return lx_raise_dropped(L, s);
    if (!has_text) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushlstring(L, text.ptr, text.len);
    channel_take(&s->sub);
    return 1;
}

static int finish(lua_State *L, struct op *op)
{
    return lx_push_next(L, container_of(op, struct listen_op, op)->s);
}

static const struct op_type message_type = {
    .name = "channel", .cancel = cancel, .finish = finish, .holds = 1};

/* `index`: the subscription, which the operation keeps alive. */
static int lx_wait(lua_State *L, struct subscription *s, int index, const struct op_type *type)
{
    struct listen_op *op = (struct listen_op *)await_op_new(L, type, sizeof(*op));
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
    op->s = s;
    s->waiting = op;
    s->inv->listening++;
    if (s->inv->stream != 0) /* nothing is written that would find out who reads */
        s->inv->ex->ends_with_peer = true;
    return await(L, &op->op);
}

/* __call: of a loop */
static int l_next(lua_State *L)
{
    struct subscription *s = lx_subscription(L);
    struct str text;
    if (s->inv == NULL || s->inv != invocation_of(L))
        return luaL_error(L, "channel: this subscription belongs to a request that is over");
    if (s->waiting != NULL)
        return luaL_error(L, "channel: the next message is waited for already");
    if (s->replayed && told_hook(L) != NULL)
        return lx_push_recorded(L, s, told_hook(L));
    if (s->sub.state != CHANNEL_OPEN || channel_first(&s->sub, &text))
        return lx_push_next(L, s);
    lua_settop(L, 1);
    return lx_wait(L, s, 1, &message_type);
}

/* ---- channel.subscribe ---- */

/* With the subscription on top; a loop that is left closes it. */
static int push_subscribed(lua_State *L, const struct subscription *s)
{
    if (s->sub.state == CHANNEL_FAILED)
        return push_failure(L, s->sub.status);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, -3);
    return 4;
}

static int finish_subscribe(lua_State *L, struct op *op)
{
    struct subscription *s = container_of(op, struct listen_op, op)->s;
    lua_settop(L, 2); /* name, subscription */
    return push_subscribed(L, s);
}

static const struct op_type subscribe_type = {
    .name = "channel.subscribe", .cancel = cancel, .finish = finish_subscribe, .holds = 1};

static void push_metatable(lua_State *L)
{
    if (!luaL_newmetatable(L, METATABLE))
        return;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "close");
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_next);
    lua_setfield(L, -2, "__call");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

static int l_subscribe(lua_State *L)
{
    struct channel_hub *hub = lx_hub(L, "channel.subscribe");
    struct str name = lx_name(L);
    lua_settop(L, 1);
    struct subscription *s = lua_newuserdatauv(L, sizeof(*s), 0);
    memset(s, 0, sizeof(*s));
    list_init(&s->sub.node);
    list_init(&s->leaving.node);
    s->sub.on_news = on_news;
    s->leaving.leave = on_leaving;
    s->ending.end = on_ending;
    s->len = name.len;
    memcpy(s->name, name.ptr, name.len);
    push_metatable(L);
    lua_setmetatable(L, -2);
    s->inv = invocation_of(L);
    invocation_on_end(s->inv, &s->ending);
    struct hook *hook = told_hook(L);
    s->replayed = hook != NULL && hook_replays(hook);
    s->sub.state = CHANNEL_OPEN;
    if (!s->replayed && channel_subscribe(hub, name, &s->sub) != 0)
        return luaL_error(L, "channel.subscribe: too many subscriptions in this worker");
    if (s->sub.channel != NULL || s->replayed)
        list_push(&s->inv->leavings, &s->leaving.node);
    if (s->sub.state == CHANNEL_ASKED)
        return lx_wait(L, s, 2, &subscribe_type);
    return push_subscribed(L, s);
}

static const luaL_Reg functions[] = {
    {"publish", l_publish},
    {"subscribe", l_subscribe},
    {NULL, NULL},
};

int open_channel(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
