/* Who passes one policy and not another, computed from what both say.
 *
 * A policy that asks for tokens is a list of conditions, all of which must hold, and none of which
 * more of a token can break. So the smallest tokens that the one lets through, one for each choice
 * that it leaves, are held against each condition of the other: what they fail is what callers
 * gain. No sample, no signature, no network. */
#pragma once

#include "auth/policy.h"

/* A policy with where the keys of its issuers come from; specs[i] is of policy->verifiers[i]. */
struct access {
    const struct policy *policy; /* NULL: nobody can call it */
    const struct verifier_spec *specs;
};

enum access_hold { ACCESS_UNBOUND, ACCESS_WITHOUT, ACCESS_WITH };

/* A caller, by what he holds. */
struct access_holder {
    json_t *claims; /* of the token; NULL: none, or what it says does not matter */
    enum alg alg;
    bool at_jwt;
    enum access_hold proof, cert; /* what the token is bound to, and whether he has that, too */
};

/* One kind of callers. */
struct access_gap {
    struct str who;               /* "tokens of https://issuer.example/ without scope 'admin'" */
    struct access_holder example; /* borrowed, until the call returns */
};

/* Calls `found` for each kind of callers whom `now` lets through and `before` does not, each once.
 * Texts live in `arena`. 0 or -ENOMEM. */
int access_compare(const struct access *before, const struct access *now, double time,
                   struct arena *arena, void (*found)(void *arg, const struct access_gap *gap),
                   void *arg) __attribute__((warn_unused_result));
