/* What workers and those who watch over them tell each other, in memory that all see. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "shared/lock.h"

/* A worker to its supervisor. */
struct worker_slot {
    _Atomic uint64_t
        heartbeat_ns;      /* CLOCK_MONOTONIC, written each time the loop's clock timer fires */
    _Atomic int ready;     /* 1: it serves */
    _Atomic int reloading; /* set with a SIGHUP, cleared when that has come to an end */
    _Atomic int last;      /* set before a SIGTERM after which nobody has these sockets */
    char running[LIMIT_RUNNING_NAME]; /* the function that runs right now; empty: none */
};

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
