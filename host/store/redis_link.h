/* One connection to a server that speaks Redis' protocol (RESP 2): commands go out together, a
 * turn of the loop at a time, and replies come back in the same order.
 *
 * It connects when there is something to send, and again after it was lost; after a failure not
 * before a pause that grows from 0.1 to 2 seconds, in which everything fails at once. While it
 * connects, commands wait. When no reply comes for LIMIT_KV_SERVER_MS although one is due, the
 * connection is given up. What is wrong is logged once an outage, and once in ten seconds. With
 * Sentinel in KV_URL it is asked for the primary each time before it connects. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "store/redis_server.h"

struct redis_link;
struct redisReply; /* of hiredis */

/* Called once for each redis_link_send, from the loop, never from within it. `reply`: valid during
 * the call; NULL when there is none, and `status` says why: STORE_UNREACHABLE (nothing was done),
 * STORE_LOST (it may have been done) or -ECANCELED. */
typedef void redis_on_reply(void *arg, struct list *node, const struct redisReply *reply,
                            int status);

/* For channels: what the server says unasked (["message", ...] and its like), valid during the
 * call. NULL: the connection is lost, and with it what was subscribed to. Only a command whose
 * reply is due finds out that the server is gone without a word: send PING now and then. */
typedef void redis_on_push(void *arg, const struct redisReply *reply);

struct redis_link_user {
    bool waits; /* its commands do, at the server: that it closes meanwhile is no fault */
    redis_on_reply *on_reply;
    redis_on_push *on_push; /* NULL: nothing is subscribed to */
    void *arg;
};

/* NULL when out of memory. The server is borrowed; the user is copied. */
struct redis_link *redis_link_new(uv_loop_t *loop, struct redis_server *server,
                                  const struct redis_link_user *user);

/* Sends the command of these parts; `node` is the caller's and is the link's until it is given
 * back. 0, -ENOMEM, STORE_UNREACHABLE, or STORE_FULL when too much waits already: then the node was
 * not taken. */
int redis_link_send(struct redis_link *link, struct list *node, const struct str *parts,
                    unsigned count) __attribute__((warn_unused_result));

/* The server refuses a command, by what it says: logged. */
void redis_link_tell(struct redis_link *link, const char *what);

/* Lets go of the connection: the server is none for us at the moment, and another may have its
 * name. All other nodes are given back. */
void redis_link_leave(struct redis_link *link, const char *why);

/* Gives back all nodes. Then, when the loop is empty, redis_link_free; NULL is fine there. */
void redis_link_close(struct redis_link *link);
void redis_link_free(struct redis_link *link);
