/* Everything that the processes of a host share in memory, and what of it another program goes on
 * with after an upgrade.
 *
 * One list (carried.c) names each table, with the version under which it may be carried over. The
 * tables that may lie in one file without a name, which begins with a directory of them; its
 * descriptor is handed over. The new program goes on with each table that it knows under that name,
 * version and size, while the old one still uses it, and puts those that it finds no such table for
 * behind the others. */
#pragma once

#include "shared/board.h"
#include "shared/channels.h"
#include "shared/delivery.h"
#include "shared/generations.h"
#include "shared/metrics.h"
#include "shared/nonce_secret.h"
#include "shared/rate.h"
#include "shared/replay.h"
#include "shared/revocations.h"
#include "shared/workers.h"

struct carried_directory;

struct carried {
    int fd;                              /* owned */
    struct carried_directory *directory; /* the whole file, mapped */
    size_t bytes;                        /* of it, as far as this program uses it */
    /* The tables: */
    struct schedule_board *board;
    struct rate_table *rates;
    struct generation_table *generations;
    struct replay_table *proofs;
    struct nonce_secret *nonces;
    struct delivery_table *deliveries;
    struct revocation_table *revocations;
    struct suspension_table *suspensions;
    struct channel_ring *channels;
    struct metrics *metrics;
    struct worker_table *workers; /* not carried: this program's own */
    unsigned first_page;          /* of this program's workers, in metrics */
    unsigned half;                /* of the pages: programs in turn have one each */
};

/* `fd`: what another program has handed over, taken over in any case; -1: none. 0 or a negative
 * errno. */
int carried_open(struct carried *carried, int fd, unsigned workers)
    __attribute__((warn_unused_result));
/* This program serves: the next one gets the other pages of the metrics. */
void carried_settle(struct carried *carried);
void carried_close(struct carried *carried);
