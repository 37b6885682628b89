/* The OpenSSL backend: every algorithm, on keys that are parsed once.
 *
 * What a verification needs besides the signature (the fetched hash, the padding, the keyed MAC) is
 * set up once for each key and algorithm and used again; with OpenSSL 3.0 that set-up would take
 * longer than the RSA itself. */
#include "auth/key_internal.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define ECDSA_DER_MAX                                                                              \
    144 /* two 66-byte numbers, each with its sign byte and header, and a header */

bool key_openssl_wanted_memory(void)
{
    unsigned long code;
    bool found = false;
    while ((code = ERR_get_error()) != 0)
        found = found || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return found;
}

/* OpenSSL gathers the names of algorithms once, at the first use; one that it had no memory for is
 * unknown from then on. */
static bool has_all_algorithms(void)
{
    static const char *const digests[] = {"SHA256", "SHA384", "SHA512"};
    static const char *const kinds[] = {"RSA", "EC", "ED25519", "ED448"};
    bool ok = true;
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        EVP_MD *md = EVP_MD_fetch(NULL, digests[i], NULL);
        ok = ok && md != NULL && EVP_get_digestbyname(digests[i]) != NULL;
        EVP_MD_free(md);
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kinds[i], NULL);
        ok = ok && ctx != NULL;
        EVP_PKEY_CTX_free(ctx);
    }
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_free(mac);
    return ok && mac != NULL;
}

int key_start(void)
{
    /* A default context that could not be set up is used all the same, and its locks are NULL. */
    if (OSSL_LIB_CTX_get0_global_default() == NULL ||
        OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 0)
        return -ENOMEM;
    return has_all_algorithms() ? 0 : -ENOMEM;
}

static const char *digest_name(enum alg alg)
{
    switch (alg_hash_size(alg)) {
    case 32:
        return "SHA256";
    case 48:
        return "SHA384";
    case 64:
        return "SHA512";
    default:
        return NULL; /* EdDSA hashes by itself */
    }
}

static bool is_pss(enum alg alg)
{
    return alg == ALG_PS256 || alg == ALG_PS384 || alg == ALG_PS512;
}

static void slot_clear(struct key_slot *slot)
{
    EVP_MAC_CTX_free(slot->mac);
    EVP_MD_CTX_free(slot->digest);
    EVP_PKEY_CTX_free(slot->verify);
    *slot = (struct key_slot){0};
}

void key_openssl_forget(struct key *key)
{
    for (enum alg alg = 0; alg < ALG_COUNT; alg++)
        slot_clear(&key->slots[alg]);
}

/* RFC 7518 section 3.5: MGF1 with the same hash, a salt as long as the hash. */
static bool set_padding(EVP_PKEY_CTX *ctx, const struct key *key, enum alg alg, const EVP_MD *md)
{
    if (key->kind != KEY_RSA)
        return true;
    if (!is_pss(alg))
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool prepare_mac(const struct key *key, enum alg alg, struct key_slot *slot)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest_name(alg),
                                         0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    slot->mac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    return slot->mac != NULL && EVP_MAC_init(slot->mac, key->secret, key->secret_len, params) == 1;
}

static bool prepare_verify(const struct key *key, enum alg alg, struct key_slot *slot)
{
    EVP_MD *md = EVP_MD_fetch(NULL, digest_name(alg), NULL);
    bool ok = false;
    slot->digest = EVP_MD_CTX_new();
    slot->verify = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (md != NULL && slot->digest != NULL && slot->verify != NULL)
        ok = EVP_DigestInit_ex2(slot->digest, md, NULL) == 1 &&
             EVP_PKEY_verify_init(slot->verify) == 1 && set_padding(slot->verify, key, alg, md) &&
             EVP_PKEY_CTX_set_signature_md(slot->verify, md) == 1;
    EVP_MD_free(md);
    return ok;
}

/* The slot is ready afterwards, or empty. */
static int prepare(struct key *key, enum alg alg, struct key_slot *slot)
{
    bool ok;
    if (slot->mac != NULL || slot->digest != NULL)
        return 0;
    if (key->kind == KEY_OCT)
        ok = prepare_mac(key, alg, slot);
    else if (key->kind == KEY_OKP)
        ok = (slot->digest = EVP_MD_CTX_new()) != NULL;
    else
        ok = prepare_verify(key, alg, slot);
    if (!ok)
        slot_clear(slot);
    return ok ? 0 : -ENOMEM; /* with a key that was judged nothing else can fail */
}

static bool mac_of(EVP_MAC_CTX *mac, struct str input, unsigned char *out, size_t *len)
{
    return EVP_MAC_init(mac, NULL, 0, NULL) == 1 &&
           EVP_MAC_update(mac, (const unsigned char *)input.ptr, input.len) == 1 &&
           EVP_MAC_final(mac, out, len, EVP_MAX_MD_SIZE) == 1;
}

static int verify_mac(const struct key_slot *slot, struct str input, struct str signature)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    if (!mac_of(slot->mac, input, mac, &len))
        return -ENOMEM;
    return len == signature.len && CRYPTO_memcmp(mac, signature.ptr, len) == 0 ? 0 : -EBADMSG;
}

/* DER INTEGER of an unsigned number; returns its size, 0 for the number 0. */
static size_t der_integer(unsigned char *out, const char *number, size_t len)
{
    size_t sign;
    while (len > 0 && *number == 0) {
        number++;
        len--;
    }
    if (len == 0)
        return 0;
    sign = (unsigned char)*number >> 7;
    out[0] = 0x02;
    out[1] = (unsigned char)(len + sign);
    out[2] = 0;
    memcpy(out + 2 + sign, number, len);
    return 2 + sign + len;
}

/* R||S as OpenSSL wants it. False when r or s is 0; OpenSSL itself refuses what is not below n. */
static bool ecdsa_to_der(struct str signature, unsigned char *out, size_t *len)
{
    unsigned char body[ECDSA_DER_MAX];
    size_t half = signature.len / 2, at = 0;
    size_t r = der_integer(body, signature.ptr, half);
    size_t s = der_integer(body + r, signature.ptr + half, half);
    out[at++] = 0x30;
    if (r + s > 127)
        out[at++] = 0x81;
    out[at++] = (unsigned char)(r + s);
    memcpy(out + at, body, r + s);
    *len = at + r + s;
    return r > 0 && s > 0;
}

static int verify_digest(const struct key *key, const struct key_slot *slot, struct str input,
                         struct str signature)
{
    unsigned char hash[EVP_MAX_MD_SIZE], der[ECDSA_DER_MAX];
    unsigned hash_len = 0;
    const unsigned char *sig = (const unsigned char *)signature.ptr;
    size_t sig_len = signature.len;
    if (key->kind == KEY_EC) {
        if (!ecdsa_to_der(signature, der, &sig_len))
            return -EBADMSG;
        sig = der;
    }
    if (EVP_DigestInit_ex2(slot->digest, NULL, NULL) != 1 ||
        EVP_DigestUpdate(slot->digest, input.ptr, input.len) != 1 ||
        EVP_DigestFinal_ex(slot->digest, hash, &hash_len) != 1)
        return -ENOMEM;
    return EVP_PKEY_verify(slot->verify, sig, sig_len, hash, hash_len) == 1 ? 0 : -EBADMSG;
}

static int verify_eddsa(const struct key *key, const struct key_slot *slot, struct str input,
                        struct str signature)
{
    if (EVP_DigestVerifyInit(slot->digest, NULL, NULL, NULL, key->pkey) != 1)
        return -ENOMEM;
    return EVP_DigestVerify(slot->digest, (const unsigned char *)signature.ptr, signature.len,
                            (const unsigned char *)input.ptr, input.len) == 1
               ? 0
               : -EBADMSG;
}

int key_openssl_verify(struct key *key, enum alg alg, struct str input, struct str signature)
{
    struct key_slot *slot = &key->slots[alg];
    int rc = prepare(key, alg, slot);
    if (rc == 0 && key->kind == KEY_OCT)
        rc = verify_mac(slot, input, signature);
    else if (rc == 0 && key->kind == KEY_OKP)
        rc = verify_eddsa(key, slot, input, signature);
    else if (rc == 0)
        rc = verify_digest(key, slot, input, signature);
    return rc != 0 ? key_openssl_failure(rc) : 0;
}

/* ---- signing ---- */

static int sign_mac(struct key *key, enum alg alg, struct str input, struct buf *out)
{
    struct key_slot *slot = &key->slots[alg];
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    if (prepare(key, alg, slot) != 0 || !mac_of(slot->mac, input, mac, &len))
        return -ENOMEM;
    buf_add(out, mac, len);
    return 0;
}

static int der_to_ecdsa(const unsigned char *der, size_t len, size_t half, struct buf *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    int rc = -ENOMEM;
    if (sig != NULL && buf_reserve(out, 2 * half) == 0) {
        unsigned char *raw = (unsigned char *)out->data + out->len;
        if (BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)half) > 0 &&
            BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, (int)half) > 0) {
            out->len += 2 * half;
            rc = 0;
        }
    }
    ECDSA_SIG_free(sig);
    return rc;
}

static int sign_pkey(struct key *key, enum alg alg, struct str input, struct buf *out)
{
    size_t len = (size_t)EVP_PKEY_get_size(key->pkey);
    unsigned char *sig = malloc(len);
    EVP_MD *md = key->kind == KEY_OKP ? NULL : EVP_MD_fetch(NULL, digest_name(alg), NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* belongs to ctx */
    int rc = -ENOMEM;
    if (sig != NULL && ctx != NULL && (md != NULL || key->kind == KEY_OKP) &&
        EVP_DigestSignInit(ctx, &pctx, md, NULL, key->pkey) == 1 &&
        set_padding(pctx, key, alg, md) &&
        EVP_DigestSign(ctx, sig, &len, (const unsigned char *)input.ptr, input.len) == 1) {
        if (key->kind == KEY_EC) {
            rc = der_to_ecdsa(sig, len, key->curve->size, out);
        } else {
            buf_add(out, sig, len);
            rc = 0;
        }
    }
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    free(sig);
    return rc;
}

int key_openssl_sign(struct key *key, enum alg alg, struct str input, struct buf *out)
{
    int rc =
        key->kind == KEY_OCT ? sign_mac(key, alg, input, out) : sign_pkey(key, alg, input, out);
    if (rc == 0 && buf_failed(out))
        rc = -ENOMEM;
    return rc != 0 ? key_openssl_failure(rc) : 0;
}

const char *key_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
