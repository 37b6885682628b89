/* base64url as JOSE wants it (RFC 7515 section 2, RFC 4648 section 3.5): one text for one value.
 *
 * No padding, no white space, no other alphabet, no length of 4n+1, and the unused bits of the last
 * character are zero. A token has therefore exactly one spelling. */
#pragma once

#include "base/base64.h"
#include "base/buf.h"
#include "base/str.h"

/* Enough room for what `len` characters can decode to. */
#define BASE64URL_DECODED_MAX(len) BASE64_DECODED_MAX(len)

/* Decodes into `out`, which has BASE64URL_DECODED_MAX(text.len) bytes. 0 and *out_len, or -EINVAL
 * (`out` is then undefined). The empty text is the empty value. */
int base64url_decode(struct str text, void *out, size_t *out_len)
    __attribute__((warn_unused_result));

/* Appends the text of `len` bytes. */
void base64url_encode(const void *bytes, size_t len, struct buf *out);
