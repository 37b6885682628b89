/* Which number a version of a function has, the same in all workers: a table in shared memory.
 *
 * Each worker loads for itself. The first one to load something new gives it the next number; the
 * others, and those that replace a dead worker, find the number by the content. A number never
 * comes back: content that was there before, and was replaced meanwhile, is a version of its own.
 *
 * A worker may be killed at any time: the lock is robust, and an entry is complete before it is
 * counted. The numbers end with the program. */
#pragma once

#include <stdint.h>

#include "base/limits.h"
#include "shared/lock.h"
#include "base/str.h"

enum { GENERATIONS_KEPT = 8 }; /* of a function: how far workers may be apart */

struct generation_row {
    uint64_t name;                      /* hash; 0: free */
    uint64_t content[GENERATIONS_KEPT]; /* of generation g at [g % GENERATIONS_KEPT] */
    uint32_t newest;
};

struct generation_table {
    struct shared_lock lock;
    struct generation_row rows[LIMIT_GENERATION_ROWS];
};

/* `table` is zeroed memory that workers will share. 0 or a negative errno. */
int generations_init(struct generation_table *table) __attribute__((warn_unused_result));

/* The number of this content of the function `name`, for a worker that has `current` now (0: none):
 * a greater one. Without a table, or when it is full: the next. */
uint32_t generations_number(struct generation_table *table, struct str name, uint64_t content,
                            uint32_t current);
