/* Proof of possession (RFC 9449): a token that is bound to a key is of use only with a proof, made
 * for this one request, by somebody who has the key.
 *
 * Nothing here reads a header or answers: auth/policy.c does. A proof is good for LIMIT_DPOP_AGE
 * seconds, once in all workers, and, where nonces are asked for, as long as its nonce. */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/str.h"
#include "http/exchange.h"

enum dpop_mode {
    DPOP_UNSET, /* nothing said; as DPOP_OFF where nobody else says more */
    DPOP_OFF,   /* `cnf` means nothing */
    DPOP_OPTIONAL,
    DPOP_REQUIRED /* no bearer tokens */
};

enum dpop_nonce {
    DPOP_NONCE_UNSET, /* nothing said; as DPOP_NONCE_OFF where nobody else says more */
    DPOP_NONCE_OFF,
    DPOP_NONCE_ON /* a proof has to name a nonce of ours */
};

struct dpop {
    enum dpop_mode mode;
    enum dpop_nonce nonce;
    struct str nonce_secret; /* that other machines have, too; empty: this host's own */
    struct str
        origin; /* of the URLs that clients see, "https://api.example"; empty: the request's */
};

/* The request that a proof must be for. */
struct dpop_request {
    struct str method;
    struct str scheme, host; /* or, when not empty, */
    struct str origin;
    struct str path;         /* as sent, without query */
    struct str token;        /* verified; the proof must be made for it */
    struct str nonce_secret; /* of the nonce that it must name; empty: none is asked for */
    double now;
    double tolerance; /* seconds, for clocks that differ */
};

/* Algorithms that a proof may use, for the challenge. */
#define DPOP_ALGS "ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"

/* Why a proof is refused that was seen. */
#define DPOP_USED   "The proof has been used before"
/* Why a bearer token is refused. */
#define DPOP_NEEDED "The token needs a proof of possession (DPoP)"

/* Is this token bound to a key (`cnf.jkt`)? */
bool dpop_is_bound(const json_t *claims);
/* May a token with these claims not come as a bearer token? */
bool dpop_refuses_bearer(enum dpop_mode mode, const json_t *claims);

enum dpop_result {
    DPOP_GOOD,
    DPOP_GOOD_RENEW, /* and there is a newer nonce than its own */
    DPOP_NO_NONCE,   /* it names none, or one that is not accepted any more; else it is good */
    DPOP_BAD_PROOF,  /* *why: a constant text */
    DPOP_OTHER_KEY,  /* the proof is good, but the token is bound to another key, or to none */
    DPOP_BUSY,       /* more proofs than can be remembered: 503 */
    DPOP_MEMORY
};

/* Checks the proof (one DPoP header's text) and, when all else is good, remembers it; `once` is
 * filled then. */
enum dpop_result dpop_check(const struct dpop_request *req, const json_t *claims, struct str proof,
                            struct exchange_once *once, const char **why);
