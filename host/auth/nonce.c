/* Nonces: see nonce.h. Eight bytes of time, in steps, and sixteen of HMAC-SHA256, in base64url. */
#include "auth/nonce.h"

#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"

enum { TIME_BYTES = 8, SEAL_BYTES = 16, RAW_BYTES = TIME_BYTES + SEAL_BYTES };

static bool seal(struct str secret, const unsigned char time[TIME_BYTES],
                 unsigned char out[SEAL_BYTES])
{
    static const char label[] = "luafn dpop nonce";
    unsigned char text[sizeof(label) + TIME_BYTES], digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    memcpy(text, label, sizeof(label));
    memcpy(text + sizeof(label), time, TIME_BYTES);
    if (secret.len == 0 ||
        HMAC(EVP_sha256(), secret.ptr, (int)secret.len, text, sizeof(text), digest, &len) == NULL)
        return false;
    memcpy(out, digest, SEAL_BYTES);
    return true;
}

static uint64_t step_at(double now)
{
    return now > 0 ? (uint64_t)floor(now / LIMIT_NONCE_STEP) : 0;
}

bool nonce_write(struct str secret, double now, char out[NONCE_BYTES])
{
    unsigned char raw[RAW_BYTES];
    uint64_t step = step_at(now);
    for (unsigned i = 0; i < TIME_BYTES; i++)
        raw[i] = (unsigned char)(step >> (8 * (TIME_BYTES - 1 - i)));
    if (!seal(secret, raw, raw + TIME_BYTES))
        return false;
    return base64_encode((struct str){(const char *)raw, sizeof(raw)}, BASE64_URL, out) ==
           NONCE_BYTES;
}

enum nonce_age nonce_judge(struct str secret, double now, struct str nonce)
{
    unsigned char raw[BASE64_DECODED_MAX(NONCE_BYTES)], wanted[SEAL_BYTES];
    uint64_t step = 0, newest = step_at(now);
    if (nonce.len != NONCE_BYTES ||
        base64_decode(nonce, BASE64_URL, (char *)raw, NULL) != RAW_BYTES ||
        !seal(secret, raw, wanted) || CRYPTO_memcmp(wanted, raw + TIME_BYTES, SEAL_BYTES) != 0)
        return NONCE_NONE;
    for (unsigned i = 0; i < TIME_BYTES; i++)
        step = step << 8 | raw[i];
    if (step > newest + 1 || step + LIMIT_NONCE_STEPS <= newest)
        return NONCE_NONE;
    return step >= newest ? NONCE_NEWEST : NONCE_OLDER;
}
