/* The key fetcher: what a provider may say. */
#include "issuer_fixture.h"

/* ---- what the provider may say ---- */

static void bad_discoveries_are_refused(void **state)
{
    struct fixture *fx = *state;
    char other[256], slash[256], relative[256], http[256];
    int bare = (int)strlen(fx->url) - 1;
    snprintf(other, sizeof(other), "{\"issuer\":\"https://evil/\",\"jwks_uri\":\"%sjwks.json\"}",
             fx->url);
    snprintf(slash, sizeof(slash), "{\"issuer\":\"%.*s\",\"jwks_uri\":\"%sjwks.json\"}", bare,
             fx->url, fx->url);
    snprintf(relative, sizeof(relative), "{\"issuer\":\"%s\",\"jwks_uri\":\"/jwks.json\"}",
             fx->url);
    snprintf(http, sizeof(http), "{\"issuer\":\"%s\",\"jwks_uri\":\"http://example.com/k\"}",
             fx->url);
    const struct {
        int status;
        const char *body, *error; /* NULL: good */
    } cases[] = {
        {404, "{}", "Failed to fetch '%s" DISCOVERY "': 404 Not Found"},
        {429, "{}", "Failed to fetch '%s" DISCOVERY "': 429 Too Many Requests"},
        {200, "<html>", NULL},
        {200, "{}", "The OpenID configuration endpoint does not contain a valid jwks_uri"},
        {200, "{\"jwks_uri\":null}",
         "The OpenID configuration endpoint does not contain a valid jwks_uri"},
        {200, other, NULL},
        {200, relative, NULL},
        {200, http, NULL},
        {200, slash, ""},
        {200, fx->document, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = cases[i].error != NULL && cases[i].error[0] == '\0';
        issuers_free(fx->issuers);
        remove_folder(fx->folder);
        fx->issuers = new_issuers(fx);
        fx->issuer = get_from(fx->issuers, fx->url);
        fx->discovery->status = cases[i].status;
        fx->discovery->body = cases[i].body;
        assert_true(want(fx, "a"));
        assert_int_equal(has(fx, "a"), good);
        if (cases[i].error != NULL && !good) {
            char expected[256];
            const char *hole = strstr(cases[i].error, "%s");
            int before = hole != NULL ? (int)(hole - cases[i].error) : 0;
            snprintf(expected, sizeof(expected), "%.*s%.*s%s", before, cases[i].error,
                     hole != NULL ? bare : 0, fx->url, hole != NULL ? hole + 2 : cases[i].error);
            assert_string_equal(stats(fx).last_error, expected);
        }
        assert_int_equal(stats(fx).last_error[0] != '\0', !good);
    }
}

static void bad_sets_replace_no_good_one(void **state)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {{500, "{}"},           {200, "<html>"},
                 {200, "{}"},           {200, "{\"keys\":[]}"},
                 {200, "{\"keys\":5}"}, {200, "{\"keys\":[{\"kty\":\"RSA\"}]}"}};
    struct fixture *fx = *state;
    want(fx, "a");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t failures = stats(fx).failures;
        fx->now += LIMIT_KEYS_TTL;
        fx->jwks->status = cases[i].status;
        fx->jwks->body = cases[i].body;
        assert_true(want(fx, "other"));
        assert_int_equal(stats(fx).failures, failures + 1);
        assert_true(has(fx, "a"));
    }
    fx->now += LIMIT_KEYS_TTL;
    fx->jwks->status = 200;
    fx->jwks->body = set_b;
    want(fx, "b");
    assert_true(has(fx, "b"));
}

static void large_answers_are_refused(void **state)
{
    struct fixture *fx = *state;
    char *large = malloc(LIMIT_JWKS_BYTES + 2);
    memset(large, ' ', LIMIT_JWKS_BYTES + 1);
    memcpy(large, set_a, strlen(set_a));
    large[LIMIT_JWKS_BYTES + 1] = '\0';
    fx->jwks->body = large;
    want(fx, "a");
    assert_false(has(fx, "a"));
    assert_non_null(strstr(stats(fx).last_error, "EMSGSIZE"));
    large[LIMIT_JWKS_BYTES] = '\0';
    fx->now += LIMIT_KEYS_RETRY;
    want(fx, "a");
    assert_true(has(fx, "a"));
    free(large);
}

static void moved_keys_are_found_again(void **state)
{
    struct fixture *fx = *state;
    char moved[256];
    want(fx, "a");
    snprintf(moved, sizeof(moved), "{\"issuer\":\"%s\",\"jwks_uri\":\"%selsewhere\"}", fx->url,
             fx->url);
    fx->discovery->body = moved;
    fx->jwks->status = 404;
    fake_route(&fx->fake, "/elsewhere")->body = set_ab;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
    assert_hits(fx, 2, 2);
}

static void redirects_lead_to_loopback_only_by_the_rules(void **state)
{
    struct fixture *fx = *state;
    fx->jwks->status = 302;
    fx->jwks->headers = "Location: http://10.0.0.1/keys\r\n";
    want(fx, "a");
    assert_false(has(fx, "a"));
    fx->jwks->headers = "Location: /there\r\n";
    fake_route(&fx->fake, "/there")->body = set_a;
    fx->now += LIMIT_KEYS_RETRY;
    want(fx, "a");
    assert_true(has(fx, "a"));
}

static void urls_are_https_or_loopback(void **state)
{
    static const struct {
        const char *url, *jwks_uri;
        bool good;
    } cases[] = {
        {"https://issuer.example/", "", true},
        {"http://issuer.example/", "", false},
        {"http://localhost:1/", "", true},
        {"http://127.0.0.1:1/", "http://127.0.0.1:2/keys", true},
        {"https://issuer.example/2", "http://127.0.0.1:2/keys", false},
        {"https://issuer.example/3", "https://keys.example/", true},
        {"ftp://issuer.example/", "", false},
        {"issuer", "", false},
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {.text = ""};
        struct issuer *issuer =
            issuers_get(fx->issuers, str_from(cases[i].url), str_from(cases[i].jwks_uri), &err);
        assert_int_equal(issuer != NULL, cases[i].good);
        assert_int_equal(err.text[0] == '\0', cases[i].good);
        if (issuer != NULL) {
            assert_ptr_equal(issuers_by_source(fx->issuers, issuer_keys(issuer)), issuer);
            assert_ptr_equal(
                issuers_get(fx->issuers, str_from(cases[i].url), str_from(cases[i].jwks_uri), &err),
                issuer);
        }
    }
    struct key_source own = {0};
    assert_null(issuers_by_source(fx->issuers, &own));
}

static void one_slash_goes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://i", "https://i" DISCOVERY},
        {"https://i/", "https://i" DISCOVERY},
        {"https://i//", "https://i/" DISCOVERY},
        {"https://i/t/", "https://i/t" DISCOVERY},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *url = discovery_url(str_from(cases[i][0]));
        assert_string_equal(url, cases[i][1]);
        free(url);
    }
}

static void the_other_document_lies_before_the_path(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://i", "https://i/.well-known/oauth-authorization-server"},
        {"https://i/", "https://i/.well-known/oauth-authorization-server"},
        {"https://i:8443/t/u/", "https://i:8443/.well-known/oauth-authorization-server/t/u"},
        {"http://[::1]:1/t", "http://[::1]:1/.well-known/oauth-authorization-server/t"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *url = discovery_oauth_url(str_from(cases[i][0]));
        assert_string_equal(url, cases[i][1]);
        free(url);
    }
}

static void one_slash_more_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *issuer, *found;
        bool good, slash;
    } cases[] = {
        {"https://i/", "https://i/", true, false},  {"https://i", "https://i/", true, true},
        {"https://i/", "https://i", true, true},    {"https://i", "https://i//", false, false},
        {"https://i/", "https://j/", false, false}, {"https://i/", "https://I/", false, false},
        {"https://i/", "http://i/", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char document[256];
        char *uri = NULL;
        bool slash = false;
        struct err err = {.text = ""};
        snprintf(document, sizeof(document), "{\"issuer\":\"%s\",\"jwks_uri\":\"https://k/\"}",
                 cases[i].found);
        int code =
            discovery_read(str_from(document), str_from(cases[i].issuer), &uri, &slash, &err);
        assert_int_equal(code == 0, cases[i].good);
        assert_int_equal(uri != NULL, cases[i].good);
        assert_int_equal(err.text[0] != '\0', !cases[i].good);
        if (cases[i].good) {
            assert_int_equal(slash, cases[i].slash);
            assert_string_equal(uri, "https://k/");
        }
        free(uri);
    }
}

static void configured_jwks_uri_needs_no_discovery(void **state)
{
    struct fixture *fx = *state;
    char uri[128];
    struct err err;
    snprintf(uri, sizeof(uri), "%sjwks.json", fx->url);
    struct issuer *issuer = issuers_get(fx->issuers, str_from(fx->url), str_from(uri), &err);
    assert_ptr_not_equal(issuer, fx->issuer);
    want_of(fx, issuer, "a");
    assert_true(has_in(issuer, "a"));
    assert_false(has(fx, "a")); /* nor is it shared through the disk */
    want(fx, "a");
    assert_hits(fx, 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_discoveries_are_refused),
        CASE(bad_sets_replace_no_good_one),
        CASE(configured_jwks_uri_needs_no_discovery),
        CASE(large_answers_are_refused),
        CASE(moved_keys_are_found_again),
        cmocka_unit_test(one_slash_goes),
        cmocka_unit_test(the_other_document_lies_before_the_path),
        cmocka_unit_test(one_slash_more_is_told),
        CASE(redirects_lead_to_loopback_only_by_the_rules),
        CASE(urls_are_https_or_loopback),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
