/* Keys from JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037): the public part is all that is
 * read.
 *
 * How its numbers are spelled is read generously, as Node's and most other libraries do: a key that
 * is spelled oddly is the same key, and one that is misread lets nothing pass. What makes a key
 * weak, or bound to something else, is refused. */
#include "auth/key_internal.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "auth/base64url.h"
#include "base/limits.h"

#define X5C_TEXT_MAX (16 * 1024)

struct octets {
    unsigned char bytes[LIMIT_RSA_BITS_MAX / 8 + 8];
    size_t len;
};

/* What a JWK says about its own use. */
struct binding {
    struct str kid; /* empty: none */
    struct str alg; /* ptr NULL: any that the key's kind allows */
};

/* ---- members ---- */

/* A string, or *out with ptr NULL when the member is absent or null. */
static int text_member(const json_t *jwk, const char *name, struct str *out, struct err *err)
{
    const json_t *value = json_object_get(jwk, name);
    *out = (struct str){NULL, 0};
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return err_set(err, -EINVAL, "the member %s must be a string", name);
    *out = (struct str){json_string_value(value), json_string_length(value)};
    return 0;
}

static bool has_member(const json_t *jwk, const char *name)
{
    const json_t *value = json_object_get(jwk, name);
    return value != NULL && !json_is_null(value);
}

/* A required base64url member of at least one byte; padding and the standard alphabet will do. */
static int octets_member(const json_t *jwk, const char *name, struct octets *out, struct err *err)
{
    struct str text;
    int rc = text_member(jwk, name, &text, err);
    if (rc != 0)
        return rc;
    if (text.len == 0)
        return err_set(err, -EINVAL, "the member %s is missing or empty", name);
    if (BASE64URL_DECODED_MAX(text.len) > sizeof(out->bytes))
        return err_set(err, -EINVAL, "the member %s is too long", name);
    out->len = base64_decode_loosely(text, (char *)out->bytes);
    if (out->len == 0)
        return err_set(err, -EINVAL, "the member %s is not base64url", name);
    return 0;
}

/* RFC 7517 section 4.3: where there are `key_ops` they must allow verification. */
static int check_key_ops(const json_t *jwk, struct err *err)
{
    const json_t *ops = json_object_get(jwk, "key_ops");
    bool verify = !json_is_array(ops);
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        verify = verify || (op != NULL && strcmp(op, "verify") == 0);
    }
    return verify ? 0 : err_set(err, -ENOTSUP, "its key_ops do not allow verify");
}

static int read_binding(const json_t *jwk, struct binding *out, struct err *err)
{
    struct str use;
    int rc = text_member(jwk, "use", &use, err);
    if (rc == 0 && use.ptr != NULL && !str_eq(use, STR("sig")))
        rc = err_set(err, -ENOTSUP, "its use is not sig");
    if (rc == 0)
        rc = check_key_ops(jwk, err);
    if (rc == 0)
        rc = text_member(jwk, "kid", &out->kid, err);
    if (rc == 0 && out->kid.len > LIMIT_KID_BYTES)
        rc = err_set(err, -EINVAL, "its kid is over %d bytes long", LIMIT_KID_BYTES);
    if (rc == 0)
        rc = text_member(jwk, "alg", &out->alg, err);
    if (rc == 0 && out->alg.ptr != NULL && alg_parse(out->alg) == ALG_NONE_KNOWN)
        rc = err_set(err, -EINVAL, "its alg %.*s is not supported",
                     (int)(out->alg.len < 32 ? out->alg.len : 32), out->alg.ptr);
    return rc;
}

/* ---- public numbers ---- */

static int pkey_from_params(const char *type, OSSL_PARAM *params, EVP_PKEY **out, struct err *err)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    int rc = 0;
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1)
        rc = err_set(err, key_openssl_failure(-ENOMEM), "out of memory");
    else if (EVP_PKEY_fromdata(ctx, out, EVP_PKEY_PUBLIC_KEY, params) != 1)
        rc = err_set(err, key_openssl_failure(-EINVAL), "it is no valid %s public key", type);
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

static int rsa_numbers(const struct octets *n, const struct octets *e, EVP_PKEY **out,
                       struct err *err)
{
    BIGNUM *modulus = BN_bin2bn(n->bytes, (int)n->len, NULL);
    BIGNUM *exponent = BN_bin2bn(e->bytes, (int)e->len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    int rc;
    if (modulus != NULL && exponent != NULL && build != NULL &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    if (params != NULL)
        rc = pkey_from_params("RSA", params, out, err);
    else
        rc = err_set(err, key_openssl_failure(-ENOMEM), "out of memory");
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(exponent);
    BN_free(modulus);
    return rc;
}

static int rsa_pkey(const json_t *jwk, EVP_PKEY **out, struct err *err)
{
    struct octets n, e;
    int rc = octets_member(jwk, "n", &n, err);
    if (rc == 0)
        rc = octets_member(jwk, "e", &e, err);
    return rc != 0 ? rc : rsa_numbers(&n, &e, out, err);
}

static int curve_member(const json_t *jwk, enum key_kind kind, const struct key_curve **out,
                        struct err *err)
{
    struct str name;
    int rc = text_member(jwk, "crv", &name, err);
    if (rc != 0)
        return rc;
    *out = key_curve_of(name, kind);
    return *out != NULL ? 0 : err_set(err, -EINVAL, "its crv is missing or not supported");
}

/* A coordinate in as many bytes as its curve has: some leave zeros at the front out, or add one. */
static int coordinate(const json_t *jwk, const char *name, const struct key_curve *curve,
                      unsigned char *out, struct err *err)
{
    struct octets o;
    size_t zeros = 0;
    int rc = octets_member(jwk, name, &o, err);
    if (rc != 0)
        return rc;
    while (o.len - zeros > curve->size && o.bytes[zeros] == 0)
        zeros++;
    if (o.len - zeros > curve->size)
        return err_set(err, -EINVAL, "the member %s has %zu bytes instead of %zu", name, o.len,
                       curve->size);
    memset(out, 0, curve->size);
    memcpy(out + curve->size - (o.len - zeros), o.bytes + zeros, o.len - zeros);
    return 0;
}

static int ec_pkey(const json_t *jwk, EVP_PKEY **out, struct err *err)
{
    const struct key_curve *curve;
    unsigned char point[1 + 2 * 66] = {POINT_CONVERSION_UNCOMPRESSED};
    int rc = curve_member(jwk, KEY_EC, &curve, err);
    if (rc == 0)
        rc = coordinate(jwk, "x", curve, point + 1, err);
    if (rc == 0)
        rc = coordinate(jwk, "y", curve, point + 1 + curve->size, err);
    if (rc != 0)
        return rc;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         (char *)(uintptr_t)curve->group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * curve->size),
        OSSL_PARAM_construct_end(),
    };
    return pkey_from_params("EC", params, out, err);
}

static int okp_pkey(const json_t *jwk, EVP_PKEY **out, struct err *err)
{
    const struct key_curve *curve;
    struct octets x;
    int rc = curve_member(jwk, KEY_OKP, &curve, err);
    if (rc == 0)
        rc = octets_member(jwk, "x", &x, err);
    if (rc == 0 && x.len != curve->size)
        rc = err_set(err, -EINVAL, "the member x has %zu bytes instead of %zu", x.len, curve->size);
    if (rc != 0)
        return rc;
    *out = EVP_PKEY_new_raw_public_key_ex(NULL, curve->group, NULL, x.bytes, x.len);
    return *out != NULL
               ? 0
               : err_set(err, key_openssl_failure(-EINVAL), "it is no valid %s key", curve->name);
}

/* ---- x5c ---- */

/* The key in DER that was base64 (RFC 7517 section 4.7). */
static int certificate_pkey(struct str text, EVP_PKEY **out, struct err *err)
{
    unsigned char *der = malloc(BASE64_DECODED_MAX(text.len));
    const unsigned char *at = der;
    int rc = 0;
    if (der == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    size_t len = base64_decode_loosely(text, (char *)der);
    X509 *certificate = len > 0 ? d2i_X509(NULL, &at, (long)len) : NULL;
    if (certificate != NULL && at == der + len)
        *out = X509_get_pubkey(certificate);
    if (*out == NULL)
        rc = err_set(err, key_openssl_failure(-EINVAL), "x5c holds no certificate with a key");
    X509_free(certificate);
    free(der);
    return rc;
}

/* The key of the first certificate; -EINVAL where there is none that can be read. */
static int x5c_pkey(const json_t *jwk, EVP_PKEY **out, struct err *err)
{
    const json_t *first = json_array_get(json_object_get(jwk, "x5c"), 0);
    struct str text = {json_string_value(first), json_string_length(first)};
    if (text.ptr == NULL || text.len > X5C_TEXT_MAX)
        return err_set(err, -EINVAL, "x5c holds no certificate");
    return certificate_pkey(text, out, err);
}

/* ---- together ---- */

static const struct {
    const char *kty;
    enum key_kind kind;
    int (*read)(const json_t *jwk, EVP_PKEY **out, struct err *err);
} kinds[] = {
    {"RSA", KEY_RSA, rsa_pkey},
    {"EC", KEY_EC, ec_pkey},
    {"OKP", KEY_OKP, okp_pkey},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* The numbers suffice; a certificate beside them must be of the same key (RFC 7517 section 4.7), or
 * two readers would use two. Alone it will do for RSA, as some providers publish it. */
static int read_pkey(const json_t *jwk, size_t kind, EVP_PKEY **out, struct err *err)
{
    EVP_PKEY *certified = NULL;
    bool has_x5c = json_array_size(json_object_get(jwk, "x5c")) > 0;
    if (has_x5c && kinds[kind].kind == KEY_RSA && !has_member(jwk, "n"))
        return x5c_pkey(jwk, out, err);
    int rc = kinds[kind].read(jwk, out, err);
    if (rc != 0 || !has_x5c)
        return rc;
    int found =
        x5c_pkey(jwk, &certified, NULL); /* what is no certificate says nothing of the key */
    if (found == -ENOMEM)
        rc = err_set(err, -ENOMEM, "out of memory");
    else if (found == 0 && EVP_PKEY_eq(*out, certified) != 1)
        rc =
            err_set(err, key_openssl_failure(-EINVAL), "its x5c is the certificate of another key");
    EVP_PKEY_free(certified);
    return rc;
}

static int public_key(const json_t *jwk, size_t kind, struct key **out, struct err *err)
{
    EVP_PKEY *pkey = NULL;
    int rc = read_pkey(jwk, kind, &pkey, err);
    if (rc != 0) {
        EVP_PKEY_free(pkey);
        return rc;
    }
    rc = key_adopt(pkey, false, out, err);
    if (rc == 0 && (*out)->kind != kinds[kind].kind)
        rc = err_set(err, -EINVAL, "its x5c is not a certificate of its kty");
    return rc;
}

static int secret_key(const json_t *jwk, struct key **out, struct err *err)
{
    struct octets k;
    int rc = octets_member(jwk, "k", &k, err);
    if (rc == 0)
        rc = key_from_secret((struct str){(const char *)k.bytes, k.len}, out, err);
    OPENSSL_cleanse(&k, sizeof(k));
    return rc;
}

static int key_of_kty(const json_t *jwk, struct key **out, struct err *err)
{
    struct str kty;
    int rc = text_member(jwk, "kty", &kty, err);
    if (rc != 0)
        return rc;
    if (str_eq(kty, STR("oct")))
        return secret_key(jwk, out, err);
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (str_eq(kty, str_from(kinds[i].kty)))
            return public_key(jwk, i, out, err);
    return err_set(err, -EINVAL, "its kty is missing or not supported");
}

static int bind(struct key *key, const struct binding *binding, struct err *err)
{
    if (binding->alg.ptr != NULL)
        key->algs &= ALG_BIT(alg_parse(binding->alg));
    if (key->algs == 0)
        return err_set(err, -EINVAL, "its alg %.*s does not fit its kind, curve or size",
                       STR_ARG(binding->alg));
    key_set_kid(key, binding->kid);
    if (key->kid.len != binding->kid.len)
        return err_set(err, -ENOMEM, "out of memory");
    return 0;
}

int jwk_read_key(const json_t *jwk, struct key **out, struct err *err)
{
    struct binding binding;
    int rc;
    *out = NULL;
    if (!json_is_object(jwk))
        return err_set(err, -EINVAL, "a key must be a JSON object");
    rc = read_binding(jwk, &binding, err);
    if (rc == 0)
        rc = key_of_kty(jwk, out, err);
    if (rc == 0)
        rc = bind(*out, &binding, err);
    ERR_clear_error();
    if (rc != 0) {
        key_unref(*out);
        *out = NULL;
    }
    return rc;
}
