/* Which unknown kid may cause a fetch of the key set. */
#include "issuer/kid_gate.h"

/* Long enough for a flood to be refused LIMIT_KEYS_FLOOD times, too short for a person to notice.
 */
static const double QUIET = 0.05;

static bool is_unknown(const struct kid_gate *gate, struct str kid, double now)
{
    uint64_t hash = str_hash(kid);
    for (unsigned i = 0; i < LIMIT_KEYS_UNKNOWN; i++)
        if (gate->unknown[i] == hash && now < gate->unknown_until[i])
            return true;
    return false;
}

bool kid_gate_admit(struct kid_gate *gate, struct str kid, double now)
{
    if (now >= gate->cooldown_end)
        gate->missed = gate->refused = 0;
    if (is_unknown(gate, kid, now))
        return false; /* says nothing about other kids: it is not counted */
    if (gate->missed == 0)
        return true;
    if (now >= gate->quiet_end && gate->missed < LIMIT_KEYS_STRAYS &&
        gate->refused < LIMIT_KEYS_FLOOD)
        return true;
    gate->refused++;
    return false;
}

void kid_gate_missed(struct kid_gate *gate, struct str kid, bool known_missing, double now)
{
    if (gate->missed++ == 0)
        gate->cooldown_end = now + LIMIT_KEYS_COOLDOWN;
    gate->quiet_end = now + QUIET;
    if (known_missing) {
        gate->unknown[gate->next] = str_hash(kid);
        gate->unknown_until[gate->next] = now + LIMIT_KEYS_UNKNOWN_TTL;
        gate->next = (gate->next + 1) % LIMIT_KEYS_UNKNOWN;
    }
}
