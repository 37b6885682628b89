/* Out of memory at every point: a bad signature is never found good, a set never loses keys in
 * silence, and nothing crashes.
 *
 * Each step is done again and again; in the N-th round the N-th allocation fails, alone or with all
 * that follow, until a round needs fewer than N (beyond 300, which libjwt alone needs for reading
 * a PEM, every 47th). All of malloc is counted; sanitizers and
 * valgrind want it for themselves, there it is OpenSSL's and jansson's. */
#include "unit.h"
#include "failing_malloc.h"
#include "rsa_keys.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/keyset.h"

static bool all_is_counted;

static void *plain_malloc(size_t size)
{
    return fails_now() ? NULL : malloc(size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return plain_malloc(size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now() ? NULL : realloc(old, size);
}

static void openssl_free(void *old, const char *file, int line)
{
    (void)file;
    (void)line;
    free(old);
}

static bool hook(void)
{
    all_is_counted = owns_malloc();
    if (all_is_counted)
        return true;
    json_set_alloc_funcs(plain_malloc, free);
    return CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1;
}

/* What a step works on. */
struct sample {
    json_t *jwk;
    enum alg alg;
    struct buf token;
    struct str input;
    char signature[512 + 3];
    size_t len;
    enum key_backend backend;
};

/* Runs `step` with every fault; it checks its own result. Returns the number of rounds. */
static unsigned long sweep(void (*step)(struct sample *sample), struct sample *sample, bool on)
{
    from_then_on = on;
    for (unsigned long n = 1;; n += n < 300 ? 1 : 47) {
        struck = false;
        countdown = n;
        step(sample);
        countdown = 0;
        if (!struck)
            return n;
        assert_true(n < 20000);
    }
}

static void make_sample(enum alg alg, struct sample *sample)
{
    struct key *key = any_key(alg);
    struct str text;
    size_t dot;
    sample->alg = alg;
    sample->token = BUF_INIT;
    assert_int_equal(key_sign(key, alg, NULL, STR("{\"sub\":\"a\"}"), &sample->token, NULL), 0);
    text = buf_str(&sample->token);
    for (dot = text.len - 1; text.ptr[dot] != '.'; dot--)
        ;
    sample->input = (struct str){text.ptr, dot};
    assert_int_equal(base64url_decode(str_skip(text, dot + 1), sample->signature, &sample->len), 0);
    if ((ALG_BIT(alg) & ALG_HMAC) != 0) /* any other secret will do for a bad signature */
        sample->jwk = json_pack("{s:s,s:s}", "kty", "oct", "k",
                                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    else
        sample->jwk = jwk_write_key(key, alg);
    assert_non_null(sample->jwk);
    key_unref(key);
}

static void free_sample(struct sample *sample)
{
    json_decref(sample->jwk);
    buf_free(&sample->token);
}

/* A key from its JWK, and a bad signature: refused, whatever fails. */
static void step_bad_signature(struct sample *sample)
{
    struct key *key = NULL;
    int rc = jwk_read_key(sample->jwk, &key, NULL);
    assert_true((rc == 0) == (key != NULL));
    for (int round = 0; rc == 0 && round < 2; round++) {
        int verdict = key_verify(key, sample->backend, sample->alg, sample->input,
                                 (struct str){sample->signature, sample->len});
        assert_true(verdict == -EBADMSG || verdict == -ENOMEM || verdict == -ENOTSUP);
        if (!struck)
            assert_true(verdict == -EBADMSG || verdict == -ENOTSUP);
    }
    key_unref(key);
}

/* A key that was loaded is whole, whatever failed meanwhile: later it finds good what is good. */
static void step_whole_key(struct sample *sample)
{
    struct key *key = NULL;
    int rc = jwk_read_key(sample->jwk, &key, NULL);
    countdown = 0;
    if (rc == 0)
        rc = key_verify(key, KEY_BACKEND_OPENSSL, sample->alg, sample->input,
                        (struct str){sample->signature, sample->len});
    else
        rc = struck ? 0 : rc;
    assert_int_equal(rc, 0);
    key_unref(key);
}

static void test_whole_key(void **state)
{
    static const enum alg algs[] = {ALG_RS256, ALG_PS256, ALG_ES256, ALG_EDDSA};
    (void)state;
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        struct sample sample;
        make_sample(algs[i], &sample);
        step_whole_key(&sample);
        assert_true(sweep(step_whole_key, &sample, false) > 6);
        free_sample(&sample);
    }
}

static void test_bad_signature(void **state)
{
    static const enum alg algs[] = {ALG_HS256, ALG_RS256, ALG_PS256, ALG_ES256, ALG_EDDSA};
    (void)state;
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
        for (int backend = KEY_BACKEND_OPENSSL; backend <= KEY_BACKEND_LIBJWT; backend++) {
            struct sample sample;
            unsigned long rounds;
            /* libjwt itself leaks, and asks malloc for -1 bytes, where OpenSSL had no memory */
            if (!all_is_counted && backend == KEY_BACKEND_LIBJWT)
                continue;
            make_sample(algs[i], &sample);
            sample.backend = (enum key_backend)backend;
            sample.signature[3] ^= 4;
            step_bad_signature(&sample); /* what is loaded at first use is loaded now */
            rounds = sweep(step_bad_signature, &sample, false);
            rounds += sweep(step_bad_signature, &sample, true);
            assert_true(rounds > 6);
            print_message("# %s, %s: %lu faults\n", alg_name(algs[i]),
                          backend == KEY_BACKEND_OPENSSL ? "openssl" : "libjwt", rounds - 2);
            free_sample(&sample);
        }
}

/* The whole set, or none of it. */
static void step_keyset(struct sample *sample)
{
    struct keyset *set = NULL;
    int rc = keyset_parse(buf_str(&sample->token), &set, NULL);
    if (rc == 0)
        assert_int_equal(keyset_size(set), 3);
    else
        assert_int_equal(rc, -ENOMEM);
    keyset_unref(set);
}

static void test_keyset(void **state)
{
    static const enum alg algs[] = {ALG_RS256, ALG_ES256, ALG_EDDSA};
    struct sample sample = {.token = BUF_INIT};
    json_t *keys = json_array();
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct key *key = any_key(algs[i]);
        char kid[2] = {(char)('a' + i), 0};
        key_set_kid(key, str_from(kid));
        json_array_append_new(keys, jwk_write_key(key, algs[i]));
        key_unref(key);
    }
    json_t *doc = json_pack("{s:o}", "keys", keys);
    char text[4096];
    size_t len = json_dumpb(doc, text, sizeof(text), 0);
    assert_true(len > 0 && len <= sizeof(text));
    buf_add(&sample.token, text, len);
    json_decref(doc);
    step_keyset(&sample);
    print_message("# %lu faults\n",
                  sweep(step_keyset, &sample, false) + sweep(step_keyset, &sample, true) - 2);
    buf_free(&sample.token);
}

/* A token, or nothing: never half of one. */
static void step_sign(struct sample *sample)
{
    struct key *key = NULL;
    struct buf out = BUF_INIT;
    int rc = jwk_read_key(sample->jwk, &key, NULL);
    if (rc == 0)
        rc = key_sign(key, ALG_HS256, NULL, STR("{\"sub\":\"a\"}"), &out, NULL);
    countdown = 0;
    if (rc == 0)
        assert_true(str_eq(buf_str(&out), buf_str(&sample->token)));
    else
        assert_int_equal(out.len, 0);
    buf_free(&out);
    key_unref(key);
}

static void test_sign(void **state)
{
    struct sample sample;
    struct key *key;
    (void)state;
    make_sample(ALG_HS256, &sample);
    assert_int_equal(jwk_read_key(sample.jwk, &key, NULL), 0);
    buf_clear(&sample.token);
    assert_int_equal(key_sign(key, ALG_HS256, NULL, STR("{\"sub\":\"a\"}"), &sample.token, NULL),
                     0);
    key_unref(key);
    print_message("# %lu faults\n",
                  sweep(step_sign, &sample, false) + sweep(step_sign, &sample, true) - 2);
    free_sample(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_signature),
        cmocka_unit_test(test_whole_key),
        cmocka_unit_test(test_keyset),
        cmocka_unit_test(test_sign),
    };
    if (!hook()) /* before anything else asks for memory */
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
