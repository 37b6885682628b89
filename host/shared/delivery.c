/* Deliveries of webhooks: see delivery.h. */
#include "shared/delivery.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/random.h>

#include "base/siphash.h"

int delivery_table_init(struct delivery_table *table)
{
    if (getrandom(table->key, sizeof(table->key), 0) != (ssize_t)sizeof(table->key))
        return -EIO;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < DELIVERY_LOCKS; i++)
        rc = shared_lock_init(&table->locks[i]);
    return rc;
}

static struct shared_lock *lock_of(struct delivery_table *table, const uint64_t name[2])
{
    return &table->locks[name[0] % DELIVERY_SETS % DELIVERY_LOCKS];
}

static bool is_named(const struct delivery_entry *entry, const uint64_t name[2])
{
    return entry->name[0] == name[0] && entry->name[1] == name[1];
}

/* The entry of that name if it is there and has not ended; else *free_place, which may be NULL. */
static struct delivery_entry *find(struct delivery_table *table, const uint64_t name[2],
                                   uint64_t now_ms, struct delivery_entry **free_place)
{
    struct delivery_entry *set = table->sets[name[0] % DELIVERY_SETS];
    *free_place = NULL;
    for (unsigned i = 0; i < DELIVERY_WAYS; i++) {
        bool live = set[i].until_ms > now_ms;
        if (live && is_named(&set[i], name))
            return &set[i];
        if (!live && *free_place == NULL)
            *free_place = &set[i];
    }
    return NULL;
}

enum delivery_result delivery_begin(struct delivery_table *table, struct str name,
                                    uint64_t lease_ms, uint64_t now_ms, struct delivery_run *out)
{
    struct siphash hash = siphash(table->key, name);
    struct delivery_entry *place;
    enum delivery_result result = DELIVERY_FULL;
    *out = (struct delivery_run){.name = {hash.low, hash.high},
                                 .run = atomic_fetch_add(&table->runs, 1) + 1};
    struct shared_lock *lock = lock_of(table, out->name);
    shared_lock_take(lock);
    const struct delivery_entry *entry = find(table, out->name, now_ms, &place);
    if (entry != NULL) {
        result = entry->run == 0 ? DELIVERY_DONE : DELIVERY_RUNNING;
    } else if (place != NULL) {
        /* The time comes last: who dies before has left a free place. */
        place->until_ms = 0;
        place->name[0] = hash.low;
        place->name[1] = hash.high;
        place->run = out->run;
        atomic_signal_fence(memory_order_seq_cst);
        place->until_ms = now_ms + lease_ms;
        result = DELIVERY_NEW;
    }
    shared_lock_give(lock);
    return result;
}

/* The caller's own, though its lease has ended: nobody has come since. */
static struct delivery_entry *find_own(struct delivery_table *table, const struct delivery_run *run)
{
    struct delivery_entry *set = table->sets[run->name[0] % DELIVERY_SETS];
    for (unsigned i = 0; i < DELIVERY_WAYS; i++) {
        if (is_named(&set[i], run->name) && set[i].run == run->run)
            return &set[i];
    }
    return NULL;
}

void delivery_renew(struct delivery_table *table, const struct delivery_run *run, uint64_t lease_ms,
                    uint64_t now_ms)
{
    struct shared_lock *lock = lock_of(table, run->name);
    shared_lock_take(lock);
    struct delivery_entry *own = find_own(table, run), *place;
    const struct delivery_entry *live = find(table, run->name, now_ms, &place);
    if (own != NULL && (live == NULL || live == own))
        own->until_ms = now_ms + lease_ms;
    shared_lock_give(lock);
}

void delivery_end(struct delivery_table *table, const struct delivery_run *run, uint64_t keep_ms,
                  uint64_t now_ms)
{
    struct shared_lock *lock = lock_of(table, run->name);
    shared_lock_take(lock);
    struct delivery_entry *entry = find_own(table, run);
    if (entry != NULL) {
        entry->run = 0;
        entry->until_ms = keep_ms > 0 ? now_ms + keep_ms : 0;
    }
    shared_lock_give(lock);
}
