/* The rows of `luafn explain`: each check on a token, what was expected beside what was found.
 *
 * The rows show what the host looks at and in which order; the verdict is the host's own
 * (auth/policy.h), never drawn from them. All texts live in the arena and are free of control
 * characters, whatever the token says. */
#pragma once

#include "auth/policy.h"
#include "auth/opaque.h"
#include "auth/token.h"

enum explain_result { EXPLAIN_PASS, EXPLAIN_FAIL, EXPLAIN_NOTE };

struct explain_row {
    const char *check; /* static */
    struct str expected, actual;
    enum explain_result result;
};

enum { EXPLAIN_ROWS = 64 };

struct explain {
    struct arena *arena;
    const struct policy *policy;     /* whose verifiers and rules; kind POLICY_TOKEN */
    const struct verifier *verifier; /* the one whose issuer the token names, else NULL */
    struct str key_set;              /* how old it is and where from; for the row of that name */
    struct str revoked;              /* what is known of revocations; for the row of that name */
    double now;                      /* seconds since 1970 */
    enum dpop_mode dpop;             /* set by explain_needs_proof */
    bool needs_proof;                /* a bearer token alone is refused */
    enum mtls_mode mtls;             /* set by explain_needs_cert */
    bool needs_cert;                 /* it is refused without its certificate */
    struct explain_row rows[EXPLAIN_ROWS]; /* rows past the last are left out */
    unsigned count;
};

/* Size, parts, encoding and JSON. True when the token can be taken apart: then it is, in *token. */
bool explain_form(struct explain *e, struct str text, struct token *token);

/* Everything else. Needs `verifier` and `key_set`. */
void explain_token(struct explain *e, const struct token *token);

/* Is the token bound to a key, so that it takes a proof? `claims` may be NULL. Call it before the
 * policy is changed. */
bool explain_needs_proof(struct explain *e, const json_t *claims);

/* The same of a certificate. */
bool explain_needs_cert(struct explain *e, const json_t *claims);

/* For a token that is no JWT, what its provider said: its claims (NULL: none), or what came in
 * place of an answer. Needs `verifier`. */
void explain_opaque(struct explain *e, enum opaque_state state, json_t *claims,
                    const char *trouble);

/* The verifier of the token's issuer, or NULL. */
const struct verifier *explain_find_verifier(const struct policy *policy, const json_t *claims);

/* A value as JSON in ASCII, cut to a readable length; "none" for NULL. */
struct str explain_value(struct arena *arena, const json_t *value);

/* Text in quotes, as explain_value gives it. */
struct str explain_text(struct arena *arena, struct str text);
