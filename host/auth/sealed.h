/* Texts that only this host can read and that nobody else can make: AES-256-GCM with a random nonce
 * in front, as base64url. For cookies. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

enum { SEALED_SECRET_MIN = 32 /* bytes of a secret */ };

/* Appends `text`, sealed with a key made of the secret and the purpose. 0 or a negative errno. */
int sealed_write(struct str secret, const char *purpose, struct str text, struct buf *out)
    __attribute__((warn_unused_result));

/* Appends the text of what was sealed for that purpose with one of the secrets. 0, -EBADMSG where
 * it was not, or -ENOMEM. */
int sealed_read(const struct str *secrets, unsigned count, const char *purpose, struct str sealed,
                struct buf *out) __attribute__((warn_unused_result));
