/* Memory of the workers that an upgraded program goes on with: metrics, rate limits, which
 * scheduled runs were taken, numbers of generations. A file without a name; its descriptor is
 * handed over. */
#ifndef LUAFN_SHARED_CARRIED_H
#define LUAFN_SHARED_CARRIED_H

#include "shared/metrics.h"
#include "shared/generations.h"
#include "shared/board.h"
#include "shared/rate.h"

struct carried_memory;

struct carried {
    int fd; /* owned */
    struct carried_memory *memory;
    struct schedule_board *board;
    struct rate_table *rates;
    struct generation_table *generations;
    struct metrics *metrics;
    unsigned first_page; /* of this program's workers, in metrics */
};

/* `fd`: what another program has handed over; it is taken up where that was built alike and had as
 * many workers, else closed. -1: none. 0 or a negative errno. */
int carried_open(struct carried *carried, int fd, unsigned workers)
    __attribute__((warn_unused_result));
void carried_close(struct carried *carried);

#endif
