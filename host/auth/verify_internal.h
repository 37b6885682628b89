/* What the files that check a token share: the check under way, and how it ends early. */
#ifndef LUAFN_AUTH_VERIFY_INTERNAL_H
#define LUAFN_AUTH_VERIFY_INTERNAL_H

#include "auth/verify.h"

struct check {
    const struct verifier *verifiers;
    unsigned count;
    struct str token;
    double now; /* whole seconds, as in the original */
    bool keys_final;
    struct arena *arena;
    struct verdict *verdict;
    const struct verifier *verifier; /* the one whose issuer the token names; NULL before */
    struct claims *claims;           /* owned */
    const struct key_source *bad;    /* the signature is known to be bad under this one's keys */
};

/* All return false, so that a step is one statement. */
bool refuse_as(struct check *check, const char *code, struct str text);
bool refuse(struct check *check, struct str text); /* jwt_invalid */
bool refuse_memory(struct check *check);
/* PREFIX 'VALUE', with a bounded value. */
bool refuse_value(struct check *check, const char *code, const char *prefix, struct str value);

/* ---- verify_claims.c: true, or false with a refusal in the verdict ---- */

/* Algorithm, extensions, issuer, audience. `header` is NULL for a cached token, whose header has
 * passed. */
bool check_addressee(struct check *check, const json_t *header);
bool check_issuer(struct check *check);
bool check_audience(struct check *check);
/* The claim that says whom the token is for; NULL: it is not there. Needs the verifier. */
const json_t *check_audience_of(const struct check *check);
bool check_not_before(struct check *check);
bool check_expires(struct check *check);
bool check_issued_at(struct check *check);
bool check_profile(struct check *check);

#endif
