/* By the functions below the ones that fetch an implementation. They are called deprecated as they
 * cannot be replaced by a provider's, which nobody wants here. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "shared/digest.h"

#include <openssl/sha.h>

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "as long as it says");

void digest_sha256(struct str text, unsigned char out[DIGEST_BYTES])
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, text.ptr, text.len);
    SHA256_Final(out, &ctx);
}
