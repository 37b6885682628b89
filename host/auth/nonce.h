/* Nonces that a proof of possession has to name (RFC 9449 section 8), so that nobody can make
 * proofs for later. Nothing is remembered: a nonce is a time with a seal on it, so whoever has the
 * secret knows those that others have given. */
#pragma once

#include "base/str.h"

enum {
    NONCE_BYTES = 32,     /* of the text */
    NONCE_SECRET_MIN = 32 /* bytes */
};

/* The newest one; no NUL behind it. `now` in seconds since 1970. False: it cannot be made. */
bool nonce_write(struct str secret, double now, char out[NONCE_BYTES])
    __attribute__((warn_unused_result));

enum nonce_age {
    NONCE_NONE,  /* none of ours, or too old */
    NONCE_OLDER, /* good, and there is a newer one */
    NONCE_NEWEST /* or of a machine whose clock is ahead */
};

enum nonce_age nonce_judge(struct str secret, double now, struct str nonce);
