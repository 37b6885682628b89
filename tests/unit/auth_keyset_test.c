/* Key sets: strict reading, same kids, look-up, and sources. */
#include "unit.h"
#include "rsa_keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/keyset.h"
#include "base/limits.h"

#define ED(kid, x)                                                                                 \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"kid\":\"" kid "\",\"x\":\"" x "\"}"
#define X1        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define X2        "fU0Of2FTpptiQrUiq77mhf2kQg-INLEIw72uNp71Sfo"
#define OCT       "{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"
#define SET(keys) "{\"keys\":[" keys "]}"

#define NO_KEYS "The JSON Web Key Set does not contain any keys"
#define NO_USE  "Unable to find key any usable keys in the JSON Web Key Set"

static void test_parse(void **state)
{
    static const struct {
        const char *json;
        unsigned usable, skipped;
        int rc;
        const char *text;
    } cases[] = {
        {SET(ED("a", X1)), 1, 0, 0, ""},
        {SET(ED("a", X1) "," ED("b", X2)), 2, 0, 0, ""},
        {SET(ED("a", X1) ",{\"kty\":\"future\"},5,[],null,{}"), 1, 5, 0, ""},
        {"{\"keys\":[" ED("a", X1) "],\"more\":true}", 1, 0, 0, ""},
        {SET(ED("a", X1) "," ED("a", X1)), 1, 0, 0, ""},
        {SET(ED("a", X1) "," ED("a", X2) "," ED("b", X2)), 1, 2, 0, ""},
        {SET(ED("a", X1) "," ED("a", X2)), 0, 0, -ENOENT, NO_USE},
        {SET(ED("a", X1) "," ED("a", "AAAA") "," ED("b", X1)), 2, 1, 0, ""},
        {SET("{\"kty\":\"RSA\",\"kid\":\"a\",\"use\":\"enc\"}," ED("a", X1)), 1, 1, 0, ""},
        {SET(OCT), 1, 0, 0, ""},
        {SET(OCT "," ED("a", X1)), 1, 1, 0, ""},
        {SET(""), 0, 0, -ENOENT, NO_USE},
        {SET("{\"use\":\"something\"}"), 0, 0, -ENOENT, NO_USE},
        {"{}", 0, 0, -EINVAL, NO_KEYS},
        {"[]", 0, 0, -EINVAL, NO_KEYS},
        {"{\"keys\":{}}", 0, 0, -EINVAL, NO_KEYS},
        {"{\"keys\":null}", 0, 0, -EINVAL, NO_KEYS},
        {"", 0, 0, -EINVAL, "cannot be read"},
        {"5", 0, 0, -EINVAL, "cannot be read"},
        {"<html>", 0, 0, -EINVAL, "cannot be read"},
        {SET(ED("a", X1)) "x", 0, 0, -EINVAL, "not valid JSON"},
        {SET(ED("a", X1) ","), 0, 0, -EINVAL, "not valid JSON"},
        {"{\"keys\":[],\"keys\":[" ED("a", X1) "]}", 1, 0, 0, ""},
        {SET("{\"kty\":\"OKP\",\"kty\":\"RSA\"}," ED("a", X1)), 1, 1, 0, ""},
        {SET(ED("\\u0000", X1) "," ED("\xff", X2) ",{\"x\":1e400,\"y\":99999999999999999999}"), 0,
         0, -ENOENT, NO_USE},
        {SET("{\"x\":1e400,\"y\":99999999999999999999,\"z\":\"\\ud800\\u0000\xff\"}," ED("a", X1)),
         1, 1, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct keyset *set = NULL;
        struct err err = {""};
        int rc = keyset_parse(str_from(cases[i].json), &set, &err);
        if (rc != cases[i].rc || strstr(err.text, cases[i].text) == NULL)
            fail_msg("%s: %d \"%s\"", cases[i].json, rc, err.text);
        assert_true((set != NULL) == (rc == 0));
        if (set != NULL) {
            assert_int_equal(keyset_size(set), cases[i].usable);
            assert_int_equal(keyset_skipped(set), cases[i].skipped);
        }
        keyset_unref(set);
    }
}

static char *set_of_many(unsigned count)
{
    size_t size = 64 + count * 160u, at = 0;
    char *text = malloc(size);
    at += (size_t)snprintf(text, size, "{\"keys\":[");
    for (unsigned i = 0; i < count; i++)
        at +=
            (size_t)snprintf(text + at, size - at,
                             "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k%u\",\"x\":\"%s\"}",
                             i > 0 ? "," : "", i, X1);
    snprintf(text + at, size - at, "]}");
    return text;
}

static void test_limits(void **state)
{
    char *text = set_of_many(LIMIT_JWKS_KEYS);
    struct keyset *set;
    struct err err = {""};
    (void)state;
    assert_int_equal(keyset_parse(str_from(text), &set, &err), 0);
    assert_int_equal(keyset_size(set), LIMIT_JWKS_KEYS);
    assert_ptr_equal(keyset_find(set, STR("k77"), ALG_NONE_KNOWN), keyset_at(set, 77));
    assert_null(keyset_at(set, LIMIT_JWKS_KEYS));
    keyset_unref(set);
    free(text);
    text = set_of_many(LIMIT_JWKS_KEYS + 1);
    assert_int_equal(keyset_parse(str_from(text), &set, &err), 0);
    assert_int_equal(keyset_size(set), LIMIT_JWKS_KEYS);
    assert_true(str_eq(keyset_notes(set),
                       STR("key 101: there are too many: from here on they are left out\n")));
    keyset_unref(set);
    free(text);
}

/* A good set, padded with white space to the limit and one byte over it. */
static void test_bytes(void **state)
{
    static const char json[] = SET(ED("a", X1));
    char *text = malloc(LIMIT_JWKS_BYTES + 1);
    struct keyset *set;
    (void)state;
    memset(text, ' ', LIMIT_JWKS_BYTES + 1);
    memcpy(text, json, sizeof(json) - 1);
    assert_int_equal(keyset_parse((struct str){text, LIMIT_JWKS_BYTES}, &set, NULL), 0);
    keyset_unref(set);
    assert_int_equal(keyset_parse((struct str){text, LIMIT_JWKS_BYTES + 1}, &set, NULL), -EINVAL);
    assert_null(set);
    free(text);
}

static void test_depth(void **state)
{
    (void)state;
    for (unsigned extra = 30; extra <= 31; extra++) { /* inside the object and its array */
        char text[512];
        size_t at = (size_t)snprintf(text, sizeof(text), "{\"keys\":[%s,", ED("a]]]{{{", X1));
        struct keyset *set;
        struct err err = {""};
        memset(text + at, '[', extra);
        memset(text + at + extra, ']', extra);
        memcpy(text + at + 2 * (size_t)extra, "]}", 3);
        assert_int_equal(keyset_parse(str_from(text), &set, &err), extra == 30 ? 0 : -EINVAL);
        assert_true(extra == 30 || strstr(err.text, "nested too deeply") != NULL);
        keyset_unref(set);
    }
    size_t len = 400000;
    char *deep = malloc(len);
    struct keyset *set;
    memset(deep, '[', len);
    assert_int_equal(keyset_parse((struct str){deep, len}, &set, NULL), -EINVAL);
    free(deep);
}

static struct keyset *parsed(const char *json)
{
    struct keyset *set;
    assert_int_equal(keyset_parse(str_from(json), &set, NULL), 0);
    return set;
}

static void test_find(void **state)
{
    struct keyset *set = parsed(SET(ED("a", X1) "," ED("", X2) "," ED("b", X2)));
    struct keyset *single = parsed(SET("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X1 "\"}"));
    (void)state;
    assert_ptr_equal(keyset_find(set, STR("b"), ALG_NONE_KNOWN), keyset_at(set, 2));
    assert_null(keyset_find(set, STR("c"), ALG_NONE_KNOWN));
    assert_null(keyset_find(set, STR("B"), ALG_NONE_KNOWN));
    assert_null(keyset_find(set, STR(""), ALG_NONE_KNOWN));
    assert_null(keyset_find(single, STR("a"),
                            ALG_NONE_KNOWN)); /* a published key is found by its kid alone */
    keyset_unref(set);
    keyset_unref(single);
}

/* ---- odd keys beside good ones ---- */

#define OCT_A                                                                                      \
    "{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"

/* One key under this kid with this alg, which may be NULL. */
static json_t *entry(struct key *key, enum alg kind, const char *kid, const char *alg)
{
    json_t *jwk = jwk_write_key(key, kind);
    assert_non_null(jwk);
    json_object_set_new(jwk, "kid", json_string(kid));
    if (alg != NULL)
        json_object_set_new(jwk, "alg", json_string(alg));
    else
        json_object_del(jwk, "alg");
    return jwk;
}

/* The keys as a set, whose notes are these. */
static struct keyset *set_of(json_t *keys, const char *notes)
{
    json_t *root = json_pack("{s:o}", "keys", keys);
    char *text = json_dumps(root, 0);
    struct keyset *set = parsed(text);
    if (!str_eq(keyset_notes(set), str_from(notes)))
        fail_msg("notes: %.*s", STR_ARG(keyset_notes(set)));
    free(text);
    json_decref(root);
    return set;
}

/* Is it found for these algorithms, of all, and no other key of the kid? */
static void expect_algs(const struct keyset *set, const char *kid, unsigned algs)
{
    for (enum alg alg = ALG_NONE_KNOWN + 1; alg < ALG_COUNT; alg++) {
        const struct key *key = keyset_find(set, str_from(kid), alg);
        assert_int_equal(key != NULL && key_fits(key, alg), (algs & ALG_BIT(alg)) != 0);
    }
}

static void one_key_for_each_algorithm_is_one(void **state)
{
    static const char *const orders[][3] = {
        {"RS256", "RS384", "PS512"}, {"PS512", "RS384", "RS256"}, {"RS384", "RS256", "PS512"}};
    struct key *rsa = rsa_key(RSA_A);
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        json_t *keys = json_array();
        for (size_t j = 0; j < 3; j++)
            json_array_append_new(keys, entry(rsa, ALG_RS256, "k", orders[i][j]));
        struct keyset *set = set_of(keys, "");
        assert_int_equal(keyset_size(set), 1);
        assert_int_equal(keyset_skipped(set), 0);
        expect_algs(set, "k", ALG_BIT(ALG_RS256) | ALG_BIT(ALG_RS384) | ALG_BIT(ALG_PS512));
        keyset_unref(set);
    }
    key_unref(rsa);
}

/* RFC 7517 section 4.5: the token's algorithm picks. */
static void one_kid_for_several_kinds(void **state)
{
    struct key *rsa = rsa_key(RSA_A), *ec = any_key(ALG_ES256), *ed = any_key(ALG_EDDSA);
    json_t *keys = json_pack("[ooo]", entry(rsa, ALG_RS256, "a", NULL),
                             entry(ec, ALG_ES256, "a", "ES256"), entry(ed, ALG_EDDSA, "a", NULL));
    json_array_append_new(keys, json_loads(OCT_A, 0, NULL));
    struct keyset *set = set_of(keys, "'a': a shared secret among public keys is no secret\n");
    (void)state;
    assert_int_equal(keyset_size(set), 3);
    expect_algs(set, "a",
                ALG_BIT(ALG_RS256) | ALG_BIT(ALG_RS384) | ALG_BIT(ALG_RS512) | ALG_BIT(ALG_PS256) |
                    ALG_BIT(ALG_PS384) | ALG_BIT(ALG_PS512) | ALG_BIT(ALG_ES256) |
                    ALG_BIT(ALG_EDDSA));
    assert_non_null(keyset_find(set, STR("a"), ALG_NONE_KNOWN));
    keyset_unref(set);
    key_unref(rsa);
    key_unref(ec);
    key_unref(ed);
}

#define RIVAL "'k': another key has the same kid and algorithm: neither is used for it\n"

/* Which of two keys is meant must not be guessed. */
static void rivals_are_used_for_what_is_not_contested(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned algs;
        unsigned size;
    } cases[] = {
        {"RS256", "RS256", 0, 1},
        {"RS256", "RS512", ALG_BIT(ALG_RS256) | ALG_BIT(ALG_RS512), 3},
        {NULL, NULL, 0, 1},
        {NULL, "RS256",
         ALG_BIT(ALG_RS384) | ALG_BIT(ALG_RS512) | ALG_BIT(ALG_PS256) | ALG_BIT(ALG_PS384) |
             ALG_BIT(ALG_PS512),
         2},
    };
    struct key *a = rsa_key(RSA_A), *b = rsa_key(RSA_B), *other = any_key(ALG_ES256);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *keys =
            json_pack("[ooo]", entry(a, ALG_RS256, "k", cases[i].a),
                      entry(b, ALG_RS256, "k", cases[i].b), entry(other, ALG_ES256, "other", NULL));
        struct keyset *set = set_of(keys, cases[i].size == 3 ? "" : RIVAL RIVAL);
        assert_int_equal(keyset_size(set), cases[i].size);
        assert_int_equal(keyset_size(set) + keyset_skipped(set), 3);
        expect_algs(set, "k", cases[i].algs);
        expect_algs(set, "other", ALG_BIT(ALG_ES256));
        keyset_unref(set);
    }
    key_unref(a);
    key_unref(b);
    key_unref(other);
}

static void notes_name_key_and_reason(void **state)
{
    static const struct {
        const char *json, *notes;
    } cases[] = {
        {SET(ED("a", X1)), ""},
        {SET("{\"kty\":\"RSA\",\"kid\":\"e\",\"use\":\"enc\"}," ED("a", X1)), ""},
        {SET("{\"kty\":\"RSA\",\"kid\":\"e\",\"key_ops\":[\"encrypt\"]}," ED("a", X1)), ""},
        {SET("{\"kty\":\"RSA\",\"kid\":\"r\"},5," ED("a", X1)),
         "'r': the member n is missing or empty\nkey 2: a key must be a JSON object\n"},
        {SET("{\"kty\":\"AKP\",\"kid\":\"pq\",\"alg\":\"ML-DSA-44\"}," ED("a", X1)),
         "'pq': its alg ML-DSA-44 is not supported\n"},
    };
    char many[4000] = "{\"keys\":[" ED("a", X1);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct keyset *set = parsed(cases[i].json);
        if (!str_eq(keyset_notes(set), str_from(cases[i].notes)))
            fail_msg("%s: %.*s", cases[i].json, STR_ARG(keyset_notes(set)));
        keyset_unref(set);
    }
    for (int i = 0; i < 500; i++)
        strcat(many, ",5");
    struct keyset *set = parsed(strcat(many, "]}"));
    assert_int_equal(keyset_skipped(set), 500);
    assert_int_equal(str_count(keyset_notes(set), '\n'), LIMIT_JWKS_NOTES);
    keyset_unref(set);
    struct err err;
    assert_int_equal(keyset_parse(STR(SET("{\"kty\":\"RSA\",\"kid\":\"r\"},5")), &set, &err),
                     -ENOENT);
    assert_string_equal(err.text, NO_USE ": 'r': the member n is missing or empty;"
                                         " key 2: a key must be a JSON object");
}

static void test_set_of_one(void **state)
{
    struct key *key;
    struct keyset *set;
    (void)state;
    assert_int_equal(key_from_secret(STR("0123456789abcdef0123456789abcdef"), &key, NULL), 0);
    set = keyset_of(key);
    assert_ptr_equal(keyset_find(set, STR(""), ALG_NONE_KNOWN), key);
    assert_ptr_equal(keyset_find(set, STR("any"), ALG_NONE_KNOWN), key);
    keyset_unref(set);
    key_set_kid(key, STR("k"));
    set = keyset_of(key);
    key_unref(key);
    assert_ptr_equal(keyset_find(set, STR("k"), ALG_NONE_KNOWN), keyset_at(set, 0));
    assert_null(keyset_find(set, STR("any"), ALG_NONE_KNOWN));
    keyset_unref(set);
}

static void test_equal(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {SET(ED("a", X1)), SET(ED("a", X1)), true},
        {SET(ED("a", X1) "," ED("b", X2)), SET(ED("b", X2) "," ED("a", X1)), true},
        {SET(ED("a", X1)), SET("{},5," ED("a", X1)), true},
        {SET(ED("a", X1)), SET(ED("a", X2)), false},
        {SET(ED("a", X1)), SET(ED("b", X1)), false},
        {SET(ED("a", X1)), SET(ED("a", X1) "," ED("b", X2)), false},
        {SET(ED("a", X1) "," ED("b", X2)), SET(ED("a", X2) "," ED("b", X1)), false},
        {SET(OCT), SET(OCT), true},
        {SET(OCT), SET(ED("s", X1)), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct keyset *a = parsed(cases[i].a), *b = parsed(cases[i].b);
        assert_int_equal(keyset_equal(a, b), cases[i].equal);
        assert_int_equal(keyset_equal(b, a), cases[i].equal);
        keyset_unref(a);
        keyset_unref(b);
    }
}

static void test_source(void **state)
{
    struct key_source source, other;
    struct keyset *a = parsed(SET(ED("a", X1))), *same = parsed(SET(ED("a", X1))),
                  *b = parsed(SET(ED("a", X2)));
    (void)state;
    keyset_source_init(&source);
    keyset_source_init(&other);
    assert_true(source.id != other.id);
    assert_null(source.keys);
    keyset_source_set(&source, a);
    uint32_t generation = source.generation;
    keyset_source_set(&source, same);
    assert_int_equal(source.generation, generation);
    assert_ptr_equal(source.keys, a);
    struct keyset *noted = parsed(SET("5," ED("a", X1)));
    keyset_source_set(&source, noted); /* the same keys, and something to say about others */
    assert_int_equal(source.generation, generation);
    assert_ptr_equal(source.keys, noted);
    keyset_unref(noted);
    keyset_source_set(&source, b);
    assert_int_equal(source.generation, generation + 1);
    assert_ptr_equal(source.keys, b);
    keyset_source_clear(&source);
    assert_int_equal(source.generation, generation + 2);
    keyset_source_clear(&source);
    assert_int_equal(source.generation, generation + 2);
    keyset_unref(a);
    keyset_unref(same);
    keyset_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_set_of_one),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_source),
        cmocka_unit_test(notes_name_key_and_reason),
        cmocka_unit_test(one_key_for_each_algorithm_is_one),
        cmocka_unit_test(one_kid_for_several_kinds),
        cmocka_unit_test(rivals_are_used_for_what_is_not_contested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
