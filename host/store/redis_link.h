/* One connection to a server that speaks Redis' protocol (RESP 2): commands go out together, a
 * turn of the loop at a time, and replies come back in the same order.
 *
 * It connects when there is something to send, and again after it was lost; after a failure not
 * before a pause that grows from 0.1 to 2 seconds, in which everything fails at once. While it
 * connects, commands wait. When no reply comes for LIMIT_KV_SERVER_MS although one is due, the
 * connection is given up. What is wrong is logged once an outage, and once in ten seconds. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "store/redis_url.h"

struct redis_link;
struct redisReply; /* of hiredis */

/* Called once for each redis_link_send, from the loop, never from within it. `reply`: valid during
 * the call; NULL when there is none, and `status` says why: STORE_UNREACHABLE (nothing was done),
 * STORE_LOST (it may have been done) or -ECANCELED. */
typedef void redis_on_reply(void *arg, struct list *node, const struct redisReply *reply,
                            int status);

/* What the log was told of a server, by all links to it. Zero to begin with. */
struct redis_voice {
    bool down_told;    /* it says that it is down */
    uint64_t quiet_ms; /* of the loop's clock: no line before */
};

/* NULL when out of memory. Address and voice are borrowed. `waits`: for commands that the server
 * lets wait: that it closes the connection meanwhile is no fault. */
struct redis_link *redis_link_new(uv_loop_t *loop, const struct redis_address *address,
                                  struct redis_voice *voice, bool waits, redis_on_reply *on_reply,
                                  void *arg);

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
