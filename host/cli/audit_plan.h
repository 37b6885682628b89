/* The attacks of `luafn audit`, as share/audit.lua makes them. */
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
    struct arena *arena;         /* of all texts below */
    struct str issuer, audience; /* of forged tokens that have no good one to copy */
    struct str token;            /* a good one; empty: none */
    const struct keyset *keys;   /* public keys of the issuer; NULL: not known */
    struct attack attacks[AUDIT_ATTACKS];
    unsigned count;
};

/* Adds the attacks. 0, -EINVAL where the token is no signed one, -EIO with what went wrong. */
int audit_plan_make(struct audit_plan *plan, struct err *err) __attribute__((warn_unused_result));
