/* Was a token revoked before its end? By its `jti`, its session (`sid`) or its subject (`sub`), of
 * its issuer or of any; those of a subject and of a time mean the tokens of who signed in
 * (`auth_time`) by then, or where a token does not tell, which were issued by then, or which tell
 * neither.
 *
 * What was revoked is in shared/revocations.h. Who was found not to be is so until something is
 * added, so a token that is in use costs one comparison. */
#pragma once

#include "auth/claims.h"
#include "shared/revocations.h"

enum revoked_result {
    REVOKED_NOT,
    REVOKED, /* why is nobody's to know */
    /* Where anything was ever revoked, a token has to end before its revocation would: it is not
     * older than LIMIT_REVOCATION_LIFE, or without `iat` ends within that. */
    REVOKED_TOO_OLD,
    REVOKED_UNKNOWN /* what was revoked is not known yet */
};

/* revoked_look where something was revoked, or may have been. */
enum revoked_result revoked_look_closely(struct claims *claims, struct str issuer, double now,
                                         bool answered, uint64_t generation);

/* `now`: seconds since 1970. `answered`: somebody who knows how old the token is was asked. */
static inline enum revoked_result revoked_look(struct claims *claims, struct str issuer, double now,
                                               bool answered)
{
    uint64_t generation = revocations_generation();
    return generation == 0 ? REVOKED_NOT
                           : revoked_look_closely(claims, issuer, now, answered, generation);
}
