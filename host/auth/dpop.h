/* Proof of possession (RFC 9449): a token that is bound to a key is of use only with a proof, made
 * for this one request, by somebody who has the key.
 *
 * Nothing here reads a header or answers: auth/policy.c does. Nonces are not asked for; a proof is
 * good for LIMIT_DPOP_AGE seconds, once in all workers. */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/str.h"

enum dpop_mode {
    DPOP_UNSET, /* nothing said; as DPOP_OFF where nobody else says more */
    DPOP_OFF,   /* `cnf` means nothing */
    DPOP_OPTIONAL,
    DPOP_REQUIRED /* no bearer tokens */
};

struct dpop {
    enum dpop_mode mode;
    struct str
        origin; /* of the URLs that clients see, "https://api.example"; empty: the request's */
};

/* The request that a proof must be for. */
struct dpop_request {
    struct str method;
    struct str scheme, host; /* or, when not empty, */
    struct str origin;
    struct str path;  /* as sent, without query */
    struct str token; /* verified; the proof must be made for it */
    double now;
    double tolerance; /* seconds, for clocks that differ */
};

/* Algorithms that a proof may use, for the challenge. */
#define DPOP_ALGS "ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"

/* Why a bearer token is refused. */
#define DPOP_NEEDED "The token needs a proof of possession (DPoP)"

/* Is this token bound to a key (`cnf.jkt`)? */
bool dpop_is_bound(const json_t *claims);
/* May a token with these claims not come as a bearer token? */
bool dpop_refuses_bearer(enum dpop_mode mode, const json_t *claims);

enum dpop_result {
    DPOP_GOOD,
    DPOP_BAD_PROOF, /* *why: a constant text */
    DPOP_OTHER_KEY, /* the proof is good, but the token is bound to another key, or to none */
    DPOP_BUSY,      /* more proofs than can be remembered: 503 */
    DPOP_MEMORY
};

/* Checks the proof (one DPoP header's text) and, when all else is good, remembers it. */
enum dpop_result dpop_check(const struct dpop_request *req, const json_t *claims, struct str proof,
                            const char **why);
