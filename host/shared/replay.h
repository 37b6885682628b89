/* Proofs that were used: each may pass once, in whichever worker.
 *
 * A table of fixed size in shared memory, made before the workers are; an entry is a hash and the
 * time at which the proof is too old anyway. Nothing is evicted before that: where a proof finds no
 * place it is not let in. */
#ifndef LUAFN_SHARED_REPLAY_H
#define LUAFN_SHARED_REPLAY_H

#include "base/str.h"

enum replay_result { REPLAY_NEW, REPLAY_SEEN, REPLAY_FULL };

/* Makes the table; processes forked afterwards share it. Without this call each has its own. 0 or
 * -ENOMEM. */
int replay_setup(void) __attribute__((warn_unused_result));

/* Remembers (`who`, `id`) until that time. REPLAY_FULL also when there is no memory for a table. */
enum replay_result replay_admit(struct str who, struct str id, double now, double until);

#endif
