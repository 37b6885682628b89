/* Waiting for what a verdict lacks (VERIFY_NEEDS_KEY): the issuer's key, or the answer about an
 * opaque token. */
#pragma once

#include "auth/verify.h"
#include "issuer/issuer.h"

/* 1: `wait` is queued, done() will come from the loop; issuer_cancel takes it back. 0: nothing to
 * wait for. `issuers` NULL: 0. */
int token_want(struct issuers *issuers, const struct verdict *verdict, struct issuer_wait *wait);

/* After waiting: does what is lacking not exist, so that the token is refused? Else nobody knows,
 * which is a 503. */
bool token_is_settled(struct issuers *issuers, const struct verdict *verdict);
