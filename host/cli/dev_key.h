/* The dev issuer's keys, one an algorithm: made when first asked for, kept in .luafn/ beside
 * functions.lua (dev-key.pem for RS256, which `luafn dev` signs with and publishes;
 * dev-key-ALG.pem for the others, which only `luafn token` uses). */
#pragma once

#include "auth/key.h"

/* A private key that fits `alg`, with its thumbprint as kid, as `dev` publishes it. HS* has none.
 * A file that holds no such key is replaced. A key that cannot be kept is good for this once, and
 * said so in the log. 0 and a reference in *out, or a negative errno with the reason. */
int dev_key_get(const char *config_file, enum alg alg, struct key **out, struct err *err)
    __attribute__((warn_unused_result));

/* The key that the dev issuer signs with next (dev-key-next.pem): published beside the first, so
 * that it can take over at any time. The rest as above. */
int dev_key_get_next(const char *config_file, struct key **out, struct err *err)
    __attribute__((warn_unused_result));

/* Appends the JSON Web Key Set of all keys that are kept. 0 or -ENOMEM. */
int dev_key_write_set(const char *config_file, struct buf *out) __attribute__((warn_unused_result));
