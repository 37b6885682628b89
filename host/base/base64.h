/* Base64 (RFC 4648), strictly but for base64_decode_loosely: exactly one text for one value.
 *
 * Two alphabets: the standard one, with padding that may be missing when read, and the one for
 * URLs, which has none (RFC 7515 section 2). Refused when read: any other character, white space
 * too, a length of 4n+1, unused bits that are not zero. */
#pragma once

#include <stddef.h>

#include "base/str.h"

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };

/* Enough room for the text of `len` bytes, and for the bytes of `len` characters. */
#define BASE64_ENCODED_MAX(len) (((len) + 2) / 3 * 4)
#define BASE64_DECODED_MAX(len) ((len) / 4 * 3 + 3)

/* Writes the text; returns its length. */
size_t base64_encode(struct str bytes, enum base64_alphabet alphabet, char *out);

/* Writes the bytes; returns their count, or -EINVAL with the offset of the fault in *bad (may be
 * NULL); `out` is undefined then. */
ptrdiff_t base64_decode(struct str text, enum base64_alphabet alphabet, char *out, size_t *bad);

/* The same as Node's Buffer.from does it, for what others have written: both alphabets, what is in
 * neither is skipped, the first '=' is the end, bits that are left over are dropped. Never fails.
 */
size_t base64_decode_loosely(struct str text, char *out);
