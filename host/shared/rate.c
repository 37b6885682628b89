/* Counting requests, for all workers together. */
#include "shared/rate.h"

#include <errno.h>
#include <sys/random.h>

#include "base/siphash.h"

int rate_table_init(struct rate_table *table)
{
    if (getrandom(table->key, sizeof(table->key), 0) != (ssize_t)sizeof(table->key))
        return -EIO;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < RATE_LOCKS; i++)
        rc = shared_lock_init(&table->locks[i]);
    return rc;
}

static bool is_live(const struct rate_caller *caller, uint64_t now_ms)
{
    return caller->ends_ms > now_ms;
}

/* The caller's place; else a free one; else that with the fewest requests. */
static struct rate_caller *find_place(struct rate_set *set, const struct siphash *name,
                                      uint64_t now_ms)
{
    struct rate_caller *best = &set->callers[0];
    for (unsigned i = 0; i < RATE_WAYS; i++) {
        struct rate_caller *caller = &set->callers[i];
        if (caller->name[0] == name->low && caller->name[1] == name->high)
            return caller;
        if (is_live(best, now_ms) && (!is_live(caller, now_ms) || caller->count < best->count))
            best = caller;
    }
    return best;
}

/* Forgets the caller in this place: what it counted, all that are not known count from now on. */
static void forget(struct rate_set *set, const struct rate_caller *caller, uint64_t now_ms)
{
    if (set->others_end_ms <= now_ms)
        set->others_count = 0;
    if (caller->count > set->others_count)
        set->others_count = caller->count;
    if (caller->ends_ms > set->others_end_ms)
        set->others_end_ms = caller->ends_ms;
}

static struct rate_caller *enter(struct rate_set *set, const struct siphash *name,
                                 uint64_t window_ms, uint64_t now_ms)
{
    struct rate_caller *caller = find_place(set, name, now_ms);
    bool known = caller->name[0] == name->low && caller->name[1] == name->high;
    if (known && is_live(caller, now_ms))
        return caller;
    if (!known && is_live(caller, now_ms))
        forget(set, caller, now_ms);
    bool crowded = !known && set->others_end_ms > now_ms;
    *caller = (struct rate_caller){.name = {name->low, name->high},
                                   .ends_ms = now_ms + window_ms,
                                   .count = crowded ? set->others_count : 0};
    return caller;
}

struct rate_verdict rate_take(struct rate_table *table, struct str name, unsigned limit,
                              uint64_t window_ms, uint64_t now_ms)
{
    struct siphash hash = siphash(table->key, name);
    struct rate_set *set = &table->sets[hash.low % RATE_SETS];
    struct shared_lock *lock = &table->locks[hash.low % RATE_LOCKS];
    shared_lock_take(lock);
    struct rate_caller *caller = enter(set, &hash, window_ms, now_ms);
    /* A reload may have made the window shorter. */
    if (caller->ends_ms > now_ms + window_ms)
        caller->ends_ms = now_ms + window_ms;
    struct rate_verdict verdict = {.pass = caller->count < limit,
                                   .reset_ms = caller->ends_ms - now_ms};
    caller->count += verdict.pass;
    verdict.remaining = caller->count < limit ? limit - (unsigned)caller->count : 0;
    shared_lock_give(lock);
    return verdict;
}
