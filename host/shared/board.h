/* Which runs of scheduled functions were taken: a table in shared memory (app/schedule.h has the
 * rules). */
#ifndef LUAFN_SHARED_BOARD_H
#define LUAFN_SHARED_BOARD_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"

struct schedule_slot {
    _Atomic uint64_t key;   /* hash of name and expression; 0: free */
    _Atomic int64_t last;   /* due time of the newest run, or when the slot was taken; 0: not yet */
    _Atomic int32_t runner; /* process that runs it now; 0: none */
};

struct schedule_board {
    struct schedule_slot slots[LIMIT_SCHEDULES];
};

/* Zeroed memory that children of this process share, or NULL. */
struct schedule_board *board_new(void);
void board_free(struct schedule_board *board);

#endif
