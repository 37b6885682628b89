/* Who has subscribed to what, and what waits for them. */
#include "channel/channel.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/siphash.h"
#include "shared/channels.h"
#include "store/store.h"

enum { BUCKETS = 1024 };

struct channel {
    struct channel_hub *hub;
    struct list node; /* of its bucket */
    struct list subs;
    bool heard; /* by the server's word */
    size_t len;
    char name[];
};

struct channel_message {
    struct list node; /* in the hub, in the order in which they came */
    struct channel *channel;
    unsigned refs;
    size_t len;
    char text[];
};

struct channel_hub {
    uv_loop_t *loop;
    struct store *server;
    struct list buckets[BUCKETS];
    struct list messages;
    size_t bytes; /* of them */
    struct channel_stats stats;
    bool draining;
    /* of a host alone */
    bool listening; /* thread and handle are there */
    uv_async_t news;
    uv_thread_t thread;
    _Atomic bool stop;
    uint32_t bell;
    uint64_t position;
    struct buf read;
};

/* ---- channels ---- */

static struct list *bucket_of(struct channel_hub *hub, struct str name)
{
    static const uint64_t key[2] = {0x6c7561666e2e6368, 0x616e6e656c730000};
    return &hub->buckets[siphash(key, name).low % BUCKETS];
}

static struct channel *find(struct channel_hub *hub, struct str name)
{
    struct list *bucket = bucket_of(hub, name);
    list_each(node, bucket)
    {
        struct channel *channel = container_of(node, struct channel, node);
        if (str_eq((struct str){channel->name, channel->len}, name))
            return channel;
    }
    return NULL;
}

static struct channel *make(struct channel_hub *hub, struct str name)
{
    struct channel *channel = malloc(sizeof(*channel) + name.len);
    if (channel == NULL)
        return NULL;
    channel->hub = hub;
    channel->heard = hub->server == NULL;
    channel->len = name.len;
    memcpy(channel->name, name.ptr, name.len);
    list_init(&channel->subs);
    list_push(bucket_of(hub, name), &channel->node);
    return channel;
}

static void drop_if_empty(struct channel *channel)
{
    struct store *server = channel->hub->server;
    if (!list_is_empty(&channel->subs))
        return;
    list_remove(&channel->node);
    if (server != NULL)
        (void)store_hear(server, (struct str){channel->name, channel->len}, false);
    free(channel);
}

/* ---- queues ---- */

static void unref(struct channel_hub *hub, struct channel_message *message)
{
    if (--message->refs > 0)
        return;
    list_remove(&message->node);
    hub->bytes -= message->len;
    free(message);
}

static unsigned place(const struct channel_sub *sub, unsigned index)
{
    unsigned at = sub->first + index;
    return at >= sub->room ? at - sub->room : at;
}

bool channel_first(const struct channel_sub *sub, struct str *text)
{
    if (sub->count == 0)
        return false;
    const struct channel_message *message = sub->queue[sub->first];
    *text = (struct str){message->text, message->len};
    return true;
}

void channel_take(struct channel_sub *sub)
{
    struct channel_message *message = sub->queue[sub->first];
    sub->first = place(sub, 1);
    sub->count--;
    sub->waiting -= message->len;
    unref(sub->channel->hub, message);
}

/* False: more waits than may, or there is no memory. */
static bool has_room(struct channel_sub *sub, size_t len)
{
    if (sub->count == LIMIT_CHANNEL_QUEUE || sub->waiting + len > LIMIT_CHANNEL_WAITING)
        return false;
    if (sub->count < sub->room)
        return true;
    unsigned room = sub->room > 0 ? sub->room * 2 : 4;
    struct channel_message **queue = malloc(room * sizeof(struct channel_message *));
    if (queue == NULL)
        return false;
    for (unsigned i = 0; i < sub->count; i++)
        queue[i] = sub->queue[place(sub, i)];
    free(sub->queue);
    sub->queue = queue;
    sub->first = 0;
    sub->room = room;
    return true;
}

void channel_leave(struct channel_sub *sub, enum channel_state state)
{
    struct channel *channel = sub->channel;
    if (channel == NULL)
        return;
    while (sub->count > 0)
        channel_take(sub);
    free(sub->queue);
    sub->queue = NULL;
    sub->room = 0;
    list_remove(&sub->node);
    sub->channel = NULL;
    sub->state = state;
    channel->hub->stats.subscribers--;
    channel->hub->stats.dropped += state == CHANNEL_SLOW || state == CHANNEL_MISSED;
    drop_if_empty(channel);
}

static void leave_and_tell(struct channel_sub *sub, enum channel_state state)
{
    channel_leave(sub, state);
    sub->on_news(sub);
}

/* Each in turn: whoever is told must not touch others. A channel goes with its last one. */
static void end_all(struct channel_hub *hub, enum channel_state state)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (!list_is_empty(&hub->buckets[i])) {
            struct channel *channel = container_of(hub->buckets[i].next, struct channel, node);
            leave_and_tell(container_of(channel->subs.next, struct channel_sub, node), state);
        }
    }
}

static void enqueue(struct channel_sub *sub, struct channel_message *message)
{
    if (!has_room(sub, message->len)) {
        leave_and_tell(sub, CHANNEL_SLOW);
        return;
    }
    sub->queue[place(sub, sub->count)] = message;
    message->refs++;
    sub->count++;
    sub->waiting += message->len;
    message->channel->hub->stats.delivered++;
    sub->on_news(sub);
}

/* All of them together hold too much: who has not taken the oldest is dropped. */
static void make_room(struct channel_hub *hub)
{
    while (hub->bytes > LIMIT_CHANNEL_MEMORY) {
        struct channel_message *oldest =
            container_of(hub->messages.next, struct channel_message, node);
        /* Who holds the oldest lets go of it, and it leaves the list: the check does not see that.
         */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        struct channel *channel = oldest->channel;
        oldest->refs++; /* while it is looked at */
        list_each(node, &channel->subs)
        {
            struct channel_sub *sub = container_of(node, struct channel_sub, node);
            bool last = node_next == &channel->subs; /* the channel may go with it */
            if (sub->count > 0 && sub->queue[sub->first] == oldest)
                leave_and_tell(sub, CHANNEL_SLOW);
            if (last)
                break;
        }
        unref(hub, oldest);
    }
}

static void deliver(struct channel_hub *hub, struct str name, struct str text)
{
    struct channel *channel = find(hub, name);
    struct channel_message *message = channel != NULL ? malloc(sizeof(*message) + text.len) : NULL;
    if (message == NULL)
        return;
    message->channel = channel;
    message->refs = 1;
    message->len = text.len;
    memcpy(message->text, text.ptr, text.len);
    list_push(&hub->messages, &message->node);
    hub->bytes += text.len;
    list_each(node, &channel->subs)
    {
        bool last = node_next == &channel->subs;
        enqueue(container_of(node, struct channel_sub, node), message);
        if (last)
            break;
    }
    unref(hub, message);
    make_room(hub);
}

/* ---- this host's workers ---- */

static void listen_for_bell(void *arg)
{
    struct channel_hub *hub = arg;
    uint32_t seen = hub->bell;
    while (!atomic_load(&hub->stop)) {
        channels_wait(seen);
        uint32_t now = channels_bell();
        if (now != seen)
            uv_async_send(&hub->news);
        seen = now;
    }
}

/* What is more than one reading goes on in the next turn. */
static void on_news(uv_async_t *async)
{
    struct channel_hub *hub = container_of(async, struct channel_hub, news);
    struct str rest, name, text;
    bool missed;
    buf_clear(&hub->read);
    if (!channels_read(&hub->position, &hub->read, &missed))
        return;
    if (missed || buf_failed(&hub->read)) {
        buf_free(&hub->read);
        end_all(hub, CHANNEL_MISSED);
    }
    rest = buf_str(&hub->read);
    while (channels_take(&rest, &name, &text))
        deliver(hub, name, text);
    uv_async_send(async);
}

/* The thread gets none of the process' signals. */
static int begin_thread(struct channel_hub *hub)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = uv_thread_create(&hub->thread, listen_for_bell, hub);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static int listen_to_ring(struct channel_hub *hub)
{
    if (hub->listening)
        return 0;
    hub->bell = channels_bell(); /* before the position: nothing in between is slept over */
    if (channels_position(&hub->position) != 0 ||
        uv_async_init(hub->loop, &hub->news, on_news) != 0)
        return -ENOMEM;
    uv_unref((uv_handle_t *)&hub->news);
    hub->listening = begin_thread(hub) == 0;
    if (!hub->listening)
        uv_close((uv_handle_t *)&hub->news, NULL);
    return hub->listening ? 0 : -ENOMEM;
}

/* ---- a server ---- */

static void on_message(void *arg, struct str name, struct str text)
{
    deliver(arg, name, text);
}

/* The server listens, or does not: then who waits for that hears so. Who was heard before waits on.
 */
static void on_heard(void *arg, struct str name, int status)
{
    struct channel *channel = find(arg, name);
    if (channel == NULL)
        return;
    channel->heard = channel->heard || status == 0;
    list_each(node, &channel->subs)
    {
        struct channel_sub *sub = container_of(node, struct channel_sub, node);
        bool last = node_next == &channel->subs;
        if (sub->state == CHANNEL_ASKED && status != 0) {
            sub->status = status;
            leave_and_tell(sub, CHANNEL_FAILED);
        } else if (sub->state == CHANNEL_ASKED) {
            sub->state = CHANNEL_OPEN;
            sub->on_news(sub);
        }
        if (last)
            break;
    }
}

static bool on_lost(void *arg)
{
    struct channel_hub *hub = arg;
    bool all = true;
    for (unsigned i = 0; i < BUCKETS; i++) {
        list_each(node, &hub->buckets[i])
        {
            const struct channel *channel = container_of(node, struct channel, node);
            const struct str name = {channel->name, channel->len};
            all = all && store_hear(hub->server, name, true) == 0;
        }
    }
    return all;
}

/* ---- the interface ---- */

struct channel_hub *channel_hub_new(uv_loop_t *loop)
{
    struct channel_hub *hub = calloc(1, sizeof(*hub));
    if (hub == NULL)
        return NULL;
    hub->loop = loop;
    list_init(&hub->messages);
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&hub->buckets[i]);
    return hub;
}

void channel_hub_use(struct channel_hub *hub, struct store *server)
{
    hub->server = server;
    if (server != NULL)
        server->listener = (struct store_listener){
            .message = on_message, .heard = on_heard, .lost = on_lost, .arg = hub};
}

struct store *channel_server(const struct channel_hub *hub)
{
    return hub->server;
}

void channel_count_published(struct channel_hub *hub)
{
    hub->stats.published++;
}

int channel_publish(struct channel_hub *hub, struct str name, struct str text)
{
    int rc = channels_publish(name, text);
    hub->stats.published += rc == 0;
    return rc;
}

int channel_subscribe(struct channel_hub *hub, struct str name, struct channel_sub *sub)
{
    list_init(&sub->node);
    sub->state = CHANNEL_OVER;
    if (hub->draining)
        return 0;
    if (hub->stats.subscribers >= LIMIT_CHANNEL_SUBSCRIBERS)
        return -ENOSPC;
    if (hub->server == NULL && listen_to_ring(hub) != 0)
        return -ENOMEM;
    struct channel *channel = find(hub, name);
    bool is_new = channel == NULL;
    if (is_new)
        channel = make(hub, name);
    if (channel == NULL)
        return -ENOMEM;
    list_push(&channel->subs, &sub->node);
    sub->channel = channel;
    sub->state = channel->heard ? CHANNEL_OPEN : CHANNEL_ASKED;
    hub->stats.subscribers++;
    sub->status = is_new && hub->server != NULL ? store_hear(hub->server, name, true) : 0;
    if (sub->status != 0)
        channel_leave(sub, CHANNEL_FAILED);
    return 0;
}

void channel_hub_drain(struct channel_hub *hub)
{
    hub->draining = true;
    end_all(hub, CHANNEL_OVER);
}

void channel_hub_close(struct channel_hub *hub)
{
    if (hub == NULL)
        return;
    channel_hub_drain(hub);
    if (!hub->listening)
        return;
    atomic_store(&hub->stop, true);
    channels_ring_bell();
    uv_thread_join(&hub->thread);
    uv_close((uv_handle_t *)&hub->news, NULL);
    hub->listening = false;
}

void channel_hub_free(struct channel_hub *hub)
{
    if (hub == NULL)
        return;
    buf_free(&hub->read);
    free(hub);
}

struct channel_stats channel_hub_stats(const struct channel_hub *hub)
{
    return hub->stats;
}
