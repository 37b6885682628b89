/* Checking a token: signature, then claims, in the order and with the texts of the original
 * (serverless-jwt; codes jwt_missing, jwt_invalid, jwt_expired, invalid_header), hardened as
 * docs/security.md says.
 *
 * A verdict on the signature is cached by the whole token (auth/token_cache.h); issuer, audience,
 * times and what was revoked (auth/revoked.h) are judged anew each time. Nothing here waits: when a
 * key is missing the caller fetches it and asks again. */
#pragma once

#include <jansson.h>

#include "auth/alg.h"
#include "auth/claims.h"
#include "auth/dpop.h"
#include "auth/keyset.h"
#include "auth/mtls.h"
#include "auth/opaque.h"
#include "base/arena.h"
#include "base/str.h"

enum profile {
    PROFILE_ANY,          /* of access tokens; what says that it is an event is none */
    PROFILE_AT_JWT,       /* RFC 9068: typ and required claims */
    PROFILE_LOGOUT_TOKEN, /* only those; nobody asks whether they were revoked */
    PROFILE_EVENT         /* the same, and they do not end */
};

/* One accepted issuer. Strings are borrowed from the configuration (or the Lua userdata) that holds
 * the verifier. */
struct verifier {
    struct str issuer;         /* exact */
    struct str *audiences;     /* any of these must be in aud ... */
    struct str audience_claim; /* ... or, not empty, in this claim and not in aud (claims_at) */
    unsigned audience_count;
    unsigned algorithms;     /* ALG_BIT()s */
    struct key_source *keys; /* borrowed: the issuer's, or the verifier's own static one */
    enum key_backend backend;
    enum profile profile;
    bool require_exp;             /* true by default */
    double clock_tolerance;       /* seconds; 0 by default */
    struct opaque_source *opaque; /* borrowed: for tokens that are no JWTs; NULL: refused */
    enum mtls_mode mtls;          /* the caller's to enforce, as the next */
    struct dpop dpop; /* the caller's to enforce: policy_check, or dpop_refuses_bearer */
};

/* The code of a verdict that could not be reached for lack of memory: a 500, not a 401. */
#define VERIFY_CODE_MEMORY  "server_error"
/* Of one that could not be reached as nobody knows yet what was revoked: a 503. */
#define VERIFY_CODE_UNKNOWN "revocations_unavailable"
/* How texts about a key that is not there begin. */
#define VERIFY_KEY_LOOKUP   "error in secret or public key callback"

/* Who is asked about opaque tokens; url empty: nobody. */
struct introspection_spec {
    struct str url, client_id, client_secret;
    double cache; /* seconds that an answer is believed */
};

/* A verifier as the configuration describes it; issuer/issuer_link.h finds its keys. */
struct verifier_spec {
    struct verifier verifier; /* `keys` is set when it is linked */
    struct str jwks_uri;      /* empty: by discovery */
    struct str secret;        /* for HS*; ptr NULL: none */
    struct str public_key;    /* PEM; ptr NULL: none */
    struct introspection_spec introspection;
    struct key_source own_keys; /* of secret or public_key; owned */
};

/* Defaults: RS256, openssl, require_exp. */
void verify_setup(struct verifier *verifier);

enum verify_status {
    VERIFY_OK,
    VERIFY_REFUSED,   /* 401 with code and text */
    VERIFY_NEEDS_KEY, /* no set yet, no key of this kid, no answer yet: fetch and ask again */
};

struct verdict {
    enum verify_status status;
    const char *code; /* static; for VERIFY_REFUSED */
    struct str text;  /* in the arena; UTF-8, bounded, not escaped */
    struct str kid;   /* in the arena; for VERIFY_NEEDS_KEY */
    bool opaque; /* VERIFY_NEEDS_KEY: the answer about the token is lacking; `kid` is the token */
    struct claims *claims;           /* VERIFY_OK: a reference that the caller must drop */
    struct str token;                /* VERIFY_OK: whose they are; the caller's */
    const struct verifier *verifier; /* VERIFY_OK and NEEDS_KEY: which one it was; borrowed */
};

enum { VERIFY_SCHEME_BYTES = sizeof("Bearer ") - 1 };

/* The text of RFC 6750's Authorization header. 0 and *token (maybe empty), or -EINVAL and code/text
 * in *verdict. `header` NULL: absent. The scheme is compared without case, exactly one space
 * follows. */
int verify_read_header(const struct str *header, struct str *token, struct verdict *verdict)
    __attribute__((warn_unused_result));

/* Checks `token` against the verifiers (chosen by exact `iss`; with one, its texts are the
 * original's). `now` in seconds since 1970. `keys_final`: a missing key is a refusal ("Unable to
 * find key ...") instead of NEEDS_KEY, where a set exists. Texts live in `arena`. `token` with ptr
 * NULL: jwt_missing. A token that is no JWT is left to the first verifier with `opaque`; an `iss`
 * or `aud` in its answer must be right. A good token that is cached costs no allocation. Fails
 * closed when out of memory, with VERIFY_CODE_MEMORY. Cut at a few hundred bytes, a text repeats
 * what the token says: it belongs in a body, escaped, never in a header. */
void verify_token(const struct verifier *verifiers, unsigned count, struct str token, double now,
                  bool keys_final, struct arena *arena, struct verdict *verdict);

/* The same for a token that was found to have the claims of the serial `known` (0: it was not), by
 * these verifiers or others. */
void verify_token_again(const struct verifier *verifiers, unsigned count, struct str token,
                        uint64_t known, double now, bool keys_final, struct arena *arena,
                        struct verdict *verdict);

/* What a token says that it is, by `typ` with or without "application/" (RFC 7515 section 4.1.9)
 * and by its claims. */
enum claims_type verify_type(const json_t *header, const json_t *claims);

/* The verifier that asks its provider about this token, which is no JWT; NULL: it is judged here.
 */
const struct verifier *verify_opaque(const struct verifier *verifiers, unsigned count,
                                     struct str token);
