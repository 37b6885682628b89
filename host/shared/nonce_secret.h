/* What the nonces of this host are made with, where functions.lua says nothing: random bytes that
 * all workers have, and the program after an upgrade; with KV_URL those of all its machines. */
#pragma once

#include "base/str.h"

enum { NONCE_SECRET_BYTES = 32 };

struct nonce_secret {
    unsigned char bytes[NONCE_SECRET_BYTES];
};

/* Fills it, once. 0 or a negative errno. */
int nonce_secret_init(struct nonce_secret *secret) __attribute__((warn_unused_result));

/* From now on this process uses that one, borrowed. Without this call it makes one of its own. */
void nonce_secret_share(const struct nonce_secret *secret);

/* From now on this process uses what other machines use. */
void nonce_secret_adopt(struct str bytes);

/* Its bytes. Empty: there is no randomness. */
struct str nonce_secret_get(void);
