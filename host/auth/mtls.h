/* Tokens that are bound to a client's certificate (RFC 8705): of use only to who has its key, which
 * a TLS handshake has shown, here or at a trusted proxy (RFC 9440).
 *
 * Nothing here reads a header or answers: auth/policy.c does. */
#pragma once

#include "auth/claims.h"

enum mtls_mode {
    MTLS_UNSET,   /* nothing said: a token that is bound needs its certificate (RFC 8705 3) */
    MTLS_OFF,     /* `cnf` means nothing */
    MTLS_REQUIRED /* no other tokens */
};

/* Texts of refusals. */
#define MTLS_NEEDED "The token needs the certificate that it is bound to (mutual TLS)"

/* May a token with these claims not come without a certificate? */
static inline bool mtls_is_needed(enum mtls_mode mode, const struct claims *claims)
{
    return mode == MTLS_REQUIRED || (claims->has_cert && mode != MTLS_OFF);
}

/* Of a token that needs one: is it bound to this certificate (DER; empty: the client has none)?
 * NULL, or why not: a constant text. */
const char *mtls_refusal(const json_t *claims, struct str certificate);

/* Are these claims bound to a certificate (`cnf` with `x5t#S256`), whatever stands there? */
bool mtls_is_bound(const json_t *claims);
