/* crypto.sign and verify: signatures by PEM, in the form that a JWS has them (RFC 7518 section 3),
 * which is that of WebCrypto too. crypto.encrypt and decrypt: AES-256-GCM (NIST SP 800-38D). */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "bindings/crypto.h"
#include "bindings/kept_key.h"
#include "lua/told.h"

enum { SEAL_KEY = 32, SEAL_NONCE = 12, SEAL_TAG = 16, SEAL_EXTRA = SEAL_NONCE + SEAL_TAG };

static int fail(lua_State *L, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

static enum alg check_alg(lua_State *L)
{
    enum alg alg = alg_parse(lx_crypto_text(L, 1));
    luaL_argcheck(L, alg != ALG_NONE_KNOWN && (ALG_BIT(alg) & ALG_HMAC) == 0, 1,
                  "RS, PS, ES with 256, 384 or 512, or EdDSA expected; shared secrets are "
                  "crypto.hmac's");
    return alg;
}

int l_crypto_sign(lua_State *L)
{
    static struct buf signature;
    enum alg alg = check_alg(L);
    struct str pem = lx_crypto_text(L, 2), text = lx_crypto_text(L, 3);
    struct err err;
    struct key *key = kept_key_get(pem, false, &err);
    if (key == NULL)
        return fail(L, err.text);
    buf_clear(&signature);
    if (key_sign_bytes(key, alg, text, &signature, &err) != 0)
        return fail(L, err.text);
    struct hook *hook = told_hook(L);
    if (hook != NULL && (ALG_BIT(alg) & ALG_BY_CHANCE) != 0)
        lx_told_bytes(L, hook, "crypto.sign", signature.data, signature.len);
    lua_pushlstring(L, signature.data, signature.len);
    return 1;
}

int l_crypto_verify(lua_State *L)
{
    enum alg alg = check_alg(L);
    struct str pem = lx_crypto_text(L, 2), text = lx_crypto_text(L, 3);
    struct str signature = lx_crypto_text(L, 4);
    struct err err;
    struct key *key = kept_key_get(pem, false, &err);
    if (key == NULL)
        return fail(L, err.text);
    if (!key_fits(key, alg))
        return fail(L, lua_pushfstring(L, "the key cannot be used with %s", alg_name(alg)));
    int rc = key_verify(key, KEY_BACKEND_OPENSSL, alg, text, signature);
    if (rc == -ENOMEM)
        return luaL_error(L, "out of memory");
    lua_pushboolean(L, rc == 0);
    return 1;
}

static const unsigned char *check_seal_key(lua_State *L)
{
    struct str key = lx_crypto_text(L, 1);
    luaL_argcheck(L, key.len == SEAL_KEY, 1,
                  "a key of 32 bytes expected: crypto.random(32), or crypto.hkdf of a secret");
    return (const unsigned char *)key.ptr;
}

/* The nonce is at the beginning of `out` already. */
static bool seal(EVP_CIPHER_CTX *ctx, const unsigned char *key, struct str text, unsigned char *out)
{
    const unsigned char *nonce = out;
    unsigned char *body = out + SEAL_NONCE;
    int len = 0, rest = 0;
    return EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_EncryptUpdate(ctx, body, &len, (const unsigned char *)text.ptr, (int)text.len) ==
               1 &&
           EVP_EncryptFinal_ex(ctx, body + len, &rest) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, body + text.len) == 1;
}

static bool unseal(EVP_CIPHER_CTX *ctx, const unsigned char *key, struct str sealed,
                   unsigned char *out)
{
    const unsigned char *nonce = (const unsigned char *)sealed.ptr;
    size_t text_len = sealed.len - SEAL_EXTRA;
    unsigned char tag[SEAL_TAG];
    int len = 0, rest = 0;
    memcpy(tag, nonce + SEAL_NONCE + text_len, SEAL_TAG);
    return EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_DecryptUpdate(ctx, out, &len, nonce + SEAL_NONCE, (int)text_len) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag) == 1 &&
           EVP_DecryptFinal_ex(ctx, out + len, &rest) == 1;
}

int l_crypto_encrypt(lua_State *L)
{
    const unsigned char *key = check_seal_key(L);
    struct str text = lx_crypto_text(L, 2);
    luaL_argcheck(L, text.len <= INT32_MAX - SEAL_EXTRA, 2, "the text is too long");
    luaL_Buffer buffer;
    unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &buffer, text.len + SEAL_EXTRA);
    lx_crypto_chance(L, "crypto.encrypt", out, SEAL_NONCE);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = ctx != NULL && seal(ctx, key, text, out);
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        return luaL_error(L, "crypto.encrypt: OpenSSL refused");
    luaL_pushresultsize(&buffer, text.len + SEAL_EXTRA);
    return 1;
}

int l_crypto_decrypt(lua_State *L)
{
    const unsigned char *key = check_seal_key(L);
    struct str sealed = lx_crypto_text(L, 2);
    if (sealed.len < SEAL_EXTRA || sealed.len > INT32_MAX)
        return fail(L, "that is not what crypto.encrypt makes: too short");
    luaL_Buffer buffer;
    unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &buffer, sealed.len);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool have = ctx != NULL, ok = have && unseal(ctx, key, sealed, out);
    EVP_CIPHER_CTX_free(ctx);
    if (!have)
        return luaL_error(L, "out of memory");
    if (!ok)
        return fail(L, "another key, or the text was changed");
    luaL_pushresultsize(&buffer, sealed.len - SEAL_EXTRA);
    return 1;
}
