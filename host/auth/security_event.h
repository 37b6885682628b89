/* What logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.6) and security events
 * (RFC 8417, Shared Signals 1.0, CAEP 1.0) ask to be revoked.
 *
 * Pure: signature, `iss`, `aud` and `exp` are verify_token's, with PROFILE_LOGOUT_TOKEN and
 * PROFILE_EVENT; that a logout token comes once only is the caller's. */
#pragma once

#include <jansson.h>

#include "base/limits.h"
#include "base/str.h"
#include "shared/revocations.h"

struct security_event {
    const char *err;  /* static: NULL, or a code of RFC 8935 section 2.4 */
    const char *text; /* static: why, or of a good one what is noteworthy (NULL: nothing) */
    struct str id;    /* `jti`; borrowed from the claims */
    struct revocation list[LIMIT_REVOCATION_EVENTS];
    unsigned count; /* 0: nothing that concerns tokens here */
};

/* `issuer`: of the token, and of all that it can revoke. `now` in seconds since 1970; `ahead` is by
 * how much clocks may differ. */
void security_event_read_logout(const json_t *header, const json_t *claims, struct str issuer,
                                double now, double ahead, struct security_event *out);
void security_event_read_set(const json_t *header, const json_t *claims, struct str issuer,
                             double now, double ahead, struct security_event *out);
