/* Counting requests, for all workers together: a table in shared memory.
 *
 * A caller's window begins with its first request and lasts so many seconds; `limit` requests pass
 * in it, exactly, however many workers count. What is refused does not count.
 *
 * The table is bounded. When a caller comes for whom there is no room, the one with the fewest
 * requests in its set is forgotten, and from then on every caller who is not known there counts as
 * one that has made as many: so nobody gets a fresh start by crowding the table, and a table that
 * is too small errs towards refusing. Names are hashed with a key that strangers do not know.
 *
 * A worker may be killed at any time: locks are robust, and a count that was being written is off
 * by one at most. The counts end with the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "shared/lock.h"
#include "base/str.h"

enum {
    RATE_WAYS = 15, /* callers of a set; with the set's own part it fills 8 lines of cache */
    RATE_SETS = LIMIT_RATE_CALLERS / (RATE_WAYS + 1),
    RATE_LOCKS = 64
};

struct rate_caller {
    uint64_t name[2]; /* hash */
    uint64_t ends_ms; /* of the window; a past one: the place is free */
    uint64_t count;
};

struct rate_set {
    struct rate_caller callers[RATE_WAYS];
    uint64_t others_end_ms, others_count; /* what callers count who are not in it */
    uint64_t unused[2];
};

struct rate_table {
    uint64_t key[2];
    struct shared_lock locks[RATE_LOCKS];
    struct rate_set sets[RATE_SETS];
};

struct rate_verdict {
    bool pass;
    unsigned remaining; /* requests that may still follow in this window */
    uint64_t reset_ms;  /* until the window ends */
};

/* `table` is zeroed memory that workers will share. 0 or a negative errno. */
int rate_table_init(struct rate_table *table) __attribute__((warn_unused_result));

/* Counts one request of the caller `name`; now_ms: any clock that all workers share. */
struct rate_verdict rate_take(struct rate_table *table, struct str name, unsigned limit,
                              uint64_t window_ms, uint64_t now_ms);
