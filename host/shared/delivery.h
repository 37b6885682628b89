/* Deliveries of webhooks: each is run once, in whichever worker.
 *
 * A table of fixed size in shared memory. Who begins a delivery has it on lease and renews that
 * while it runs: when its worker dies, the lease ends, and a repeat runs. When it ends well it
 * counts, and is remembered for so long; else it is forgotten. Nothing that is remembered is driven
 * out: where a delivery finds no place it is not begun, and the sender has to come again. Names are
 * hashed with a key that strangers do not know; the locks are robust. */
#pragma once

#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "shared/lock.h"

enum {
    DELIVERY_WAYS = 32, /* of a set: 1 KiB */
    DELIVERY_SETS = LIMIT_DELIVERIES / DELIVERY_WAYS,
    DELIVERY_LOCKS = 64
};

struct delivery_entry {
    uint64_t name[2];  /* hash */
    uint64_t until_ms; /* a past one: the place is free */
    uint64_t run;      /* who has it; 0: it counts */
};

struct delivery_table {
    uint64_t key[2];
    struct shared_lock locks[DELIVERY_LOCKS];
    _Atomic uint64_t runs; /* so far */
    struct delivery_entry sets[DELIVERY_SETS][DELIVERY_WAYS];
};

enum delivery_result {
    DELIVERY_NEW,     /* it is the caller's to run; then delivery_end */
    DELIVERY_RUNNING, /* somebody runs it */
    DELIVERY_DONE,    /* it counts already */
    DELIVERY_FULL     /* nothing is remembered of it */
};

/* One that was begun. */
struct delivery_run {
    uint64_t name[2], run;
};

/* `table` is zeroed memory that workers will share. 0 or a negative errno. */
int delivery_table_init(struct delivery_table *table) __attribute__((warn_unused_result));

/* now_ms: any clock that all workers share. *out is filled for DELIVERY_NEW. */
enum delivery_result delivery_begin(struct delivery_table *table, struct str name,
                                    uint64_t lease_ms, uint64_t now_ms, struct delivery_run *out);
/* Still running. Does nothing where the lease has ended and another has it. */
void delivery_renew(struct delivery_table *table, const struct delivery_run *run, uint64_t lease_ms,
                    uint64_t now_ms);
/* It counts for keep_ms, or, 0, not at all. */
void delivery_end(struct delivery_table *table, const struct delivery_run *run, uint64_t keep_ms,
                  uint64_t now_ms);
