/* Authenticated encryption of short texts. A key is HMAC-SHA256 of the purpose under the secret, so
 * that what is sealed for one purpose is nothing for another. */
#include "auth/sealed.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"

enum { KEY_BYTES = 32, NONCE_BYTES = 12, TAG_BYTES = 16, AROUND = NONCE_BYTES + TAG_BYTES };

static bool make_key(struct str secret, const char *purpose, unsigned char key[KEY_BYTES])
{
    unsigned len = 0;
    return secret.len > 0 && secret.len <= INT_MAX &&
           HMAC(EVP_sha256(), secret.ptr, (int)secret.len, (const unsigned char *)purpose,
                strlen(purpose), key, &len) != NULL &&
           len == KEY_BYTES;
}

/* nonce, text, tag; `out` has text.len + AROUND bytes. */
static bool encrypt(const unsigned char *key, struct str text, unsigned char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, last = 0;
    bool ok = ctx != NULL && text.len < INT_MAX && RAND_bytes(out, NONCE_BYTES) == 1 &&
              EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out) == 1 &&
              EVP_EncryptUpdate(ctx, out + NONCE_BYTES, &len, (const unsigned char *)text.ptr,
                                (int)text.len) == 1 &&
              EVP_EncryptFinal_ex(ctx, out + NONCE_BYTES + len, &last) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES,
                                  out + NONCE_BYTES + text.len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

/* `out` has sealed_len - AROUND bytes, which mean nothing when it fails: -EBADMSG for the tag's
 * sake alone, else -ENOMEM. */
static int decrypt(const unsigned char *key, unsigned char *sealed, size_t sealed_len,
                   unsigned char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t text_len = sealed_len - AROUND;
    int len = 0, last = 0;
    bool ok = ctx != NULL && text_len < INT_MAX &&
              EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
              EVP_DecryptUpdate(ctx, out, &len, sealed + NONCE_BYTES, (int)text_len) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES,
                                  sealed + NONCE_BYTES + text_len) == 1;
    bool whole = ok && EVP_DecryptFinal_ex(ctx, out + len, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return whole ? 0 : ok ? -EBADMSG : -ENOMEM;
}

int sealed_write(struct str secret, const char *purpose, struct str text, struct buf *out)
{
    unsigned char key[KEY_BYTES];
    unsigned char *sealed = malloc(text.len + AROUND);
    bool ok = sealed != NULL && make_key(secret, purpose, key) && encrypt(key, text, sealed);
    if (ok)
        base64url_encode(sealed, text.len + AROUND, out);
    free(sealed);
    OPENSSL_cleanse(key, sizeof(key));
    return ok && !buf_failed(out) ? 0 : -ENOMEM;
}

/* With the first secret that fits. */
static int open_any(const struct str *secrets, unsigned count, const char *purpose,
                    unsigned char *raw, size_t len, unsigned char *text)
{
    unsigned char key[KEY_BYTES];
    int rc = -EBADMSG;
    for (unsigned i = 0; rc == -EBADMSG && i < count; i++)
        rc = make_key(secrets[i], purpose, key) ? decrypt(key, raw, len, text) : -ENOMEM;
    OPENSSL_cleanse(key, sizeof(key));
    return rc;
}

int sealed_read(const struct str *secrets, unsigned count, const char *purpose, struct str sealed,
                struct buf *out)
{
    size_t len = 0;
    unsigned char *raw = malloc(BASE64URL_DECODED_MAX(sealed.len) + 1);
    if (raw == NULL)
        return -ENOMEM;
    bool ok = base64url_decode(sealed, raw, &len) == 0 && len > AROUND;
    unsigned char *text = ok ? malloc(len) : NULL;
    int rc = !ok            ? -EBADMSG
             : text == NULL ? -ENOMEM
                            : open_any(secrets, count, purpose, raw, len, text);
    if (rc == 0)
        buf_add(out, (const char *)text, len - AROUND);
    free(text);
    free(raw);
    return rc == 0 && buf_failed(out) ? -ENOMEM : rc;
}
