/* Project Wycheproof's vectors over both backends.
 *
 * They are read from the folder LUAFN_VECTORS, else ../shared/vectors/wycheproof; without it every
 * test is skipped. Each vector's verdict must be the file's, but for those listed here with the
 * reason, and the lists must be exact. */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/keyset.h"
#include "json/strict.h"

struct exception {
    int id;
    bool accepted; /* what this project says, against the file */
    const char *why;
    bool seen;
};

struct tally {
    unsigned tests, accepted, judged_by_libjwt;
};

static json_t *load(const char *name)
{
    const char *folder = getenv("LUAFN_VECTORS");
    char path[4096];
    json_error_t error;
    json_t *file;
    snprintf(path, sizeof(path), "%s/%s", folder != NULL ? folder : "../shared/vectors/wycheproof",
             name);
    file = json_load_file(path, 0, &error);
    if (file == NULL) {
        if (folder != NULL)
            fail_msg("%s: %s", path, error.text);
        print_message("skipped: no %s\n", path);
        skip();
    }
    return file;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* The verdict against the file's and the list. */
static void judge(const char *file, const json_t *test, bool accepted, struct exception *list)
{
    int id = (int)json_integer_value(json_object_get(test, "tcId"));
    bool expected = strcmp(text_of(test, "result"), "valid") == 0;
    for (; list->id != 0; list++)
        if (list->id == id) {
            if (accepted == expected)
                fail_msg("%s %d is listed (%s) and yet the verdict is the file's", file, id,
                         list->why);
            list->seen = true;
            expected = list->accepted;
        }
    if (accepted != expected)
        fail_msg("%s %d: %s, expected %s (%s)", file, id, accepted ? "accepted" : "refused",
                 expected ? "accepted" : "refused", text_of(test, "comment"));
}

static void check_list(const char *file, const struct exception *list)
{
    for (; list->id != 0; list++)
        if (!list->seen)
            fail_msg("%s: %d is listed and not in the file", file, list->id);
}

/* Both backends: equal verdicts, wherever libjwt can judge. */
static bool verify_both(struct key *key, enum alg alg, struct str input, struct str signature,
                        struct tally *tally)
{
    int rc = key_verify(key, KEY_BACKEND_OPENSSL, alg, input, signature);
    int other = key_verify(key, KEY_BACKEND_LIBJWT, alg, input, signature);
    assert_true(rc == 0 || rc == -EBADMSG);
    if (other != -ENOTSUP) {
        assert_int_equal(rc, other);
        tally->judged_by_libjwt++;
    }
    tally->tests++;
    tally->accepted += rc == 0;
    return rc == 0;
}

/* ---- compact JWS ---- */

struct jws {
    json_t *header;
    struct str input;
    unsigned char bytes[16384];
    size_t len;
};

static int parse_jws(const char *text, struct jws *jws)
{
    struct str rest = str_from(text), parts[3];
    size_t len;
    jws->header = NULL;
    if (rest.len >= sizeof(jws->bytes))
        return -EINVAL;
    for (int i = 0; i < 3; i++)
        if (!str_split_next(&rest, '.', &parts[i]))
            return -EINVAL;
    if (rest.ptr != NULL || base64url_decode(parts[1], jws->bytes, &len) != 0 ||
        base64url_decode(parts[0], jws->bytes, &len) != 0)
        return -EINVAL;
    jws->header = strict_json_load((struct str){(const char *)jws->bytes, len}, NULL);
    jws->input = (struct str){text, parts[0].len + 1 + parts[1].len};
    if (!json_is_object(jws->header) || json_object_get(jws->header, "crit") != NULL ||
        json_object_get(jws->header, "b64") != NULL)
        return -EINVAL;
    return base64url_decode(parts[2], jws->bytes, &jws->len);
}

static bool verify_jws(const struct keyset *set, struct key *key, const char *text,
                       struct tally *tally)
{
    struct jws jws;
    bool good = false;
    if (parse_jws(text, &jws) == 0) {
        enum alg alg = alg_parse(str_from(text_of(jws.header, "alg")));
        if (set != NULL)
            key = keyset_find(set, str_from(text_of(jws.header, "kid")), ALG_NONE_KNOWN);
        good = key != NULL && verify_both(key, alg, jws.input,
                                          (struct str){(const char *)jws.bytes, jws.len}, tally);
    }
    json_decref(jws.header);
    return good;
}

static void run_jws_group(const char *file, const json_t *group, struct exception *list,
                          struct tally *tally)
{
    const json_t *jwk = json_object_get(group, "public");
    struct keyset *set = NULL;
    struct key *key = NULL;
    size_t index;
    json_t *test;
    if (jwk == NULL)
        jwk = json_object_get(group, "private");
    if (json_object_get(jwk, "keys") != NULL) {
        char *text = json_dumps(jwk, 0);
        int rc = keyset_parse(str_from(text), &set, NULL);
        assert_true(rc == 0 || rc == -ENOENT);
        free(text);
    } else if (jwk_read_key(jwk, &key, NULL) != 0) {
        assert_null(key);
    }
    json_array_foreach(json_object_get(group, "tests"), index, test)
    {
        const json_t *jws = json_object_get(test, "jws");
        if (json_object_get(test, "jwe") == NULL)
            judge(file, test,
                  json_is_string(jws) && verify_jws(set, key, json_string_value(jws), tally), list);
    }
    key_unref(key);
    keyset_unref(set);
}

static void run_jws_file(const char *name, struct exception *list)
{
    json_t *file = load(name);
    struct tally tally = {0};
    size_t index;
    json_t *group;
    json_array_foreach(json_object_get(file, "testGroups"), index, group)
    {
        run_jws_group(name, group, list, &tally);
    }
    check_list(name, list);
    assert_true(tally.accepted > 0);
    print_message("# %s: %u signatures, %u good, %u judged by libjwt too\n", name, tally.tests,
                  tally.accepted, tally.judged_by_libjwt);
    json_decref(file);
}

static void test_json_web_signature(void **state)
{
    struct exception list[] = {
        {346, false, "the JWK says PS256, the token PS384: one key, one algorithm", false},
        {347, false, "the JWK says ES521, which is no algorithm", false},
        {350, false, "the JWK says PS256, the token PS384: one key, one algorithm", false},
        {351, false, "the JWK says ES521, which is no algorithm", false},
        {367, true, "the same text, byte for byte, as the valid 357", false},
        {370, true, "the same text, byte for byte, as the valid 357", false},
        {372, false, "a character that is not base64url", false},
        {373, false, "a character that is not base64url", false},
        {0},
    };
    (void)state;
    run_jws_file("json_web_signature.json", list);
}

static void test_json_web_key(void **state)
{
    struct exception list[] = {{0}};
    (void)state;
    run_jws_file("json_web_key.json", list);
}

static void test_json_web_crypto(void **state)
{
    struct exception list[] = {{0}};
    (void)state;
    run_jws_file("json_web_crypto.json", list);
}

/* ---- raw signatures ---- */

static size_t unhex(const char *text, unsigned char *out, size_t size)
{
    size_t len = strlen(text) / 2;
    assert_true(len <= size && strlen(text) % 2 == 0);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        out[i] = (unsigned char)byte;
    }
    return len;
}

static struct key *raw_key(const json_t *group, const json_t *test)
{
    const json_t *jwk = json_object_get(group, "publicKeyJwk");
    struct key *key = NULL, *from_pem;
    struct err err = {""};
    int rc;
    if (jwk == NULL)
        jwk = json_object_get(group, "keyJwk");
    if (jwk == NULL && json_object_get(test, "key") != NULL) {
        unsigned char secret[256];
        size_t len = unhex(text_of(test, "key"), secret, sizeof(secret));
        rc = key_from_secret((struct str){(const char *)secret, len}, &key, &err);
        assert_true(rc == 0 || len < 32);
        return key;
    }
    rc = key_from_pem(str_from(text_of(group, "publicKeyPem")), &from_pem, &err);
    assert_int_equal(rc, 0);
    if (jwk != NULL) { /* the JWK and the PEM of a group are one key */
        struct buf a = BUF_INIT, b = BUF_INIT;
        assert_int_equal(jwk_read_key(jwk, &key, &err), 0);
        assert_int_equal(jwk_write_thumbprint(key, &a), 0);
        assert_int_equal(jwk_write_thumbprint(from_pem, &b), 0);
        assert_true(str_eq(buf_str(&a), buf_str(&b)));
        buf_free(&a);
        buf_free(&b);
        key_unref(from_pem);
        return key;
    }
    return from_pem;
}

static void run_raw_test(const char *name, const json_t *group, const json_t *test, enum alg alg,
                         struct exception *list, struct tally *tally)
{
    unsigned char message[8192], signature[2048];
    const char *field = json_object_get(test, "tag") != NULL ? "tag" : "sig";
    size_t message_len = unhex(text_of(test, "msg"), message, sizeof(message));
    size_t signature_len = unhex(text_of(test, field), signature, sizeof(signature));
    struct key *key = raw_key(group, test);
    bool good =
        key != NULL && verify_both(key, alg, (struct str){(const char *)message, message_len},
                                   (struct str){(const char *)signature, signature_len}, tally);
    judge(name, test, good, list);
    key_unref(key);
}

static void run_raw_file(const char *name, enum alg alg, struct exception *list)
{
    json_t *file = load(name);
    struct tally tally = {0};
    size_t i, j;
    json_t *group, *test;
    json_array_foreach(json_object_get(file, "testGroups"), i, group)
    {
        const json_t *tag = json_object_get(group, "tagSize");
        if (tag != NULL && json_integer_value(tag) != 256)
            continue; /* JWS never cuts a MAC */
        json_array_foreach(json_object_get(group, "tests"), j, test)
        {
            run_raw_test(name, group, test, alg, list, &tally);
        }
    }
    check_list(name, list);
    assert_true(tally.accepted > 0);
    print_message("# %s: %u signatures, %u good\n", name, tally.tests, tally.accepted);
    json_decref(file);
}

static void test_ecdsa(void **state)
{
    struct exception list[] = {{0}};
    (void)state;
    run_raw_file("ecdsa_secp256r1_sha256_p1363_test.json", ALG_ES256, list);
}

static void test_rsa(void **state)
{
    struct exception list[] = {{0}};
    (void)state;
    run_raw_file("rsa_signature_2048_sha256_test.json", ALG_RS256, list);
}

static void test_hmac(void **state)
{
    struct exception list[] = {
        {163, false, "a key of 128 bits; RFC 7518 section 3.2 wants 256 for HS256", false},
        {164, false, "a key of 128 bits; RFC 7518 section 3.2 wants 256 for HS256", false},
        {165, false, "a key of 128 bits; RFC 7518 section 3.2 wants 256 for HS256", false},
        {0},
    };
    (void)state;
    run_raw_file("hmac_sha256_test.json", ALG_HS256, list);
}

static void test_ed25519(void **state)
{
    struct exception list[] = {{0}};
    (void)state;
    run_raw_file("ed25519_test.json", ALG_EDDSA, list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_web_signature),
        cmocka_unit_test(test_json_web_key),
        cmocka_unit_test(test_json_web_crypto),
        cmocka_unit_test(test_ecdsa),
        cmocka_unit_test(test_rsa),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_ed25519),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
