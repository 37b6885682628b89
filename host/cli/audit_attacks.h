/* The attacks of `luafn audit`, as requests that no host may let through.
 *
 * An attack is what an Authorization header (or two, or the query) says. Those of audit_forge.c
 * need nothing but a guess at issuer and audience, and for some the public keys; those of
 * audit_change.c are made from one good token. */
#pragma once

#include "auth/keyset.h"
#include "base/arena.h"

enum { AUDIT_ATTACKS = 256 };

struct attack {
    struct str name;
    struct str headers[2]; /* values of Authorization */
    unsigned header_count;
    struct str query; /* without '?'; empty: none */
    bool good;        /* must be let in: what the refusals are held against */
    bool oversize;    /* closing the connection is an answer too */
};

struct audit_plan {
    struct arena *arena;
    struct str issuer, audience; /* of forged tokens that have no good one to copy */
    struct str token;            /* a good one; empty: none */
    const struct keyset *keys;   /* public keys of the issuer; NULL: not known */
    double now;
    struct key *forger; /* a key of our own */
    struct str claims;  /* JSON of forged tokens: good in every way */
    struct str kid;     /* of forged tokens: the good one's, or a known one */
    struct attack attacks[AUDIT_ATTACKS];
    unsigned count;
    bool failed; /* out of memory, or too many: some are missing */
};

/* Fills claims and kid, then adds the attacks. */
void audit_forge(struct audit_plan *plan);
/* Those made from plan->token. False where that is no signed token. */
bool audit_change(struct audit_plan *plan);

/* ---- for both ---- */

/* "Bearer TOKEN" under that name; the texts live in the arena. */
struct attack *audit_add(struct audit_plan *plan, struct str name, struct str token);
/* base64url of header and payload, and the third part as it is. */
struct str audit_compact(struct audit_plan *plan, struct str header, struct str payload,
                         struct str signature);
/* base64url in the arena. */
struct str audit_encode(struct audit_plan *plan, struct str bytes);
