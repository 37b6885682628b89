/* Channels: what is published under a name reaches all who have subscribed to it, in all workers of
 * this host (shared/channels.h), or of all hosts where the store is a server (store.h).
 *
 * At most once, and in the order in which it was published. Nobody waits for anybody: each
 * subscriber has a queue, and one whose queue has no room left is dropped, with the reason. Texts
 * are held once, however many queues they are in. Nothing runs while nobody has subscribed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "base/str.h"

struct channel;
struct channel_hub;
struct channel_message;
struct store;

enum channel_state {
    CHANNEL_ASKED, /* the server has not said yet that it listens */
    CHANNEL_OPEN,
    CHANNEL_OVER,   /* who has subscribed goes, or the host does */
    CHANNEL_SLOW,   /* more came than its queue holds */
    CHANNEL_MISSED, /* this worker was so far behind that some are lost */
    CHANNEL_FAILED  /* the server does not listen: `status` */
};

/* In the subscriber's memory. */
struct channel_sub {
    enum channel_state state; /* from CHANNEL_OVER on it is in no channel, and its queue is empty */
    int status;
    struct channel *channel; /* NULL: in none */
    struct list node;
    struct channel_message **queue; /* a ring */
    unsigned first, count, room;    /* of it */
    size_t waiting;                 /* bytes in it */
    /* It is not as it was: there is a message, or another state. Must call nothing of these. */
    void (*on_news)(struct channel_sub *sub);
};

struct channel_stats {
    uint64_t published, delivered, dropped; /* the last: subscribers */
    uint64_t subscribers;                   /* now */
};

/* `store`: borrowed, and NULL where it is not a server. NULL when out of memory. */
struct channel_hub *channel_hub_new(uv_loop_t *loop);
/* Where others are heard; once, before anything else. NULL: on this host. */
void channel_hub_use(struct channel_hub *hub, struct store *server);
/* All subscriptions are over, also those that are to come. */
void channel_hub_drain(struct channel_hub *hub);
/* The same; then, when the loop is empty, channel_hub_free. NULL is fine for both. */
void channel_hub_close(struct channel_hub *hub);
void channel_hub_free(struct channel_hub *hub);
struct channel_stats channel_hub_stats(const struct channel_hub *hub);

/* Where others are heard, or NULL: then channel_publish is how to publish, else STORE_PUBLISH. */
struct store *channel_server(const struct channel_hub *hub);
void channel_count_published(struct channel_hub *hub);
/* 0 or a negative errno. */
int channel_publish(struct channel_hub *hub, struct str name, struct str text)
    __attribute__((warn_unused_result));

/* `sub` is zeroed but for on_news. 0, -ENOMEM, or -ENOSPC past LIMIT_CHANNEL_SUBSCRIBERS. */
int channel_subscribe(struct channel_hub *hub, struct str name, struct channel_sub *sub)
    __attribute__((warn_unused_result));
/* Leaves with that state, without a word; harmless where it has left. */
void channel_leave(struct channel_sub *sub, enum channel_state state);

/* The next message; false: there is none yet, or no more. Good until channel_take, which drops it.
 */
bool channel_first(const struct channel_sub *sub, struct str *text);
void channel_take(struct channel_sub *sub);
