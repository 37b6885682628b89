/* Keys: which are taken from JWK and PEM, which are refused and why. */
#include "unit.h"
#include "rsa_keys.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/key.h"

/* ---- algorithms ---- */

static void test_alg_names(void **state)
{
    static const char *const others[] = {"",        "none",  "None",    "rs256", "RS256 ",
                                         " RS256",  "RS25",  "RS2566",  "HS1",   "ES256K",
                                         "Ed25519", "eddsa", "RSA-OAEP"};
    (void)state;
    for (enum alg alg = ALG_NONE_KNOWN + 1; alg < ALG_COUNT; alg++)
        assert_int_equal(alg_parse(str_from(alg_name(alg))), alg);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(alg_parse(str_from(others[i])), ALG_NONE_KNOWN);
    assert_int_equal(alg_parse((struct str){"RS256\0", 6}), ALG_NONE_KNOWN);
    assert_string_equal(alg_name(ALG_NONE_KNOWN), "");
    assert_string_equal(alg_name(ALG_COUNT), "");
}

/* ---- JWK ---- */

static json_t *new_jwk(enum alg alg)
{
    if ((ALG_BIT(alg) & ALG_HMAC) != 0)
        return json_pack("{s:s,s:s}", "kty", "oct", "k",
                         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    struct key *key = any_key(alg);
    json_t *jwk = jwk_write_key(key, alg);
    assert_non_null(jwk);
    json_object_del(jwk, "alg");
    key_unref(key);
    return jwk;
}

/* Members put over a good key; the reason is part of the message, NULL where it stays good. */
static const struct {
    enum alg kind;
    const char *change;
    const char *reason;
} jwk_cases[] = {
    {ALG_RS256, "{}", NULL},
    {ALG_RS256, "{\"use\":\"sig\"}", NULL},
    {ALG_RS256, "{\"use\":null}", NULL},
    {ALG_RS256, "{\"use\":\"enc\"}", "use is not sig"},
    {ALG_RS256, "{\"use\":\"SIG\"}", "use is not sig"},
    {ALG_RS256, "{\"use\":\"\"}", "use is not sig"},
    {ALG_RS256, "{\"use\":[\"sig\"]}", "use must be a string"},
    {ALG_RS256, "{\"key_ops\":[\"verify\"]}", NULL},
    {ALG_RS256, "{\"key_ops\":[\"sign\",\"verify\",\"x\"]}", NULL},
    {ALG_RS256, "{\"key_ops\":[\"sign\"]}", "do not allow verify"},
    {ALG_RS256, "{\"key_ops\":[]}", "do not allow verify"},
    {ALG_RS256, "{\"key_ops\":[5,null]}", "do not allow verify"},
    {ALG_RS256, "{\"key_ops\":\"verify\"}", NULL},
    {ALG_RS256, "{\"key_ops\":[\"verify\",\"verify\"]}", NULL},
    {ALG_RS256, "{\"key_ops\":[\"verify\",5]}", NULL},
    {ALG_RS256, "{\"alg\":\"RS256\"}", NULL},
    {ALG_RS256, "{\"alg\":\"PS512\"}", NULL},
    {ALG_RS256, "{\"alg\":null}", NULL},
    {ALG_RS256, "{\"alg\":\"rs256\"}", "alg rs256 is not supported"},
    {ALG_RS256, "{\"alg\":\"RSA-OAEP\"}", "not supported"},
    {ALG_RS256, "{\"alg\":\"none\"}", "not supported"},
    {ALG_RS256, "{\"alg\":\"\"}", "not supported"},
    {ALG_RS256, "{\"alg\":256}", "alg must be a string"},
    {ALG_RS256, "{\"alg\":\"ES256\"}", "does not fit"},
    {ALG_RS256, "{\"alg\":\"HS256\"}", "does not fit"},
    {ALG_RS256, "{\"kid\":\"any text\"}", NULL},
    {ALG_RS256, "{\"kid\":5}", "kid must be a string"},
    {ALG_RS256, "{\"kty\":\"rsa\"}", "kty"},
    {ALG_RS256, "{\"kty\":null}", "kty"},
    {ALG_RS256, "{\"kty\":5}", "kty must be a string"},
    {ALG_RS256, "{\"kty\":\"EC\"}", "crv"},
    {ALG_RS256, "{\"e\":\"Aw\"}", NULL},
    {ALG_RS256, "{\"e\":\"AAAD\"}", NULL},
    {ALG_RS256, "{\"e\":\"AQ\"}", "exponent"},
    {ALG_RS256, "{\"e\":\"AAAB\"}", "exponent"},
    {ALG_RS256, "{\"e\":\"Ag\"}", "exponent"},
    {ALG_RS256, "{\"e\":\"AQAA\"}", "exponent"},
    {ALG_RS256, "{\"e\":\"AQAAAAAAAAAB\"}", "exponent"},
    {ALG_RS256, "{\"e\":\"\"}", "e is missing or empty"},
    {ALG_RS256, "{\"e\":null}", "e is missing or empty"},
    {ALG_RS256, "{\"e\":65537}", "e must be a string"},
    {ALG_RS256, "{\"e\":\"AQAB=\"}", NULL},
    {ALG_RS256, "{\"e\":\"AQAB==\"}", NULL},
    {ALG_RS256, "{\"e\":\"AQ==\"}", "exponent"},
    {ALG_RS256, "{\"e\":\"!\"}", "not base64url"},
    {ALG_RS256, "{\"n\":\"////\"}", "24 bits"},
    {ALG_RS256, "{\"n\":\"____\"}", "24 bits"},
    {ALG_RS256, "{\"n\":null}", "n is missing"},
    {ALG_RS256, "{\"x5c\":[]}", NULL},
    {ALG_RS256, "{\"x5c\":[],\"n\":null}", "n is missing"},
    {ALG_RS256, "{\"x5c\":null}", NULL},
    {ALG_RS256, "{\"x5c\":\"\"}", NULL},
    {ALG_RS256, "{\"x5c\":\"AAAA\"}", NULL},
    {ALG_RS256, "{\"x5c\":5}", NULL},
    {ALG_RS256, "{\"x5c\":{}}", NULL},
    {ALG_RS256, "{\"x5c\":[null]}", NULL},
    {ALG_RS256, "{\"x5c\":[\"\"]}", NULL},
    {ALG_RS256, "{\"x5c\":[\"AAAA\"]}", NULL},
    {ALG_RS256, "{\"x5c\":[\"AAAA\"],\"n\":null}", "no certificate"},
    {ALG_RS256, "{\"x5c\":[null],\"n\":null}", "no certificate"},
    {ALG_RS256, "{\"x5c\":\"AAAA\",\"n\":null}", "n is missing"},
    {ALG_ES256, "{\"alg\":\"ES256\"}", NULL},
    {ALG_ES256, "{\"alg\":\"ES384\"}", "does not fit"},
    {ALG_ES256, "{\"alg\":\"ES521\"}", "not supported"},
    {ALG_ES256, "{\"alg\":\"RS256\"}", "does not fit"},
    {ALG_ES256, "{\"crv\":\"P-384\"}", "no valid EC"},
    {ALG_ES256, "{\"crv\":\"secp256k1\"}", "crv"},
    {ALG_ES256, "{\"crv\":\"p-256\"}", "crv"},
    {ALG_ES256, "{\"crv\":null}", "crv"},
    {ALG_ES256, "{\"crv\":\"Ed25519\"}", "crv"},
    {ALG_ES256, "{\"x\":\"AQ\"}", "no valid EC"},
    {ALG_ES256, "{\"y\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}", "no valid EC"},
    {ALG_ES256,
     "{\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
     "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
     "no valid EC"},
    {ALG_ES384, "{\"alg\":\"ES384\"}", NULL},
    {ALG_ES384, "{\"crv\":\"P-256\"}", "x has 48 bytes instead of 32"},
    {ALG_ES512, "{\"alg\":\"ES512\"}", NULL},
    {ALG_EDDSA, "{\"alg\":\"EdDSA\"}", NULL},
    {ALG_EDDSA, "{\"alg\":\"ES256\"}", "does not fit"},
    {ALG_EDDSA, "{\"crv\":\"X25519\"}", "crv"},
    {ALG_EDDSA, "{\"crv\":\"Ed448\"}", "instead of 57"},
    {ALG_EDDSA, "{\"crv\":\"P-256\"}", "crv"},
    {ALG_EDDSA, "{\"x\":\"AAEC\"}", "instead of 32"},
    {ALG_HS256, "{\"alg\":\"HS256\"}", NULL},
    {ALG_HS256, "{\"alg\":\"HS384\"}", "does not fit"},
    {ALG_HS256, "{\"alg\":\"HS512\"}", "does not fit"},
    {ALG_HS256, "{\"alg\":\"RS256\"}", "does not fit"},
    {ALG_HS256, "{\"alg\":\"A256GCM\"}", "not supported"},
    {ALG_HS256, "{\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg\"}", "31 bytes"},
    {ALG_HS256, "{\"k\":\"\"}", "missing or empty"},
    {ALG_HS256, "{\"kty\":\"OCT\"}", "kty"},
    {ALG_HS256, "{\"kty\":\"RSA\"}", "n is missing"},
};

static void check_jwk(const json_t *jwk, const char *what, const char *reason)
{
    struct key *key = NULL;
    struct err err = {""};
    int rc = jwk_read_key(jwk, &key, &err);
    bool other_use = reason != NULL && (strstr(reason, "use is not sig") != NULL ||
                                        strstr(reason, "do not allow verify") != NULL);
    if (rc != (other_use ? -ENOTSUP : reason != NULL ? -EINVAL : 0))
        fail_msg("%s: %d \"%s\"", what, rc, err.text);
    if (reason != NULL && strstr(err.text, reason) == NULL)
        fail_msg("%s: refused with \"%s\", not \"%s\"", what, err.text, reason);
    assert_true((key != NULL) == (reason == NULL));
    assert_int_equal(ERR_peek_error(), 0);
    key_unref(key);
}

static void test_jwk(void **state)
{
    json_t *jwks[ALG_COUNT] = {NULL};
    (void)state;
    for (size_t i = 0; i < sizeof(jwk_cases) / sizeof(jwk_cases[0]); i++) {
        enum alg kind = jwk_cases[i].kind;
        json_t *change = json_loads(jwk_cases[i].change, 0, NULL), *jwk;
        if (jwks[kind] == NULL)
            jwks[kind] = new_jwk(kind);
        jwk = json_copy(jwks[kind]);
        assert_int_equal(json_object_update(jwk, change), 0);
        check_jwk(jwk, jwk_cases[i].change, jwk_cases[i].reason);
        json_decref(jwk);
        json_decref(change);
    }
    for (enum alg alg = 0; alg < ALG_COUNT; alg++)
        json_decref(jwks[alg]);
    check_jwk(NULL, "nothing", "must be a JSON object");
    json_t *list = json_array();
    check_jwk(list, "[]", "must be a JSON object");
    json_decref(list);
}

static void set_random_number(json_t *jwk, size_t bytes, unsigned char last)
{
    unsigned char *number = malloc(bytes);
    struct buf text = BUF_INIT;
    memset(number, 0xa5, bytes);
    number[bytes - 1] = last;
    base64url_encode(number, bytes, &text);
    json_object_set_new(jwk, "n", json_stringn(text.data, text.len));
    buf_free(&text);
    free(number);
}

static void test_rsa_sizes(void **state)
{
    static const struct {
        size_t bytes;
        unsigned char last;
        const char *reason;
    } cases[] = {
        {255, 0xa5, "2040 bits"}, {256, 0xa5, NULL},          {256, 0xa4, "even"},
        {512, 0xa5, NULL},        {1024, 0xa5, NULL},         {1025, 0xa5, "8200 bits"},
        {1100, 0xa5, "too long"}, {100000, 0xa5, "too long"},
    };
    json_t *jwk = json_pack("{s:s,s:s}", "kty", "RSA", "e", "AQAB");
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_random_number(jwk, cases[i].bytes, cases[i].last);
        check_jwk(jwk, "modulus", cases[i].reason);
    }
    json_decref(jwk);
}

static void test_binding(void **state)
{
    json_t *jwk = new_jwk(ALG_RS256);
    struct key *key;
    (void)state;
    assert_int_equal(jwk_read_key(jwk, &key, NULL), 0);
    for (enum alg alg = 0; alg <= ALG_COUNT; alg++)
        assert_int_equal(key_fits(key, alg), alg >= ALG_RS256 && alg <= ALG_PS512);
    assert_false(key_can_sign(key));
    key_unref(key);
    json_object_set_new(jwk, "alg", json_string("PS384"));
    assert_int_equal(jwk_read_key(jwk, &key, NULL), 0);
    for (enum alg alg = 0; alg <= ALG_COUNT; alg++)
        assert_int_equal(key_fits(key, alg), alg == ALG_PS384);
    key_unref(key);
    json_decref(jwk);
    for (enum alg kind = ALG_ES256; kind <= ALG_EDDSA; kind++) {
        jwk = new_jwk(kind);
        assert_int_equal(jwk_read_key(jwk, &key, NULL), 0);
        for (enum alg alg = 0; alg <= ALG_COUNT; alg++)
            assert_int_equal(key_fits(key, alg), alg == kind);
        key_unref(key);
        json_decref(jwk);
    }
}

static void test_kid(void **state)
{
    char kid[257];
    json_t *jwk = new_jwk(ALG_ES256);
    struct key *key;
    (void)state;
    memset(kid, 'k', sizeof(kid));
    json_object_set_new(jwk, "kid", json_stringn(kid, 257));
    check_jwk(jwk, "kid of 257 bytes", "over 256 bytes");
    json_object_set_new(jwk, "kid", json_stringn(kid, 256));
    assert_int_equal(jwk_read_key(jwk, &key, NULL), 0);
    assert_int_equal(key_kid(key).len, 256);
    key_set_kid(key, STR("b"));
    assert_true(str_eq(key_kid(key), STR("b")));
    key_set_kid(key, STR(""));
    assert_int_equal(key_kid(key).len, 0);
    key_unref(key);
    json_decref(jwk);
}

/* ---- secrets ---- */

static void test_secrets(void **state)
{
    static const char bytes[8193] = {0};
    static const struct {
        size_t len;
        unsigned algs;
    } cases[] = {
        {0, 0},
        {1, 0},
        {31, 0},
        {32, ALG_BIT(ALG_HS256)},
        {47, ALG_BIT(ALG_HS256)},
        {48, ALG_BIT(ALG_HS256) | ALG_BIT(ALG_HS384)},
        {64, ALG_HMAC},
        {8192, ALG_HMAC},
        {8193, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct key *key = NULL;
        struct err err = {""};
        int rc = key_from_secret((struct str){bytes, cases[i].len}, &key, &err);
        assert_int_equal(rc, cases[i].algs != 0 ? 0 : -EINVAL);
        assert_true((err.text[0] != '\0') == (rc != 0));
        for (enum alg alg = 1; rc == 0 && alg < ALG_COUNT; alg++)
            assert_int_equal(key_fits(key, alg), (cases[i].algs & ALG_BIT(alg)) != 0);
        if (rc == 0)
            assert_null(jwk_write_key(key, ALG_HS256)); /* a secret has no public form */
        key_unref(key);
    }
}

/* ---- certificates ---- */

static X509 *certificate_of(EVP_PKEY *pkey)
{
    X509 *certificate = X509_new();
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600));
    assert_int_equal(X509_set_pubkey(certificate, pkey), 1);
    assert_true(X509_sign(certificate, pkey, EVP_sha256()) > 0);
    return certificate;
}

static json_t *x5c_of(EVP_PKEY *pkey)
{
    X509 *certificate = certificate_of(pkey);
    unsigned char *der = NULL, text[4096];
    int len = i2d_X509(certificate, &der);
    assert_true(len > 0 && len < 3000);
    EVP_EncodeBlock(text, der, len);
    OPENSSL_free(der);
    X509_free(certificate);
    return json_pack("[s]", (char *)text);
}

static struct key *adopted(EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    struct key *key;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    long len = BIO_get_mem_data(bio, &text);
    assert_int_equal(key_from_pem((struct str){text, (size_t)len}, &key, NULL), 0);
    BIO_free(bio);
    return key;
}

/* The member in the standard alphabet, with padding; `zeros` more bytes at its front, or that many
 * of its zeros less. */
static void respell(json_t *jwk, const char *name, int zeros)
{
    const char *text = json_string_value(json_object_get(jwk, name));
    unsigned char bytes[600] = {0};
    size_t len, at = 8;
    assert_int_equal(base64url_decode(str_from(text), bytes + at, &len), 0);
    at -= (size_t)zeros;
    len += (size_t)zeros;
    char out[1000];
    size_t count = base64_encode((struct str){(char *)bytes + at, len}, BASE64_STANDARD, out);
    json_object_set_new(jwk, name, json_stringn(out, count));
}

static void expect_same(const json_t *jwk, const struct key *key)
{
    struct key *read;
    struct buf a = BUF_INIT, b = BUF_INIT;
    assert_int_equal(jwk_read_key(jwk, &read, NULL), 0);
    assert_int_equal(jwk_write_thumbprint(key, &a), 0);
    assert_int_equal(jwk_write_thumbprint(read, &b), 0);
    assert_true(str_eq(buf_str(&a), buf_str(&b)));
    key_unref(read);
    buf_free(&a);
    buf_free(&b);
}

/* A new EC key whose x begins with a zero. */
static json_t *short_jwk(struct key **key)
{
    for (;;) {
        assert_int_equal(key_generate(ALG_ES256, key, NULL), 0);
        json_t *jwk = jwk_write_key(*key, ALG_ES256);
        const char *x = json_string_value(json_object_get(jwk, "x"));
        if (x[0] == 'A' && x[1] >= 'A' && x[1] <= 'P') /* eight bits */
            return jwk;
        key_unref(*key);
        json_decref(jwk);
    }
}

/* However its numbers are spelled, it is the same key. */
static void test_spelling(void **state)
{
    struct key *rsa = any_key(ALG_RS256), *ec;
    json_t *jwk = jwk_write_key(rsa, ALG_RS256);
    (void)state;
    respell(jwk, "n", 0);
    respell(jwk, "e", 0);
    expect_same(jwk, rsa);
    json_decref(jwk);
    jwk = jwk_write_key(rsa, ALG_RS256);
    respell(jwk, "n", 1);
    respell(jwk, "e", 2);
    expect_same(jwk, rsa);
    json_decref(jwk);
    jwk = short_jwk(&ec);
    expect_same(jwk, ec);
    respell(jwk, "x", -1);
    respell(jwk, "y", 1);
    expect_same(jwk, ec);
    json_decref(jwk);
    key_unref(ec);
    key_unref(rsa);
}

static void test_x5c(void **state)
{
    EVP_PKEY *rsa = rsa_pkey(RSA_A), *other = rsa_pkey(RSA_B), *ec = EVP_EC_gen("P-256"),
             *small = rsa_pkey(RSA_SMALL);
    struct key *key = adopted(rsa), *from_x5c;
    json_t *jwk = jwk_write_key(key, ALG_RS256), *bare = json_pack("{s:s}", "kty", "RSA");
    struct buf a = BUF_INIT, b = BUF_INIT;
    (void)state;
    json_object_set_new(bare, "x5c", x5c_of(rsa));
    assert_int_equal(jwk_read_key(bare, &from_x5c, NULL), 0);
    assert_int_equal(jwk_write_thumbprint(key, &a), 0);
    assert_int_equal(jwk_write_thumbprint(from_x5c, &b), 0);
    assert_true(str_eq(buf_str(&a), buf_str(&b)));
    json_object_set_new(bare, "x5c", x5c_of(ec));
    check_jwk(bare, "x5c of an EC key", "not a certificate of its kty");
    json_object_set_new(bare, "x5c", x5c_of(small));
    check_jwk(bare, "x5c of 1024 bits", "1024 bits");
    json_object_set_new(jwk, "x5c", x5c_of(rsa));
    check_jwk(jwk, "n, e and their certificate", NULL);
    json_object_set_new(jwk, "x5c", x5c_of(other));
    check_jwk(jwk, "n, e and another's certificate", "another key");
    json_object_set_new(jwk, "x5c", x5c_of(ec));
    check_jwk(jwk, "n, e and an EC certificate", "another key");
    buf_free(&a);
    buf_free(&b);
    json_decref(jwk);
    json_decref(bare);
    key_unref(key);
    key_unref(from_x5c);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(other);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(small);
}

/* ---- PEM ---- */

enum form { PUBLIC, PKCS8, TRADITIONAL, CERTIFICATE, ENCRYPTED, ENCRYPTED_TRADITIONAL };

static struct buf pem_of(EVP_PKEY *pkey, enum form form)
{
    BIO *bio = BIO_new(BIO_s_mem());
    unsigned char pass[] = "pass";
    struct buf out = BUF_INIT;
    char *text = NULL;
    int ok = 0;
    if (form == PUBLIC)
        ok = PEM_write_bio_PUBKEY(bio, pkey);
    else if (form == PKCS8)
        ok = PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    else if (form == TRADITIONAL)
        ok = PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL);
    else if (form == ENCRYPTED)
        ok = PEM_write_bio_PKCS8PrivateKey(bio, pkey, EVP_aes_128_cbc(), "pass", 4, NULL, NULL);
    else if (form == ENCRYPTED_TRADITIONAL)
        ok =
            PEM_write_bio_PrivateKey_traditional(bio, pkey, EVP_aes_128_cbc(), pass, 4, NULL, NULL);
    if (form == CERTIFICATE) {
        X509 *certificate = certificate_of(pkey);
        ok = PEM_write_bio_X509(bio, certificate);
        X509_free(certificate);
    }
    assert_int_equal(ok, 1);
    long len = BIO_get_mem_data(bio, &text);
    buf_add(&out, text, (size_t)len);
    BIO_free(bio);
    return out;
}

static void check_pem(struct str pem, const char *what, const char *reason, bool signs)
{
    struct key *key = NULL;
    struct err err = {""};
    int rc = key_from_pem(pem, &key, &err);
    bool other_use = reason != NULL && (strstr(reason, "use is not sig") != NULL ||
                                        strstr(reason, "do not allow verify") != NULL);
    if (rc != (other_use ? -ENOTSUP : reason != NULL ? -EINVAL : 0))
        fail_msg("%s: %d \"%s\"", what, rc, err.text);
    if (reason != NULL && strstr(err.text, reason) == NULL)
        fail_msg("%s: refused with \"%s\", not \"%s\"", what, err.text, reason);
    if (reason == NULL)
        assert_int_equal(key_can_sign(key), signs);
    assert_int_equal(ERR_peek_error(), 0);
    key_unref(key);
}

static void test_pem_forms(void **state)
{
    static const struct {
        enum form form;
        const char *what, *reason;
        bool signs;
    } forms[] = {
        {PUBLIC, "public key", NULL, false},
        {PKCS8, "private key", NULL, true},
        {TRADITIONAL, "traditional private key", NULL, true},
        {CERTIFICATE, "certificate", NULL, false},
        {ENCRYPTED, "encrypted key", "encrypted private keys are not supported", false},
        {ENCRYPTED_TRADITIONAL, "encrypted traditional key",
         "encrypted private keys are not supported", false},
    };
    EVP_PKEY *pkeys[] = {rsa_pkey(RSA_A), EVP_EC_gen("P-256"), EVP_EC_gen("P-521")};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
            struct buf pem = pem_of(pkeys[k], forms[i].form);
            check_pem(buf_str(&pem), forms[i].what, forms[i].reason, forms[i].signs);
            /* every cut of it is refused, or still holds the whole block */
            for (size_t cut = 0; cut + 60 < pem.len; cut += 41) {
                struct key *key;
                assert_int_equal(key_from_pem((struct str){pem.data, cut}, &key, NULL), -EINVAL);
                assert_null(key);
            }
            buf_free(&pem);
        }
        EVP_PKEY_free(pkeys[k]);
    }
}

static void test_pem_kinds(void **state)
{
    static const struct {
        const char *type;
        const char *group;
        const char *reason;
    } cases[] = {
        {"EC", "P-384", NULL},
        {"EC", "secp256k1", "secp256k1 is not supported"},
        {"EC", "P-224", "not supported"},
        {"ED25519", NULL, NULL},
        {"ED448", NULL, NULL},
        {"X25519", NULL, "only RSA, EC, Ed25519 and Ed448"},
        {"RSA", NULL, "1024 bits"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EVP_PKEY *pkey = strcmp(cases[i].type, "RSA") == 0 ? rsa_pkey(RSA_SMALL)
                         : cases[i].group != NULL
                             ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", cases[i].group)
                             : EVP_PKEY_Q_keygen(NULL, NULL, cases[i].type);
        struct buf pem = pem_of(pkey, PKCS8), with_text = BUF_INIT;
        check_pem(buf_str(&pem), cases[i].type, cases[i].reason, true);
        buf_add_str(&with_text, STR("a note\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                                    "-----END EC PARAMETERS-----\n"));
        buf_add_str(&with_text, buf_str(&pem));
        check_pem(buf_str(&with_text), cases[i].type, cases[i].reason, true);
        buf_free(&with_text);
        buf_free(&pem);
        EVP_PKEY_free(pkey);
    }
}

static void test_pem_texts(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "not a PEM key"},
        {"secret", "not a PEM key"},
        {"{\"kty\":\"RSA\"}", "not a PEM key"},
        {"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", ""},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no key that can be read"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
         "no key that can be read"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
         "no key that can be read"},
        {"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
         "CERTIFICATE REQUEST"},
        {"-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n", "not a PEM key"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_pem(str_from(cases[i].text), cases[i].text, cases[i].reason, false);
}

/* A private key's file signs like the key it came from; a public one has no private file. */
static void test_pem_round_trip(void **state)
{
    (void)state;
    for (enum alg alg = ALG_PS512; alg < ALG_COUNT; alg++) {
        struct key *key, *again, *public_key;
        struct buf pem = BUF_INIT, a = BUF_INIT, b = BUF_INIT;
        json_t *jwk;
        if (alg == ALG_PS512 && slowness() >= 10) /* valgrind looks for primes for half a minute */
            key = any_key(alg);
        else
            assert_int_equal(key_generate(alg, &key, NULL), 0);
        assert_int_equal(key_to_pem(key, &pem), 0);
        assert_int_equal(key_from_pem(buf_str(&pem), &again, NULL), 0);
        assert_true(key_can_sign(again));
        assert_int_equal(jwk_write_thumbprint(key, &a), 0);
        assert_int_equal(jwk_write_thumbprint(again, &b), 0);
        assert_int_equal(a.len, 43);
        assert_true(str_eq(buf_str(&a), buf_str(&b)));
        key_set_kid(again, buf_str(&a));
        jwk = jwk_write_key(again, alg);
        assert_string_equal(json_string_value(json_object_get(jwk, "alg")), alg_name(alg));
        assert_true(str_eq(str_from(json_string_value(json_object_get(jwk, "kid"))), buf_str(&a)));
        assert_null(json_object_get(jwk, "d"));
        assert_int_equal(jwk_read_key(jwk, &public_key, NULL), 0);
        assert_int_equal(key_to_pem(public_key, &b), -EINVAL);
        assert_null(jwk_write_key(key, ALG_HS256));
        json_decref(jwk);
        key_unref(key);
        key_unref(again);
        key_unref(public_key);
        buf_free(&pem);
        buf_free(&a);
        buf_free(&b);
    }
}

/* ---- thumbprints ---- */

static void test_thumbprints(void **state)
{
    static const struct {
        const char *jwk, *thumbprint;
    } cases[] = {
        /* RFC 7638 section 3.1 */
        {"{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86"
         "zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN"
         "5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO"
         "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU"
         "8awapJzKnqDKgw\",\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}",
         "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
        /* RFC 8037 appendix A.3 */
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
         "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
         "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        json_t *jwk = json_loads(cases[i].jwk, 0, NULL);
        struct key *key;
        struct buf text = BUF_INIT;
        assert_int_equal(jwk_read_key(jwk, &key, NULL), 0);
        assert_int_equal(jwk_write_thumbprint(key, &text), 0);
        assert_true(str_eq(buf_str(&text), str_from(cases[i].thumbprint)));
        buf_free(&text);
        key_unref(key);
        json_decref(jwk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alg_names),   cmocka_unit_test(test_jwk),
        cmocka_unit_test(test_rsa_sizes),   cmocka_unit_test(test_binding),
        cmocka_unit_test(test_kid),         cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_spelling),    cmocka_unit_test(test_x5c),
        cmocka_unit_test(test_pem_forms),   cmocka_unit_test(test_pem_kinds),
        cmocka_unit_test(test_pem_texts),   cmocka_unit_test(test_pem_round_trip),
        cmocka_unit_test(test_thumbprints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
