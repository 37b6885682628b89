/* Which unknown kid may cause a fetch of the key set.
 *
 * Anybody can write a kid into a token. So a fetch that does not bring what was asked for begins a
 * cooldown; see issuer.h for the rule. Pure: the caller tells the time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "base/limits.h"

/* All zero: open. */
struct kid_gate {
    uint64_t unknown[LIMIT_KEYS_UNKNOWN]; /* hashes of kids that no fetch has brought */
    double unknown_until[LIMIT_KEYS_UNKNOWN];
    unsigned next; /* the entry to overwrite */
    double cooldown_end;
    double quiet_end; /* no second fetch before: a flood shows itself in that time */
    unsigned missed;  /* fetches of this cooldown */
    unsigned refused; /* kids refused in this cooldown */
};

/* May this kid cause a fetch now? */
bool kid_gate_admit(struct kid_gate *gate, struct str kid, double now);
/* A fetch for this kid did not bring it (`known_missing`), or failed. */
void kid_gate_missed(struct kid_gate *gate, struct str kid, bool known_missing, double now);
