/* Runs a recorded request again: answers each call of the script with what the record has, in the
 * recorded order, and tells where the script first asks for something else.
 *
 * Calls are matched task by task: the next one of a task must be the next that the record has of
 * it, with the same name and the same arguments. What the host answered at once is answered at
 * once; the others end in the order in which they ended, one with each replayer_step. */
#pragma once

#include <jansson.h>

#include "journal/hook.h"
#include "journal/journal.h"

struct replayer;

/* `record` and `journal`, whose names are redacted and whose key hashes variables, are borrowed.
 * NULL when out of memory. */
struct replayer *replayer_new(const json_t *record, struct journal *journal);
void replayer_free(struct replayer *replayer);

/* Listens to the exchange. */
void replayer_listen(struct replayer *replayer, struct exchange *ex);

/* Ends the next call that waits. False: none can end now. */
bool replayer_step(struct replayer *replayer);
/* Nothing runs and none can end: the call whose turn it is was never made. False: there is none. */
bool replayer_skip(struct replayer *replayer);

/* Where the run first differed from the record, or ptr NULL; to be asked at its end. */
struct str replayer_divergence(struct replayer *replayer);
/* A variable that has another value than it had, or ptr NULL. */
struct str replayer_changed_env(const struct replayer *replayer);
/* The run's fault: message, ptr NULL: there was none. */
struct str replayer_fault(const struct replayer *replayer);
unsigned replayer_calls(const struct replayer *replayer);
struct redact *replayer_redact(struct replayer *replayer);
