/* The journal on disk: where records are kept, and for how long.
 *
 * A folder of files of lines, `.luafn/journal/`, for all workers; each writes to files of its own,
 * a line with one write: what ends the process in the middle of it loses that record alone. The
 * oldest files go when there is more than rules.keep. Files and folder are for their owner only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "journal/redact.h"

struct journal_rules {
    bool on;
    bool all;      /* `dev`: every request, the last LIMIT_JOURNAL_DEV */
    bool errors;   /* status 500 and above, and runs that failed */
    double sample; /* the share of the others, 0 to 1 */
    uint64_t keep; /* bytes on disk */
};

struct journal;

/* `folder` is made where it is missing; `worker` of `workers`. NULL when out of memory. */
struct journal *journal_new(const char *folder, unsigned worker, unsigned workers);
void journal_free(struct journal *journal);

/* From now on. `names` are copied. 0 or -ENOMEM: then it is off. */
int journal_set_rules(struct journal *journal, const struct journal_rules *rules,
                      const struct str *names, unsigned name_count)
    __attribute__((warn_unused_result));
const struct journal_rules *journal_rules(const struct journal *journal);
/* A new reference, or NULL. */
struct redact_names *journal_names(struct journal *journal);

/* Is this request one of the sample? */
bool journal_draws(struct journal *journal);

/* A record without its end of line, which is added. What cannot be written is counted, and told
 * once a minute. */
void journal_write(struct journal *journal, struct str line);

/* A hash of a variable's value that only this folder's key gives; 0: there is none. */
uint64_t journal_hash(const struct journal *journal, struct str value);
