/* A recorded request, run again: the request is made from its record, and what the handler asks of
 * the outside is answered from there (journal/replayer.h).
 *
 *     rerun_open, function_call with r->ex, then rerun_turn until RERUN_OVER, rerun_compare
 *
 * Nothing else may run in the function meanwhile. Who may call it was judged when the request was
 * recorded, and its claims are in the record. */
#pragma once

#include <jansson.h>

#include "http/exchange.h"
#include "journal/journal.h"
#include "journal/replayer.h"
#include "run/function.h"

struct rerun {
    const json_t *record;      /* borrowed */
    struct replayer *replayer; /* owned */
    struct exchange *ex;       /* a reference */
    struct claims *claims;     /* owned; whoever makes the call takes them; NULL: there are none */
    struct job_call job;       /* what its handler is told, where the record has one: */
    bool is_job;
    struct buf streamed; /* owned: the body of an answer in pieces */
    bool answered;
};

/* Did a handler run for it? -EINVAL with why not. */
int rerun_check(const json_t *record, struct err *err) __attribute__((warn_unused_result));

/* Makes the request. `services` has the variables that stand in headers and body by name. 0, or
 * -EINVAL with why it cannot be run again, -ENOMEM; close it in either case. */
int rerun_open(struct rerun *r, const json_t *record, struct journal *journal,
               const struct services *services, struct err *err)
    __attribute__((warn_unused_result));
/* After the run is over. */
void rerun_close(struct rerun *r);

enum rerun_turn {
    RERUN_MOVED, /* something ended: there may be more at once */
    RERUN_BUSY,  /* the loop has work of it */
    RERUN_WAITS, /* for its deadline */
    RERUN_OVER
};

/* From the loop, with no script running: ends the next thing that the run waits for. */
enum rerun_turn rerun_turn(struct rerun *r, const struct function *function);

struct str rerun_body(const struct rerun *r);

/* Tells each difference between what was recorded and what this run answered, after redaction on
 * both sides: JSON by its values, other texts byte by byte, a fault by its message. Where the run
 * went another way (replayer_divergence) there is nothing to compare. */
typedef void rerun_differs(void *arg, const char *what, const char *was, const char *is);
void rerun_compare(const struct rerun *r, rerun_differs *differs, void *arg);
/* The answer's body as the journal would have it. NULL when out of memory. */
json_t *rerun_shown_body(const struct rerun *r);
