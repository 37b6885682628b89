/* Policies as data: who may call a function, decided before any Lua of it runs.
 *
 * auth = true | "public" | { webhook =, ... } | { scope = "a" | { any = {...} } | { all = {...} },
 * role =, claims =
 * {...}, acr =, max_age =, namespace =, role_path = } */
#pragma once

#include "auth/verify.h"
#include "auth/webhook.h"
#include "http/exchange.h"

enum policy_kind {
    POLICY_UNSET,  /* nothing said: open, but `check` warns */
    POLICY_PUBLIC, /* open on purpose */
    POLICY_TOKEN,  /* a verified token, and what follows */
    POLICY_WEBHOOK /* a signature over the body */
};

struct policy {
    enum policy_kind kind;
    bool login;         /* of POLICY_TOKEN: a browser's session will do, too (app/login.h) */
    struct str *scopes; /* borrowed from the configuration, as all slices here */
    unsigned scope_count;
    bool scope_any;       /* any of them; else all */
    struct str role;      /* empty: none */
    struct str role_path; /* where roles are (claims_roles); empty: in `roles` */
    json_t *claims;       /* owned by the configuration: an object; see claims_match */
    struct str *acr;      /* authentication classes, the best first, of which one is needed */
    unsigned acr_count;   /* 0: any will do */
    double max_age;       /* seconds since the caller signed in; 0: any */
    struct str namespace;
    struct dpop dpop;                 /* mode DPOP_UNSET: as the token's issuer says */
    enum mtls_mode mtls;              /* MTLS_UNSET: the same */
    const struct verifier *verifiers; /* borrowed */
    unsigned verifier_count;
    struct verifier_spec
        *own; /* the function's own issuers, in place of the deployment's; NULL: none */
    unsigned own_count;
    const struct webhook *webhook; /* of POLICY_WEBHOOK; borrowed */
};

enum policy_result {
    POLICY_ALLOW,      /* *verdict holds the claims (for POLICY_TOKEN; a reference) */
    POLICY_DENY,       /* ex->res is filled: 401 or 403 with its challenge */
    POLICY_NEEDS_BODY, /* of POLICY_WEBHOOK: policy_check_body goes on when the body is there */
    POLICY_NEEDS_KEY   /* verdict->kid and verdict->verifier say which; ask again afterwards */
};

/* Judges the request. Only the Authorization header is read, and two of them are a refusal. The
 * order is token, its certificate, its proof of possession, how and when its user signed in (RFC
 * 9470), scopes, role, claims; all but the first three see the claims without the namespace. Out of
 * memory: POLICY_DENY with a 500. An open function whose request carries a good token still gets
 * the claims when verifiers are set and the verdict needs no fetching; a bad token is ignored
 * there. `keys_final` as for verify_token. */
enum policy_result policy_check(const struct policy *policy, struct exchange *ex, double now,
                                bool keys_final, struct verdict *verdict);

/* What policy_check could not say yet: POLICY_ALLOW, with the delivery, or POLICY_DENY, which is
 * 401 invalid_signature or stale_signature. The body is whole. */
enum policy_result policy_check_body(const struct policy *policy, struct exchange *ex, double now,
                                     struct webhook_delivery *delivery);

/* The same without an answer, and without its proof: may the caller, as far as his token says? Keys
 * that are not there are not waited for. */
bool policy_may(const struct policy *policy, struct exchange *ex, double now);

/* Is there a token that its verifiers accept, or may accept when they have its key? */
bool policy_knows_token(const struct policy *policy, struct exchange *ex, double now);

/* The proof of possession that the policy asks for; before a token has told its issuer, what may
 * come. */
enum dpop_mode policy_dpop(const struct policy *policy);

/* Must every token be bound to a certificate? */
bool policy_needs_cert(const struct policy *policy);

/* 503 keys_unavailable with Retry-After, into ex->res. */
void policy_keys_unavailable(struct exchange *ex);

/* One more WWW-Authenticate (RFC 6750 section 3) onto a response. `error`, `more` (parameters, each
 * behind ", ") and `scope` may be empty and are the host's own words, never the token's; a scope
 * that the attribute cannot hold is left out. 0 or -ENOMEM. */
int policy_challenge(struct response *res, struct arena *arena, const char *scheme,
                     struct str error, struct str more, struct str scope)
    __attribute__((warn_unused_result));

/* Are these claims, without the namespace, of a sign-in as the policy wants it: of its class, and
 * of its time, which is held against `auth_time` with the verifier's tolerance? */
bool policy_has_acr(const struct policy *policy, const json_t *claims);
bool policy_is_recent(const struct policy *policy, const json_t *claims, double now,
                      double tolerance);

/* Can the attribute hold this scope, or several with blanks between (RFC 6749 section 3.3)? */
bool policy_is_scope_text(struct str s);

/* Whole in one line, for `routes`: "open" (nothing said), "public", "token", "scope read:shows",
 * "scope a|b, role admin" (any), "scope a b, claim tier" (all), "webhook github". In the arena; ptr
 * NULL when out of memory. */
struct str policy_text(const struct policy *policy, struct arena *arena);
