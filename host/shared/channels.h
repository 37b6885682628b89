/* What was published on channels, as all processes of a host see it: one ring of messages in shared
 * memory, in one order.
 *
 * Whoever publishes appends, and rings; whoever listens reads on from a position of his own, so
 * that nobody waits for anybody. Who falls behind by more than the ring holds has missed something,
 * and is told so. A process that dies while it appends has appended nothing. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "shared/lock.h"

struct channel_ring {
    struct shared_lock lock;
    _Atomic uint32_t bell; /* changes with each message: a futex */
    _Atomic uint64_t end;  /* bytes that were ever appended */
    char bytes[LIMIT_CHANNEL_RING];
};

/* Of zeroed memory. 0 or a negative errno. */
int channels_init(struct channel_ring *ring) __attribute__((warn_unused_result));

/* From now on this process uses that one: borrowed. Without this call it has one of its own, from
 * when it is first needed. */
void channels_share(struct channel_ring *ring);

/* All that listen get it. 0, -EMSGSIZE past LIMIT_CHANNEL_NAME or LIMIT_CHANNEL_TEXT, or -ENOMEM.
 */
int channels_publish(struct str name, struct str text) __attribute__((warn_unused_result));

/* Where what is published from now on will lie; 0 or -ENOMEM. */
int channels_position(uint64_t *position) __attribute__((warn_unused_result));

/* Appends what was published from there on to `out`, about LIMIT_CHANNEL_READ bytes of it, and
 * moves the position: true if there was any. *missed: something in between is gone. */
bool channels_read(uint64_t *position, struct buf *out, bool *missed);

/* Takes a message off the front of what was read; false at its end. */
bool channels_take(struct str *rest, struct str *name, struct str *text);

/* For a thread that waits: the bell as it is now, and sleeps until it is another one. May return
 * early. */
uint32_t channels_bell(void);
void channels_wait(uint32_t bell);
/* Wakes all that wait. */
void channels_ring_bell(void);
