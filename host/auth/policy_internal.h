/* What the policy files share: policy.c judges, policy_rules.c knows what is asked for,
 * policy_proof.c whose a token is, policy_answer.c what the others are told. */
#pragma once

#include "auth/policy.h"

#define POLICY_USE_NONCE "use_dpop_nonce"

/* What came in `Authorization`. */
struct credentials {
    struct str token;
    struct request_note *note; /* of the head that it came in; NULL: there is none */
    bool dpop;                 /* by the scheme of that name; else Bearer */
};

/* ---- answers: into ex->res, all POLICY_DENY; the verdict's claims are gone then ---- */

/* The last resort: nothing but a status, which needs no memory. */
void policy_answer_nothing(struct exchange *ex);
enum policy_result policy_deny(struct exchange *ex, struct verdict *verdict, int status,
                               const char *code, struct str text);
enum policy_result policy_deny_memory(struct exchange *ex, struct verdict *verdict);
/* 401, or what the verdict says in its place. `error`: of the challenge; may be empty. */
enum policy_result policy_deny_token(const struct policy *policy, struct exchange *ex,
                                     struct verdict *verdict, struct str error);
/* 403. `scope` empty: the challenge names none; either with ptr NULL: out of memory. */
enum policy_result policy_deny_access(const struct policy *policy, struct exchange *ex,
                                      struct verdict *verdict, struct str text, struct str scope);
/* RFC 9470 section 3: all that a new sign-in has to bring, so that there is but one. */
enum policy_result policy_deny_sign_in(const struct policy *policy, struct exchange *ex,
                                       struct verdict *verdict, bool has_acr);
/* Onto the response, a line for each scheme that would do. The error is that of the scheme by which
 * the token came, so the other's line has none (RFC 9449 section 7.1), unless it is `of_both`: who
 * brings a bound token as a bearer is told so in both (7.2). */
void policy_challenge_with(const struct policy *policy, struct exchange *ex, struct str error,
                           struct str more, struct str scope, bool of_both);

/* ---- rules ---- */

/* All scopes that the call needs, or of which any would do; ptr NULL when out of memory. */
struct str policy_scopes(const struct policy *policy, struct arena *arena, const char *between);
/* The scope to name in the refusal: the first that is missing, or with `any`, when all are missing,
 * the first. NULL when the scopes suffice. */
const struct str *policy_missing_scope(const struct policy *policy, const json_t *claims);
/* The name of the first claim that is not as the policy wants it, or NULL. */
const char *policy_wrong_claim(const struct policy *policy, const json_t *claims);
/* All rules at once. The claims are without the namespace. */
bool policy_meets_rules(const struct policy *policy, double now, double tolerance,
                        const json_t *claims);

/* ---- possession ---- */

/* Certificate and proof; the verdict is a good one. */
enum policy_result policy_check_possession(const struct policy *policy, struct exchange *ex,
                                           double now, const struct credentials *given,
                                           struct verdict *verdict);
/* The same, but for the certificate and the proof themselves. */
bool policy_may_come_so(const struct policy *policy, const struct credentials *given,
                        const struct verdict *verdict);
