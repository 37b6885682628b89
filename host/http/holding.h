/* Bytes that a worker holds for its clients: of requests that have not come in full, and of answers
 * that have not been taken (functions.lua limits.memory).
 *
 * Each exchange says how much it holds. The list of those that hold something is in the order in
 * which their clients last moved, so that who has to go, when all together hold too much, is found
 * at its beginning. This module counts only; host/server decides. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct holdings { /* a worker's */
    size_t limit;
    size_t mark; /* full from here on: before the limit, so that what is under way keeps below it */
    size_t bytes, count;
    struct list list; /* struct holding; who has not moved for longest comes first */
};

struct holding { /* an exchange's */
    struct list node;
    size_t bytes;
    uint64_t moved_at; /* of the caller's clock; before it has moved, when it came here */
};

void holdings_init(struct holdings *all, size_t limit);
void holding_init(struct holding *one);

/* From now on `one` holds `bytes`; 0: it is out of the list. */
void holding_set(struct holdings *all, struct holding *one, size_t bytes, uint64_t now);

/* Its client has sent or taken something. */
void holding_moved(struct holdings *all, struct holding *one, uint64_t now);

/* Is there no room for what is large? */
static inline bool holdings_are_full(const struct holdings *all)
{
    return all->bytes >= all->mark;
}

/* Is there none at all? */
static inline bool holdings_are_over(const struct holdings *all)
{
    return all->bytes >= all->limit;
}
