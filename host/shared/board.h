/* Which runs of scheduled functions were taken: a table in shared memory (app/schedule.h has the
 * rules). */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "shared/lock.h"

struct schedule_slot {
    _Atomic uint64_t key; /* hash of name and expression; 0: free */
    _Atomic int64_t last; /* due time of the newest run, or when the slot was taken; 0: not yet */
    struct shared_lock running; /* whoever runs it holds this; the dead let go of it */
};

struct schedule_board {
    struct schedule_slot slots[LIMIT_SCHEDULES];
};

/* `board` is zeroed memory that workers will share. 0 or a negative errno. */
int board_init(struct schedule_board *board) __attribute__((warn_unused_result));

/* One that children of this process share, or NULL. */
struct schedule_board *board_new(void);
void board_free(struct schedule_board *board);
