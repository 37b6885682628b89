/* Keys: what they are bound to, and how long they live. */
#include "auth/key_internal.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/limits.h"

#define ALG_RSA                                                                                    \
    (ALG_BIT(ALG_RS256) | ALG_BIT(ALG_RS384) | ALG_BIT(ALG_RS512) | ALG_BIT(ALG_PS256) |           \
     ALG_BIT(ALG_PS384) | ALG_BIT(ALG_PS512))

static const struct key_curve curves[] = {
    {"P-256", "prime256v1", KEY_EC, ALG_ES256, 32, 64},
    {"P-384", "secp384r1", KEY_EC, ALG_ES384, 48, 96},
    {"P-521", "secp521r1", KEY_EC, ALG_ES512, 66, 132},
    {"Ed25519", "ED25519", KEY_OKP, ALG_EDDSA, 32, 64},
    {"Ed448", "ED448", KEY_OKP, ALG_EDDSA, 57, 114},
};

#define CURVE_COUNT (sizeof(curves) / sizeof(curves[0]))

const struct key_curve *key_curve_of(struct str name, enum key_kind kind)
{
    for (size_t i = 0; i < CURVE_COUNT; i++)
        if (curves[i].kind == kind && str_eq(name, str_from(curves[i].name)))
            return &curves[i];
    return NULL;
}

static const struct key_curve *curve_of_group(const char *group)
{
    for (size_t i = 0; i < CURVE_COUNT; i++)
        if (strcmp(curves[i].group, group) == 0)
            return &curves[i];
    return NULL;
}

/* ---- RSA: is this modulus and exponent worth trusting? ---- */

static bool is_odd_prime(unsigned n)
{
    for (unsigned d = 3; d * d <= n; d += 2)
        if (n % d == 0)
            return false;
    return n % 2 == 1;
}

static bool is_power_of_65537(unsigned residue, unsigned prime)
{
    unsigned power = 1;
    do {
        if (power == residue)
            return true;
        power = power * (65537 % prime) % prime;
    } while (power != 1);
    return false;
}

/* The fingerprint of CVE-2017-15361 (ROCA): its primes are k * M + 65537^a mod M with M a product
 * of small primes (all up to 701 for RSA-2048), so the modulus is a power of 65537 modulo each of
 * them. A sound modulus is that by chance once in 2^100 or so. */
static bool has_roca_fingerprint(const BIGNUM *n)
{
    for (unsigned prime = 3; prime <= 701; prime += 2)
        if (is_odd_prime(prime) && !is_power_of_65537((unsigned)BN_mod_word(n, prime), prime))
            return false;
    return true;
}

static int judge_rsa_numbers(const BIGNUM *n, const BIGNUM *e, struct err *err)
{
    int bits = BN_num_bits(n);
    if (bits < LIMIT_RSA_BITS_MIN || bits > LIMIT_RSA_BITS_MAX)
        return err_set(err, -EINVAL, "the RSA key has %d bits; %d to %d are accepted", bits,
                       LIMIT_RSA_BITS_MIN, LIMIT_RSA_BITS_MAX);
    if (!BN_is_odd(n))
        return err_set(err, -EINVAL, "the RSA modulus is even");
    if (!BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > LIMIT_RSA_EXPONENT_BITS)
        return err_set(err, -EINVAL, "the RSA exponent must be odd, at least 3, at most %d bits",
                       LIMIT_RSA_EXPONENT_BITS);
    if (has_roca_fingerprint(n))
        return err_set(err, -EINVAL, "the RSA modulus has the ROCA weakness (CVE-2017-15361)");
    return 0;
}

static int judge_rsa(const EVP_PKEY *pkey, struct err *err)
{
    BIGNUM *n = NULL, *e = NULL;
    int rc;
    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        rc = err_set(err, key_openssl_failure(-EINVAL), "the RSA key cannot be read");
    else
        rc = judge_rsa_numbers(n, e, err);
    BN_free(n);
    BN_free(e);
    return rc;
}

/* ---- EC and OKP: is the point on the curve? ---- */

static int judge_point(EVP_PKEY *pkey, const char *group, struct key *key, struct err *err)
{
    EVP_PKEY_CTX *ctx;
    int rc = 0;
    key->curve = curve_of_group(group);
    if (key->curve == NULL)
        return err_set(err, -EINVAL, "the curve %s is not supported", group);
    key->kind = key->curve->kind;
    key->algs = ALG_BIT(key->curve->alg);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx == NULL || EVP_PKEY_public_check(ctx) != 1)
        rc = err_set(err, key_openssl_failure(-EINVAL), "the public key is not on its curve");
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

/* OpenSSL asks a new key for its sizes and goes on without them when there is no memory to. */
static bool is_whole(const EVP_PKEY *pkey)
{
    return EVP_PKEY_get_size(pkey) > 0 && EVP_PKEY_get_bits(pkey) > 0;
}

static int judge(EVP_PKEY *pkey, struct key *key, struct err *err)
{
    char group[64];
    if (!is_whole(pkey))
        return err_set(err, -ENOMEM, "out of memory");
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        key->kind = KEY_RSA;
        key->algs = ALG_RSA;
        return judge_rsa(pkey, err);
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1)
            return err_set(err, key_openssl_failure(-EINVAL), "the EC key has no named curve");
        return judge_point(pkey, group, key, err);
    case EVP_PKEY_ED25519:
        return judge_point(pkey, "ED25519", key, err);
    case EVP_PKEY_ED448:
        return judge_point(pkey, "ED448", key, err);
    default:
        return err_set(err, -EINVAL, "only RSA, EC, Ed25519 and Ed448 keys are supported");
    }
}

int key_adopt(EVP_PKEY *pkey, bool can_sign, struct key **out, struct err *err)
{
    struct key *key = calloc(1, sizeof(*key));
    int rc;
    *out = NULL;
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return err_set(err, -ENOMEM, "out of memory");
    }
    key->refs = 1;
    key->pkey = pkey;
    key->can_sign = can_sign;
    rc = judge(pkey, key, err);
    if (rc != 0) {
        key_unref(key);
        return rc;
    }
    *out = key;
    return 0;
}

int key_from_secret(struct str secret, struct key **out, struct err *err)
{
    struct key *key;
    *out = NULL;
    if (secret.len < alg_hash_size(ALG_HS256))
        return err_set(err, -EINVAL, "the secret has %zu bytes; HS256 needs at least %zu",
                       secret.len, alg_hash_size(ALG_HS256));
    if (secret.len > LIMIT_TOKEN_BYTES)
        return err_set(err, -EINVAL, "the secret is over %d bytes long", LIMIT_TOKEN_BYTES);
    key = calloc(1, sizeof(*key));
    if (key == NULL || (key->secret = malloc(secret.len)) == NULL) {
        free(key);
        return err_set(err, -ENOMEM, "out of memory");
    }
    key->refs = 1;
    key->kind = KEY_OCT;
    key->can_sign = true;
    key->secret_len = secret.len;
    memcpy(key->secret, secret.ptr, secret.len);
    for (enum alg alg = ALG_HS256; alg <= ALG_HS512; alg++)
        if (secret.len >= alg_hash_size(alg))
            key->algs |= ALG_BIT(alg);
    *out = key;
    return 0;
}

struct key *key_ref(struct key *key)
{
    key->refs++;
    return key;
}

void key_unref(struct key *key)
{
    if (key == NULL || --key->refs > 0)
        return;
    key_openssl_forget(key);
    EVP_PKEY_free(key->pkey);
    if (key->secret != NULL)
        OPENSSL_cleanse(key->secret, key->secret_len);
    free(key->secret);
    free((char *)(uintptr_t)key->public_pem.ptr);
    free((char *)(uintptr_t)key->kid.ptr);
    free(key);
}

struct str key_kid(const struct key *key)
{
    return key->kid;
}

void key_set_kid(struct key *key, struct str kid)
{
    char *copy = kid.len > 0 ? malloc(kid.len) : NULL;
    if (copy != NULL)
        memcpy(copy, kid.ptr, kid.len);
    free((char *)(uintptr_t)key->kid.ptr);
    key->kid = (struct str){copy, copy != NULL ? kid.len : 0};
}

bool key_fits(const struct key *key, enum alg alg)
{
    return alg > ALG_NONE_KNOWN && alg < ALG_COUNT && (key->algs & ALG_BIT(alg)) != 0;
}

bool key_can_sign(const struct key *key)
{
    return key->can_sign;
}

bool key_is_same(const struct key *a, const struct key *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == KEY_OCT)
        return a->secret_len == b->secret_len &&
               CRYPTO_memcmp(a->secret, b->secret, a->secret_len) == 0;
    return EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

bool key_equal(const struct key *a, const struct key *b)
{
    return a->algs == b->algs && str_eq(a->kid, b->kid) && key_is_same(a, b);
}

static size_t signature_size(const struct key *key, enum alg alg)
{
    if (key->kind == KEY_OCT)
        return alg_hash_size(alg);
    if (key->kind == KEY_RSA)
        return (size_t)EVP_PKEY_get_size(key->pkey);
    return key->curve->signature_size;
}

int key_verify(struct key *key, enum key_backend backend, enum alg alg, struct str input,
               struct str signature)
{
    if (!key_fits(key, alg) || signature.len != signature_size(key, alg))
        return -EBADMSG;
    if (backend == KEY_BACKEND_LIBJWT)
        return key_libjwt_verify(key, alg, input, signature);
    return key_openssl_verify(key, alg, input, signature);
}
