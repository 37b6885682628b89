/* SHA-256 where it must not fail: OpenSSL's SHA256() allocates, and leaves its result as it was
 * when there is no memory. */
#pragma once

#include "base/str.h"

enum { DIGEST_BYTES = 32 };

void digest_sha256(struct str text, unsigned char out[DIGEST_BYTES]);
