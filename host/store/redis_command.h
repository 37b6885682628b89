/* Requests to the store as commands of Redis, and what is where on the server.
 *
 * PREFIX:kv:{SPACE} is a sorted set of a namespace's keys; at the same name with :KEY is each of
 * their values, so that all of a namespace is in one slot of a cluster. With ! there is a sorted
 * set of the keys that expire, by a second later (the server's clocks differ within a script); each
 * write that adds to it removes some that are gone. A value is "t" and a text, "j" and JSON, or an
 * integer's digits as they are, which INCRBY takes. PREFIX:rate:CALLER is how many requests passed.
 * PREFIX:once:NAME is there while NAME may not be used again, PREFIX:secret:NAME what all have
 * alike. PREFIX:channel:NAME is a channel. PREFIX:revoked is a stream of revocations, of which
 * whoever adds one removes those that are old.
 * PREFIX:{queue} begins the names of the queue (redis_jobs.h) and of schedules (redis_due.h),
 * PREFIX:keys: those of key sets (redis_keys.h).
 */
#pragma once

#include "base/buf.h"
#include "store/redis_parts.h"
#include "store/redis_url.h"
#include "store/store.h"

struct redis_command {
    struct str parts[REDIS_PARTS]; /* in the text that was passed */
    unsigned count;
};

/* 0 or -ENOMEM. Replies: GET a string or nil; LIST whether there are more, the last key looked at,
 * and those that are there; INCR the number as text; COUNT whether it may pass, how many may
 * follow, and the milliseconds that the window lasts; ONCE OK or nil; SECRET a string; REVOKED nil,
 * or as XREAD; the others 1 or 0.
 */
int redis_command_make(struct buf *text, const char *prefix, const struct store_request *q,
                       struct redis_command *out) __attribute__((warn_unused_result));

/* Appends what begins a connection: the login, the database, with Sentinel what the server's role
 * is (an array), and a question that the server answers when it is ready. How many replies are due
 * for it. */
unsigned redis_command_greet(struct buf *out, const struct redis_address *address);

/* Appends the login alone, which an address with a password has: one reply. */
void redis_command_login(struct buf *out, const struct redis_address *address);

/* Appends the parts as they go over the wire. */
void redis_command_write(struct buf *out, const struct str *parts, unsigned count);

/* Empties a buffer of commands, and lets go of what a few large ones needed. */
void redis_command_clear(struct buf *text);

/* Digits of an integer of 64 bits in its one form. */
bool redis_is_integer(struct str text);
