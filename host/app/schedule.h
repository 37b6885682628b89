/* Who runs a scheduled function when it is due: exactly one of the workers, once.
 *
 * The board lies in memory that all workers share. It remembers, for each function and expression,
 * the newest due time that was taken; whoever moves it on has the run. So nothing is lost or
 * doubled while workers come and go: one that begins late takes what is still open. A worker that
 * dies in the middle of a run has had it. */
#pragma once

#include "http/exchange.h"
#include "options/cron.h"
#include "shared/board.h"

enum schedule_verdict {
    SCHEDULE_WAIT,     /* nothing is due, or another worker has it */
    SCHEDULE_RUN,      /* the caller runs it, then schedule_release */
    SCHEDULE_SET_BACK, /* the clock was: the schedule goes by its new time from here on */
    SCHEDULE_OVERLAP,  /* due, but the run before has not ended: skipped */
    SCHEDULE_FULL      /* the board has no room for one more */
};

struct schedule_turn {
    int64_t due; /* RUN and OVERLAP: which time this is for */
    bool missed; /* others before it were passed over: the host did not run, or slept */
    struct schedule_slot *slot; /* RUN */
};

/* What is open of a schedule whose newest due time that was taken is `last`: WAIT, SET_BACK, or RUN
 * with `due` and `missed`. */
enum schedule_verdict schedule_judge(const struct cron *cron, int64_t last, int64_t now,
                                     struct schedule_turn *out);

/* The board's place for it, made where there is none; NULL: the board is full. */
struct schedule_slot *schedule_slot(struct schedule_board *board, struct str name,
                                    struct str expression);

/* Takes the oldest open due time up to `now`; those that are later than LIMIT_SCHEDULE_LATE are
 * passed over but for the newest. A function is first due after it was first asked for. Where the
 * clock was set back, what has been run is not run again; unless that would be more than one turn
 * and last longer than LIMIT_SCHEDULE_BACK. Ask until the answer is SCHEDULE_WAIT. */
enum schedule_verdict schedule_take(struct schedule_board *board, struct str name,
                                    struct str expression, const struct cron *cron, int64_t now,
                                    struct schedule_turn *out);
/* SCHEDULE_FULL: said once, not at each look. */
void schedule_tell_full(struct str name, bool *told);
/* By the thread that took it. */
void schedule_release(struct schedule_slot *slot);

enum { SCHEDULE_TIME_BYTES = 64 };
/* "2026-01-02T03:04:05.000Z". */
struct str schedule_write_time(int64_t at, char text[SCHEDULE_TIME_BYTES]);
/* The same in the arena; ptr NULL when out of memory. */
struct str schedule_iso_time(struct arena *arena, int64_t at);
/* Makes ex->req the request of a run that was due then. 0 or -ENOMEM. */
int schedule_request(struct exchange *ex, const struct cron *cron, int64_t due)
    __attribute__((warn_unused_result));
