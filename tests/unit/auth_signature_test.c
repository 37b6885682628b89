/* Signatures: every algorithm, made and checked, over both backends. */
#include "unit.h"
#include "rsa_keys.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/ec.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/key.h"
#include "base/limits.h"

#define CLAIMS "{\"sub\":\"a\",\"exp\":1700003600,\"f\":1.5}"

static struct key *keys[ALG_COUNT];

/* A token and its parts. */
struct jws {
    struct buf text;
    struct str input;
    char signature[LIMIT_RSA_BITS_MAX / 8 + 3];
    size_t len;
};

static struct str signature_of(const struct jws *jws)
{
    return (struct str){jws->signature, jws->len};
}

static void sign_with(struct key *key, enum key_backend backend, enum alg alg, const char *typ,
                      struct jws *jws)
{
    json_t *extra = typ != NULL ? json_pack("{s:s}", "typ", typ) : NULL;
    struct err err = {""};
    size_t dot;
    jws->text = BUF_INIT;
    int rc = key_sign_with(key, backend, alg, extra, STR(CLAIMS), &jws->text, &err);
    if (rc != 0)
        fail_msg("%s: %s", alg_name(alg), err.text);
    json_decref(extra);
    for (dot = jws->text.len - 1; jws->text.data[dot] != '.'; dot--)
        ;
    jws->input = (struct str){jws->text.data, dot};
    assert_true(jws->text.len - dot - 1 <= 4 * (LIMIT_RSA_BITS_MAX / 8) / 3);
    assert_int_equal(
        base64url_decode(str_skip(buf_str(&jws->text), dot + 1), jws->signature, &jws->len), 0);
}

static void sign(struct key *key, enum alg alg, const char *typ, struct jws *jws)
{
    sign_with(key, KEY_BACKEND_OPENSSL, alg, typ, jws);
}

static bool libjwt_knows(enum alg alg)
{
    return alg <= ALG_RS512 || (alg >= ALG_ES256 && alg <= ALG_ES512);
}

/* The verdict of both, which must agree. */
static int verdict(enum alg key_of, enum alg alg, struct str input, struct str signature)
{
    int rc = key_verify(keys[key_of], KEY_BACKEND_OPENSSL, alg, input, signature);
    int other = key_verify(keys[key_of], KEY_BACKEND_LIBJWT, alg, input, signature);
    if (other != -ENOTSUP && rc != other)
        fail_msg("%s: openssl says %d, libjwt %d", alg_name(alg), rc, other);
    assert_int_equal(ERR_peek_error(), 0);
    return rc;
}

static json_t *decode_part(struct str part)
{
    char bytes[1024];
    size_t len;
    assert_true(part.len < sizeof(bytes));
    assert_int_equal(base64url_decode(part, bytes, &len), 0);
    return json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);
}

static void test_good(void **state)
{
    (void)state;
    for (enum alg alg = ALG_HS256; alg < ALG_COUNT; alg++) {
        struct jws jws;
        sign(keys[alg], alg, NULL, &jws);
        assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), 0);
        /* again on the prepared key */
        assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), 0);
        assert_int_equal(
            key_verify(keys[alg], KEY_BACKEND_LIBJWT, alg, jws.input, signature_of(&jws)),
            libjwt_knows(alg) ? 0 : -ENOTSUP);
        buf_free(&jws.text);
    }
}

/* What is written is what was asked for, by either backend; typ is at+jwt where libjwt would have
 * written JWT. */
static void test_token_text(void **state)
{
    static const char *const types[] = {"JWT", "at+jwt"};
    (void)state;
    for (enum alg alg = ALG_HS256; alg < ALG_COUNT; alg++)
        for (int i = 0; i < 4; i++) {
            struct jws jws;
            json_t *claims = json_loads(CLAIMS, 0, NULL), *wanted, *header, *payload;
            sign_with(keys[alg], i < 2 ? KEY_BACKEND_OPENSSL : KEY_BACKEND_LIBJWT, alg,
                      i % 2 == 0 ? NULL : types[i % 2], &jws);
            size_t dot = str_find(jws.input, '.');
            header = decode_part((struct str){jws.input.ptr, dot});
            payload = decode_part(str_skip(jws.input, dot + 1));
            wanted =
                json_pack("{s:s,s:s,s:s}", "alg", alg_name(alg), "typ", types[i % 2], "kid", "k1");
            assert_true(json_equal(header, wanted));
            assert_true(json_equal(payload, claims));
            assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), 0);
            json_decref(header);
            json_decref(payload);
            json_decref(wanted);
            json_decref(claims);
            buf_free(&jws.text);
        }
}

/* libjwt would refuse a good RFC 9068 token; it says that it cannot judge, for a bad one as well.
 */
static void test_at_jwt(void **state)
{
    struct jws jws;
    (void)state;
    sign(keys[ALG_RS256], ALG_RS256, "at+jwt", &jws);
    for (int bad = 0; bad < 2; bad++) {
        jws.signature[5] ^= (char)bad;
        assert_int_equal(key_verify(keys[ALG_RS256], KEY_BACKEND_LIBJWT, ALG_RS256, jws.input,
                                    signature_of(&jws)),
                         -ENOTSUP);
        assert_int_equal(key_verify(keys[ALG_RS256], KEY_BACKEND_OPENSSL, ALG_RS256, jws.input,
                                    signature_of(&jws)),
                         bad ? -EBADMSG : 0);
    }
    buf_free(&jws.text);
}

static void test_changed_signature(void **state)
{
    (void)state;
    for (enum alg alg = ALG_HS256; alg < ALG_COUNT; alg++) {
        struct jws jws;
        sign(keys[alg], alg, NULL, &jws);
        for (size_t i = 0; i<jws.len; i += jws.len> 140 ? 51 : 13) {
            jws.signature[i] ^= 0x20;
            assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), -EBADMSG);
            jws.signature[i] ^= 0x20;
        }
        assert_int_equal(verdict(alg, alg, jws.input, (struct str){jws.signature, jws.len - 1}),
                         -EBADMSG);
        jws.signature[jws.len] = 0;
        assert_int_equal(verdict(alg, alg, jws.input, (struct str){jws.signature, jws.len + 1}),
                         -EBADMSG);
        assert_int_equal(verdict(alg, alg, jws.input, (struct str){NULL, 0}), -EBADMSG);
        jws.text.data[jws.input.len - 2] ^= 1;
        assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), -EBADMSG);
        jws.text.data[jws.input.len - 2] ^= 1;
        assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), 0);
        buf_free(&jws.text);
    }
}

/* One key, one kind: each algorithm's signature is good for that algorithm alone. */
static void test_other_algorithm(void **state)
{
    (void)state;
    for (enum alg alg = ALG_HS256; alg < ALG_COUNT; alg++) {
        struct jws jws;
        sign(keys[alg], alg, NULL, &jws);
        for (enum alg other = ALG_NONE_KNOWN; other <= ALG_COUNT; other++)
            assert_int_equal(verdict(alg, other, jws.input, signature_of(&jws)),
                             other == alg ? 0 : -EBADMSG);
        for (enum alg other = ALG_HS256; other < ALG_COUNT; other++)
            assert_int_equal(verdict(other, alg, jws.input, signature_of(&jws)),
                             keys[other] == keys[alg] ? 0 : -EBADMSG);
        buf_free(&jws.text);
    }
}

/* A token that is signed with the text of the public key as an HMAC secret (CVE-2015-9235). */
static void test_key_confusion(void **state)
{
    struct buf pem = BUF_INIT;
    struct key *secret;
    struct jws jws;
    (void)state;
    assert_int_equal(key_to_pem(keys[ALG_RS256], &pem), 0);
    assert_int_equal(key_from_secret(buf_str(&pem), &secret, NULL), 0);
    sign(secret, ALG_HS256, NULL, &jws);
    assert_int_equal(
        key_verify(secret, KEY_BACKEND_LIBJWT, ALG_HS256, jws.input, signature_of(&jws)), 0);
    for (enum alg alg = ALG_HS256; alg <= ALG_RS512; alg++)
        assert_int_equal(verdict(ALG_RS256, alg, jws.input, signature_of(&jws)), -EBADMSG);
    buf_free(&jws.text);
    buf_free(&pem);
    key_unref(secret);
}

/* Inputs that libjwt reads in its own way, or not at all, are left to OpenSSL, which takes bytes.
 */
static void test_inputs_libjwt_cannot_judge(void **state)
{
    static const struct {
        const char *header, *payload;
    } cases[] = {
        {"{\"alg\":\"none\"}", "{}"},
        {"{\"alg\":\"hs256\"}", "{}"},
        {"{\"alg\":\"HS384\"}", "{}"},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", "{}"},
        {"{\"typ\":\"JWT\"}", "{}"},
        {"{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", "{}"},
        {"{\"alg\":\"HS256\"}", "5"},
        {"{\"alg\":\"HS256\"}", "text"},
        {"HS256", "{}"},
    };
    unsigned char sig[64];
    struct str signature = {(const char *)sig, 32};
    (void)state;
    memset(sig, 7, sizeof(sig));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf input = BUF_INIT;
        base64url_encode(cases[i].header, strlen(cases[i].header), &input);
        buf_add_char(&input, '.');
        base64url_encode(cases[i].payload, strlen(cases[i].payload), &input);
        assert_int_equal(
            key_verify(keys[ALG_HS256], KEY_BACKEND_LIBJWT, ALG_HS256, buf_str(&input), signature),
            -ENOTSUP);
        buf_free(&input);
    }
    static const char *const texts[] = {
        "", ".", "e30.", ".e30", "e30", "e30.e30.e30", "e30 .e30", "e30=.e30", "e30.e3%"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(key_verify(keys[ALG_HS256], KEY_BACKEND_LIBJWT, ALG_HS256,
                                    str_from(texts[i]), signature),
                         -ENOTSUP);
    assert_int_equal(key_verify(keys[ALG_HS256], KEY_BACKEND_LIBJWT, ALG_HS256,
                                (struct str){"e30.e\0", 6}, signature),
                     -ENOTSUP);
}

/* A long input, so that libjwt's stack is out of reach. */
static void test_long_input(void **state)
{
    size_t len = 64 * 1024;
    char *text = malloc(len), sig[32] = {0};
    (void)state;
    memset(text, 'A', len);
    text[10] = '.';
    assert_int_equal(key_verify(keys[ALG_HS256], KEY_BACKEND_LIBJWT, ALG_HS256,
                                (struct str){text, len}, (struct str){sig, 32}),
                     -ENOTSUP);
    assert_int_equal(verdict(ALG_HS256, ALG_HS256, (struct str){text, len}, (struct str){sig, 32}),
                     -EBADMSG);
    free(text);
}

/* ---- ECDSA: r and s are numbers from 1 to n - 1 ---- */

static void order_of(int nid, unsigned char *out, size_t len)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(nid);
    assert_int_equal(BN_bn2binpad(EC_GROUP_get0_order(group), out, (int)len), (int)len);
    EC_GROUP_free(group);
}

/* out = n - s */
static void negate(int nid, const unsigned char *s, unsigned char *out, size_t len)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(nid);
    BIGNUM *number = BN_bin2bn(s, (int)len, NULL);
    assert_int_equal(BN_sub(number, EC_GROUP_get0_order(group), number), 1);
    assert_int_equal(BN_bn2binpad(number, out, (int)len), (int)len);
    BN_free(number);
    EC_GROUP_free(group);
}

static void check_half(enum alg alg, struct jws *jws, size_t at, const void *value, size_t half)
{
    unsigned char saved[66];
    memcpy(saved, jws->signature + at, half);
    memcpy(jws->signature + at, value, half);
    assert_int_equal(verdict(alg, alg, jws->input, signature_of(jws)), -EBADMSG);
    memcpy(jws->signature + at, saved, half);
}

static void test_ecdsa_range(void **state)
{
    static const struct {
        enum alg alg;
        int nid;
        size_t half;
    } cases[] = {{ALG_ES256, NID_X9_62_prime256v1, 32},
                 {ALG_ES384, NID_secp384r1, 48},
                 {ALG_ES512, NID_secp521r1, 66}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        enum alg alg = cases[i].alg;
        size_t half = cases[i].half;
        unsigned char zero[66] = {0}, ones[66], order[66], other[66];
        struct jws jws;
        sign(keys[alg], alg, NULL, &jws);
        assert_int_equal(jws.len, 2 * half);
        memset(ones, 0xff, sizeof(ones));
        order_of(cases[i].nid, order, half);
        for (size_t at = 0; at <= half; at += half) {
            check_half(alg, &jws, at, zero, half);
            check_half(alg, &jws, at, order, half);
            check_half(alg, &jws, at, ones, half);
        }
        negate(cases[i].nid, (unsigned char *)jws.signature + half, other, half);
        memcpy(jws.signature + half, other, half);
        assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), 0);
        memset(jws.signature, 0, jws.len); /* CVE-2022-21449 */
        assert_int_equal(verdict(alg, alg, jws.input, signature_of(&jws)), -EBADMSG);
        buf_free(&jws.text);
    }
}

/* ---- requests that cannot be signed ---- */

static void test_sign_refusals(void **state)
{
    static const struct {
        const char *header, *claims, *reason; /* reason NULL: it can */
        enum alg alg;
    } cases[] = {
        {NULL, "{}", NULL, ALG_RS256},
        {"{\"cty\":\"JWT\"}", "{}", NULL, ALG_RS256},
        {"{\"kid\":\"other\"}", "{}", NULL, ALG_PS384},
        {NULL, "[]", "not an object", ALG_RS256},
        {NULL, "5", "not valid JSON", ALG_RS256},
        {NULL, "", "not valid JSON", ALG_RS256},
        {NULL, "{} {}", "not valid JSON", ALG_RS256},
        {NULL, "{\"a\":1,\"a\":2}", "twice", ALG_RS256},
        {"{\"alg\":\"none\"}", "{}", "without alg", ALG_RS256},
        {"[]", "{}", "without alg", ALG_RS256},
        {NULL, "{}", "cannot be used with ES256", ALG_ES256},
        {NULL, "{}", "cannot be used with this algorithm", ALG_NONE_KNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *header = cases[i].header != NULL ? json_loads(cases[i].header, 0, NULL) : NULL;
        struct buf out = BUF_INIT;
        struct err err = {""};
        buf_add_char(&out, '#');
        int rc =
            key_sign(keys[ALG_RS256], cases[i].alg, header, str_from(cases[i].claims), &out, &err);
        assert_int_equal(rc, cases[i].reason != NULL ? -EINVAL : 0);
        if (cases[i].reason != NULL) {
            assert_non_null(strstr(err.text, cases[i].reason));
            assert_int_equal(out.len, 1);
        }
        buf_free(&out);
        json_decref(header);
    }
}

/* RFC 8037 appendix A.4. */
static void test_rfc8037(void **state)
{
    static const char input[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    static const char text[] =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    json_t *jwk = json_pack("{s:s,s:s,s:s}", "kty", "OKP", "crv", "Ed25519", "x",
                            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    struct key *key;
    char sig[BASE64URL_DECODED_MAX(sizeof(text))];
    size_t len;
    (void)state;
    assert_int_equal(jwk_read_key(jwk, &key, NULL), 0);
    assert_int_equal(base64url_decode(STR(text), sig, &len), 0);
    assert_int_equal(
        key_verify(key, KEY_BACKEND_OPENSSL, ALG_EDDSA, STR(input), (struct str){sig, len}), 0);
    sig[63] ^= 1;
    assert_int_equal(
        key_verify(key, KEY_BACKEND_OPENSSL, ALG_EDDSA, STR(input), (struct str){sig, len}),
        -EBADMSG);
    key_unref(key);
    json_decref(jwk);
}

static int make_keys(void **state)
{
    (void)state;
    for (enum alg alg = ALG_HS256; alg < ALG_COUNT; alg++) {
        if (alg > ALG_RS256 && alg <= ALG_PS512) { /* one RSA key serves them all */
            keys[alg] = key_ref(keys[ALG_RS256]);
            continue;
        }
        keys[alg] = any_key(alg);
        key_set_kid(keys[alg], STR("k1"));
    }
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (enum alg alg = ALG_HS256; alg < ALG_COUNT; alg++)
        key_unref(keys[alg]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_token_text),
        cmocka_unit_test(test_at_jwt),
        cmocka_unit_test(test_changed_signature),
        cmocka_unit_test(test_other_algorithm),
        cmocka_unit_test(test_key_confusion),
        cmocka_unit_test(test_inputs_libjwt_cannot_judge),
        cmocka_unit_test(test_long_input),
        cmocka_unit_test(test_ecdsa_range),
        cmocka_unit_test(test_sign_refusals),
        cmocka_unit_test(test_rfc8037),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
