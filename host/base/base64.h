/* Base64 with the standard alphabet (RFC 4648 section 4), for bodies. Tokens have a stricter
 * decoder of their own. */
#ifndef LUAFN_BASE_BASE64_H
#define LUAFN_BASE_BASE64_H

#include <stddef.h>

#include "base/str.h"

/* Bytes that encoding `len` bytes gives, padding included. */
static inline size_t base64_encoded_size(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Writes exactly base64_encoded_size(in.len) bytes. */
void base64_encode(struct str in, char *out);

/* At most in.len / 4 * 3 + 3 bytes are written. Padding may be missing; anything outside the
 * alphabet, white space too, is refused, as are non-zero unused bits. The number of bytes, or
 * -EINVAL. */
long base64_decode(struct str in, char *out);

#endif
