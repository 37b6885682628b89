/* What workers and those who watch over them tell each other, in memory that all see. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "shared/lock.h"

/* A worker to its supervisor. */
struct worker_slot {
    _Atomic uint64_t
        heartbeat_ns;  /* CLOCK_MONOTONIC, written each time the loop's clock timer fires */
    _Atomic int ready; /* 1: it serves */
    /* Counts SIGHUPs, before they are sent; and which of them has come to an end: what is served
     * since then has been given to who keeps it for the next worker. */
    _Atomic unsigned reload_asked, reload_ended;
    _Atomic int last; /* set before a SIGTERM after which nobody has these sockets */
    char running[LIMIT_RUNNING_NAME]; /* the function that runs right now; empty: none */
};

/* Something is asked for that no worker of this place has ended. */
static inline bool workers_reload_is_due(struct worker_slot *slot)
{
    return atomic_load(&slot->reload_ended) != atomic_load(&slot->reload_asked);
}

struct worker_table {
    _Atomic uint64_t kept; /* hash of what the supervisor keeps for the next worker (app/kept.h) */
    struct shared_lock
        leave; /* of a worker that makes room for another, to its end: one at a time */
    struct worker_slot slots[LIMIT_WORKERS];
};

/* A function that hung workers again and again. Written by the supervisor; `content` by the first
 * worker that reads it. */
struct suspension {
    _Atomic int active;
    char name[LIMIT_RUNNING_NAME];
    _Atomic uint64_t content; /* hash of the files at that time; when they change it is over */
};

struct suspension_table {
    struct suspension list[LIMIT_SUSPENSIONS];
};
