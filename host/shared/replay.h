/* Proofs that were used: each may pass once, in whichever worker.
 *
 * A table of fixed size in shared memory; an entry is a hash and the
 * time at which the proof is too old anyway. Nothing is evicted before that: where a proof finds no
 * place it is not let in. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"

enum { REPLAY_WAYS = 8, REPLAY_SETS = LIMIT_DPOP_PROOFS / REPLAY_WAYS };

struct replay_table {
    _Atomic uint64_t sets[REPLAY_SETS][REPLAY_WAYS];
};

enum replay_result { REPLAY_NEW, REPLAY_SEEN, REPLAY_FULL };

/* From now on this process uses that one: zeroed memory to begin with, borrowed. Without this call
 * it has one of its own. */
void replay_share(struct replay_table *table);

enum { REPLAY_NAME = 32 };

/* Remembers (`who`, `id`) until that time. REPLAY_FULL also when there is no memory for a table.
 * `name`: NULL, or is filled with what both are to other machines, too: REPLAY_NAME bytes. */
enum replay_result replay_admit(struct str who, struct str id, double now, double until,
                                unsigned char *name);
