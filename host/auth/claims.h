/* Verified claims: their life, and what they permit. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "auth/alg.h"
#include "base/str.h"
#include "json/sheet.h"

/* What a token says that it is. */
enum claims_type {
    CLAIMS_ANY,
    CLAIMS_AT_JWT,       /* `typ` of RFC 9068 */
    CLAIMS_LOGOUT_TOKEN, /* `typ`, or the event, of OpenID Connect Back-Channel Logout */
    CLAIMS_EVENT         /* `typ` of RFC 8417 */
};

/* By which a token may have been revoked (auth/revoked.h). */
struct claims_marks {
    uint64_t judged; /* it was not, as of this number of shared/revocations.h */
    bool made;       /* what follows is */
    uint64_t issuer, ids[3];
    double since; /* when its user signed in, else when it was issued, else NaN */
    double issued;
};

/* Made when it is first asked for. */
struct claims_sheet {
    struct sheet *sheet; /* owned; NULL: none, or not yet */
    bool tried;
};

/* What a token says, once its signature was found good. Immutable, refcounted. */
struct claims {
    unsigned refs;
    uint64_t serial;        /* no other claims of this process have it; never 0 */
    json_t *json;           /* owned: the payload, an object */
    struct str issuer;      /* borrowed from json */
    struct str subject;     /* empty when absent */
    double expires;         /* NaN when absent or not a number */
    double not_before;      /* NaN when absent or not a number, */
    bool has_not_before;    /* which this tells apart */
    bool odd_issued_at;     /* `iat` is there, and no number */
    const json_t *audience; /* borrowed from json; NULL when absent */
    uint64_t subject_hash;  /* for logs; 0 when there is no subject */
    enum alg alg;           /* of the token's header */
    enum claims_type type;
    bool has_cert; /* it is bound to a certificate (auth/mtls.h) */
    struct claims_marks marks;
    struct claims_sheet sheet; /* of json */
    json_t *plain;             /* owned: what claims_plain made last, NULL before */
    char *plain_namespace;     /* owned: for which namespace */
    struct claims_sheet plain_sheet;
    uint32_t text_len; /* of the payload as it came; 0: not known */
    char text[];       /* ends with a NUL */
};

/* The member of `events` that makes a token one of OpenID Connect Back-Channel Logout (2.4). */
#define CLAIMS_LOGOUT_EVENT "http://schemas.openid.net/event/backchannel-logout"

/* What a token is that says `type` in its header. */
enum claims_type claims_type_of(const json_t *claims, enum claims_type type);

/* Takes over `json` (an object), also when it fails; `text`, which may be empty, is what it was
 * read from. `type`: as the header says; of CLAIMS_ANY the claims may say more. NULL when out of
 * memory. */
struct claims *claims_new(json_t *json, struct str text, enum alg alg, enum claims_type type);
struct claims *claims_ref(struct claims *claims);
void claims_unref(struct claims *claims);         /* NULL is fine */
size_t claims_bytes(const struct claims *claims); /* in memory, near enough for a bound */

/* ---- what a verified token may do; edge cases as in the original (serverless-jwt) ---- */

/* Is `scope` one of the whole words of `scope` (text or array), `scp` or `permissions`? */
bool claims_have_scope(const json_t *claims, struct str scope);
/* The member of that name, or, where there is none, the one that the name leads to as a path with
 * dots ("realm_access.roles"); a part of the path may have dots itself. NULL: none. Borrowed. */
const json_t *claims_at(const json_t *claims, struct str path);
/* Where the roles are: at `path` (as for claims_at), or, when it is empty, in `roles`. */
const json_t *claims_roles(const json_t *claims, struct str path);
/* Is `role` one of those there (text or array)? */
bool claims_have_role(const json_t *claims, struct str path, struct str role);

/* Is a claim (NULL: absent) what a policy wants: equal, or a list that holds it? Of a wanted list
 * one will do. Numbers are equal by value. */
bool claims_match(const json_t *value, const json_t *wanted);

/* A copy without the namespace: in every top-level name the first occurrence of `ns` is dropped. A
 * registered claim (iss sub aud exp nbf iat jti scope) that the token itself has is never
 * overwritten. New reference, or NULL. */
json_t *claims_without_namespace(struct str ns, const json_t *claims);

/* The same for a verified token, made once and kept with its claims; with an empty `ns` the claims
 * as they are. New reference, or NULL when out of memory. Not to be changed. */
json_t *claims_plain(struct claims *claims, struct str ns);

/* The same as a sheet. Borrowed, until another namespace is asked for or the claims end. NULL: it
 * has none (json/sheet.h), or out of memory. */
const struct sheet *claims_sheet(struct claims *claims, struct str ns);
