/* Sessions in cookies: what comes back of what was sealed and nothing else, which cookies are ours,
 * and who may begin, or change something. */
#include "failing_malloc.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "app/login.h"
#include "revocations_fixture.h"

#define ISSUER "https://issuer.example/"
#define NOW    1700000000.0
#define ENDS   (NOW + 3600)

static const struct exchange_sink sink;
static struct str secrets[] = {{"the newest of them, of 32 bytes...", 34},
                               {"the one before, of 32 bytes or so.", 34}};
static struct verifier_spec issuers[] = {{.verifier = {.issuer = {ISSUER, sizeof(ISSUER) - 1}}}};
static const struct config host = {.issuers = issuers,
                                   .issuer_count = 1,
                                   .login = {.on = true, .secrets = secrets, .secret_count = 2}};
static struct arena arena;

static int set_up(void **state)
{
    arena_init(&arena);
    return revocations_set_up(state);
}

static int tear_down(void **state)
{
    arena_free(&arena);
    return revocations_tear_down(state);
}

static struct login_session session(void)
{
    return (struct login_session){.token = STR("an access token"),
                                  .refresh = STR("what renews it"),
                                  .endpoint = STR("https://issuer.example/token"),
                                  .id = STR("an id"),
                                  .sid = STR("a sid"),
                                  .sub = STR("vera"),
                                  .hint = STR("an ID token"),
                                  .signed_in = NOW - 60,
                                  .expires = ENDS,
                                  .token_ends = NOW + 60,
                                  .renew = NOW + 30};
}

static struct str sealed_with(const struct config *config, enum login_purpose purpose)
{
    struct str sealed;
    const struct login_session s = session();
    assert_int_equal(login_seal(config, &arena, purpose, &s, &sealed), 0);
    return sealed;
}

static int opened(const struct config *config, struct str sealed, double now)
{
    struct login_session s;
    return login_open(config, &arena, LOGIN_COOKIE, sealed, now, &s);
}

static void assert_same(const struct login_session *a, const struct login_session *b)
{
    assert_true(str_eq(a->token, b->token) && str_eq(a->refresh, b->refresh));
    assert_true(str_eq(a->endpoint, b->endpoint) && str_eq(a->hint, b->hint));
    assert_true(str_eq(a->id, b->id) && str_eq(a->sid, b->sid) && str_eq(a->sub, b->sub));
    assert_true(a->signed_in == b->signed_in && a->expires == b->expires);
    assert_true(a->token_ends == b->token_ends && a->renew == b->renew);
}

/* ---- what is sealed ---- */

static void comes_back_whole(void **state)
{
    (void)state;
    struct login_session back;
    const struct login_session s = session();
    for (enum login_purpose purpose = LOGIN_COOKIE; purpose <= LOGIN_STORE; purpose++) {
        struct str sealed = sealed_with(&host, purpose);
        assert_int_equal(login_open(&host, &arena, purpose, sealed, NOW, &back), 0);
        assert_same(&back, &s);
    }
}

static void one_purpose_is_no_other(void **state)
{
    (void)state;
    struct str text, sealed;
    for (enum login_purpose a = LOGIN_COOKIE; a <= LOGIN_FLOW; a++) {
        assert_int_equal(login_seal_text(&host, &arena, a, STR("text"), &sealed), 0);
        for (enum login_purpose b = LOGIN_COOKIE; b <= LOGIN_FLOW; b++) {
            assert_int_equal(login_open_text(&host, &arena, b, sealed, &text),
                             a == b ? 0 : -ENOENT);
            assert_true(a != b || str_eq(text, STR("text")));
        }
        assert_int_equal(opened(&host, sealed_with(&host, a), NOW),
                         a == LOGIN_COOKIE ? 0 : -ENOENT);
    }
}

static void every_byte_counts(void **state)
{
    (void)state;
    struct str sealed = sealed_with(&host, LOGIN_COOKIE);
    char *bytes = (char *)(uintptr_t)sealed.ptr;
    for (size_t i = 0; i < sealed.len; i++) {
        char was = bytes[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(was ^ (1 << bit));
            assert_int_equal(opened(&host, sealed, NOW), -ENOENT);
        }
        bytes[i] = was;
        assert_int_equal(opened(&host, (struct str){sealed.ptr, i}, NOW), -ENOENT);
        assert_int_equal(opened(&host, str_skip(sealed, i + 1), NOW), -ENOENT);
    }
    assert_int_equal(opened(&host, arena_printf(&arena, "%.*sA", STR_ARG(sealed)), NOW), -ENOENT);
    assert_int_equal(opened(&host, sealed, NOW), 0);
}

static void secrets_change(void **state)
{
    (void)state;
    struct config before = host, now = host, after = host;
    before.login.secrets = secrets + 1;
    before.login.secret_count = 1;
    after.login.secret_count = 1;
    struct str old = sealed_with(&before, LOGIN_COOKIE), new = sealed_with(&now, LOGIN_COOKIE);
    assert_int_equal(opened(&before, old, NOW), 0);
    assert_int_equal(opened(&now, old, NOW), 0);
    assert_int_equal(opened(&after, old, NOW), -ENOENT);
    assert_int_equal(opened(&before, new, NOW), -ENOENT);
    assert_int_equal(opened(&now, new, NOW), 0);
    assert_int_equal(opened(&after, new, NOW), 0);
}

static void another_issuer_or_too_late(void **state)
{
    (void)state;
    struct verifier_spec others[] = {{.verifier = {.issuer = STR("https://other.example/")}}};
    struct config other = host;
    other.issuers = others;
    struct str sealed = sealed_with(&host, LOGIN_COOKIE);
    assert_int_equal(opened(&other, sealed, NOW), -ENOENT);
    assert_int_equal(opened(&host, sealed, ENDS), -ENOENT);
    assert_int_equal(opened(&host, sealed, ENDS - 1), 0);
}

/* JSON that nobody here writes, under the right key. */
static void what_else_is_sealed(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "[]",
                                        "{\"iss\":\"" ISSUER "\",\"until\":9e9}",
                                        "{\"iss\":\"" ISSUER "\",\"id\":\"\",\"until\":9e9}",
                                        "{\"iss\":\"" ISSUER "\",\"id\":7,\"until\":9e9}",
                                        "{\"iss\":\"" ISSUER "\",\"id\":\"x\"}",
                                        "{\"iss\":\"" ISSUER "\",\"id\":\"x\",\"until\":\"9e9\"}",
                                        "{\"iss\":null,\"id\":\"x\",\"until\":9e9}"};
    const char *good = "{\"iss\":\"" ISSUER "\",\"id\":\"x\",\"until\":9e9}";
    struct str sealed;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(login_seal_text(&host, &arena, LOGIN_COOKIE, str_from(texts[i]), &sealed),
                         0);
        assert_int_equal(opened(&host, sealed, NOW), -ENOENT);
    }
    assert_int_equal(login_seal_text(&host, &arena, LOGIN_COOKIE, str_from(good), &sealed), 0);
    assert_int_equal(opened(&host, sealed, NOW), 0);
    assert_int_equal(login_seal_text(&host, &arena, LOGIN_COOKIE, STR("{\"iss\":"), &sealed), 0);
    assert_int_not_equal(opened(&host, sealed, NOW), 0);
}

static void ended(void **state)
{
    (void)state;
    const struct str issuer = STR(ISSUER);
    struct str sealed = sealed_with(&host, LOGIN_COOKIE);
    const struct revocation others[] = {
        login_revocation(STR("another id"), NOW),
        revocations_make(REVOCATION_SID, issuer, STR("another sid"), REVOCATION_ALWAYS, NOW),
        revocations_make(REVOCATION_SUB, STR("https://other.example/"), STR("vera"),
                         REVOCATION_ALWAYS, NOW),
        revocations_make(REVOCATION_SUB, issuer, STR("vera"), (uint32_t)(NOW - 61), NOW)};
    const struct revocation own[] = {
        login_revocation(STR("an id"), NOW),
        revocations_make(REVOCATION_SID, issuer, STR("a sid"), REVOCATION_ALWAYS, NOW),
        revocations_make(REVOCATION_SUB, issuer, STR("vera"), (uint32_t)NOW, NOW),
        revocations_make(REVOCATION_SUB, STR(""), STR("vera"), REVOCATION_ALWAYS, NOW)};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        memset(revocations_table, 0, sizeof(*revocations_table));
        assert_int_equal(revocations_init(revocations_table), 0);
        assert_int_equal(revocations_add(&others[i], NOW), 0);
        assert_int_equal(opened(&host, sealed, NOW), 0);
        assert_int_equal(revocations_add(&own[i], NOW), 0);
        assert_int_equal(opened(&host, sealed, NOW), -ENOENT);
    }
}

static void the_hint_goes_first(void **state)
{
    (void)state;
    static char large[8000];
    memset(large, 'x', sizeof(large));
    struct login_session s = session(), back;
    struct str sealed;
    bool seen[3] = {false};
    for (size_t token = 0; token < 4000; token += 500) {
        for (size_t hint = 0; hint < 3000; hint += 500) {
            s.token = (struct str){large, token};
            s.hint = (struct str){large, hint};
            assert_int_equal(login_seal(&host, &arena, LOGIN_COOKIE, &s, &sealed), 0);
            assert_int_equal(login_open(&host, &arena, LOGIN_COOKIE, sealed, NOW, &back), 0);
            bool fits = sealed.len <= LOGIN_COOKIE_BYTES, has = back.hint.len == hint;
            assert_true(back.token.len == token && (has || (back.hint.len == 0 && fits)));
            seen[!fits ? 0 : has ? 1 : 2] = true;
        }
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

/* ---- cookies ---- */

static struct exchange *asked(const char *const fields[][2])
{
    struct exchange *ex = exchange_new(&sink, NULL);
    assert_non_null(ex);
    ex->req.scheme = STR("https");
    ex->req.host = STR("host.example:8443");
    for (size_t i = 0; fields[i][0] != NULL; i++)
        assert_int_equal(headers_add(&ex->req.headers, &ex->arena, str_from(fields[i][0]),
                                     str_from(fields[i][1])),
                         0);
    return ex;
}

static void is_taken(const char *first, const char *second, const char *value, const char *rest)
{
    struct str sealed;
    struct exchange *ex = asked((const char *const[][2]){
        {"accept", "x"}, {"cookie", first}, {second ? "cookie" : NULL, second}, {NULL, NULL}});
    assert_int_equal(login_take(ex, &sealed), 0);
    assert_true(value != NULL ? sealed.ptr != NULL && str_eq(sealed, str_from(value))
                              : sealed.ptr == NULL);
    char left[256] = "";
    for (uint32_t i = 1; i < ex->req.headers.len; i++) {
        struct str field = ex->req.headers.items[i].value;
        strcat(left, i > 1 ? "|" : "");
        strncat(left, field.ptr, field.len);
    }
    assert_string_equal(left, rest);
    exchange_release(ex);
}

static void cookies_of_any_form(void **state)
{
    (void)state;
    is_taken("__Host-luafn=a", NULL, "a", "");
    is_taken("a=1; __Host-luafn=b; c=2", NULL, "b", "a=1; c=2");
    is_taken("a=1;__Host-luafn=b;c=2", NULL, "b", "a=1; c=2");
    is_taken(" \t__Host-luafn=b \t;a", NULL, "b", "a");
    is_taken("a=1", "__Host-luafn=b", "b", "a=1");
    is_taken("__Host-luafn=b", "c=2", "b", "c=2");
    is_taken("__Host-luafn=", NULL, "", "");
    is_taken("__Host-luafn=a=b", NULL, "a=b", "");
    is_taken("__Host-luafn=\"b\"", NULL, "\"b\"", "");
    is_taken("__Host-luafn", NULL, NULL, "");
    is_taken("a=1; b=2", NULL, NULL, "a=1; b=2");
    is_taken("__Host-luafn-flow-x=1; a=1", NULL, NULL, "a=1");
    is_taken("__Host-luafn-flow-x=1; __Host-luafn=b", NULL, "b", "");
}

static void cookies_that_are_none(void **state)
{
    (void)state;
    is_taken("__Host-luafn=a; __Host-luafn=b", NULL, NULL, "");
    is_taken("__Host-luafn=a", "__Host-luafn=a", NULL, "");
    is_taken("luafn=a; __host-luafn=b; __HOST-LUAFN=c", NULL, NULL,
             "luafn=a; __host-luafn=b; __HOST-LUAFN=c");
    is_taken("x__Host-luafn=a; x=__Host-luafn=b", NULL, NULL, "x__Host-luafn=a; x=__Host-luafn=b");
    is_taken("__Secure-luafn=a; =__Host-luafn=b", NULL, NULL, "__Secure-luafn=a; =__Host-luafn=b");
    is_taken("__Host-luafn =a", NULL, NULL, "");
}

/* What comes without blanks gets some: each field has room of its own. */
static void many_in_a_field(void **state)
{
    (void)state;
    char text[2][1024] = {"", ""};
    for (int field = 0; field < 2; field++) {
        for (int i = 0; i < 300; i++)
            strcat(text[field], field == 0 ? "a;" : "b;");
        strcat(text[field], "x__Host-luafn");
    }
    struct str sealed;
    struct exchange *ex =
        asked((const char *const[][2]){{"cookie", text[0]}, {"cookie", text[1]}, {NULL, NULL}});
    assert_int_equal(login_take(ex, &sealed), 0);
    assert_null(sealed.ptr);
    for (uint32_t field = 0; field < 2; field++) {
        struct str rest = ex->req.headers.items[field].value, piece;
        assert_int_equal(rest.len, 300 * 3 + strlen("x__Host-luafn"));
        for (int i = 0; i < 300; i++)
            assert_true(str_split_next(&rest, ';', &piece) &&
                        str_eq(str_trim(piece), field == 0 ? STR("a") : STR("b")));
        assert_true(str_eq(str_trim(rest), STR("x__Host-luafn")));
    }
    exchange_release(ex);
}

/* ---- who asks ---- */

static void is_own(const char *site, const char *origin, bool spoken, bool silent)
{
    const char *const fields[][2] = {
        {site != NULL ? "sec-fetch-site" : "x", site != NULL ? site : "y"},
        {origin != NULL ? "origin" : NULL, origin},
        {NULL, NULL}};
    struct exchange *ex = asked(fields);
    assert_int_equal(login_is_same_origin(ex, false), spoken);
    assert_int_equal(login_is_same_origin(ex, true), silent);
    exchange_release(ex);
}

static void pages_of_this_origin(void **state)
{
    (void)state;
    is_own(NULL, NULL, false, true);
    is_own("same-origin", NULL, true, true);
    is_own("none", NULL, true, true);
    is_own(NULL, "https://host.example:8443", true, true);
    is_own(NULL, "https://HOST.example:8443", true, true);
    is_own("same-origin", "https://host.example:8443", true, true);
    static const char *const strangers[] = {"null",
                                            "",
                                            "https://host.example",
                                            "https://host.example:443",
                                            "http://host.example:8443",
                                            "https://host.example:84430",
                                            "https://a.host.example:8443",
                                            "https://evil.example",
                                            "https://host.example:8443.evil.example",
                                            "https://host.example:8443/",
                                            "https://user@host.example:8443",
                                            "https:host.example:8443",
                                            "https:/host.example:8443",
                                            "//host.example:8443",
                                            "host.example:8443"};
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        is_own(NULL, strangers[i], false, false);
        is_own("same-origin", strangers[i], false, false);
    }
    is_own("same-site", NULL, false, false);
    is_own("cross-site", "https://host.example:8443", false, false);
    is_own("Same-Origin", NULL, false, false);
}

/* ---- without memory ---- */

static void no_memory(void **state)
{
    (void)state;
    if (!owns_malloc())
        skip();
    struct str sealed = sealed_with(&host, LOGIN_COOKIE), text;
    const struct login_session s = session();
    struct login_session back;
    unsigned failed = 0;
    for (unsigned long at = 1;; at++) {
        struct arena own;
        arena_init(&own);
        struck = false;
        countdown = at;
        int rc = login_open(&host, &own, LOGIN_COOKIE, sealed, NOW, &back);
        countdown = 0;
        assert_true(rc == 0 || (rc == -ENOMEM && struck));
        if (rc == 0)
            assert_same(&back, &s);
        failed += rc != 0;
        countdown = at;
        rc = login_seal(&host, &own, LOGIN_COOKIE, &s, &text);
        bool more = countdown == 0;
        countdown = 0;
        assert_true(rc == 0 || rc == -ENOMEM);
        if (rc == 0) {
            assert_int_equal(login_open(&host, &own, LOGIN_COOKIE, text, NOW, &back), 0);
            assert_same(&back, &s);
        }
        failed += rc != 0;
        arena_free(&own);
        if (!struck && !more)
            break;
    }
    assert_true(failed > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_purpose_is_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_byte_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_issuer_or_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_else_is_sealed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_hint_goes_first, set_up, tear_down),
        cmocka_unit_test(cookies_of_any_form),
        cmocka_unit_test(cookies_that_are_none),
        cmocka_unit_test(many_in_a_field),
        cmocka_unit_test(pages_of_this_origin),
        cmocka_unit_test_setup_teardown(no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
