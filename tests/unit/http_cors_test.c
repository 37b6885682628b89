/* Cross-origin answers: who is let in, what a preflight says, what caches must know. */
#include "unit.h"

#include <errno.h>

#include "http/cors.h"

static struct str one[] = {{"https://app.example", 19}};
static struct str two[] = {{"https://a.example", 17}, {"https://app.example", 19}};
static struct str star[] = {{"*", 1}};

static void begin(struct exchange *ex, enum http_method method, const char *origin)
{
    *ex = (struct exchange){.magic = EXCHANGE_MAGIC};
    arena_init(&ex->arena);
    ex->req.method = method;
    ex->res.status = 200;
    if (origin != NULL)
        assert_int_equal(headers_add(&ex->req.headers, &ex->arena, STR("origin"), str_from(origin)),
                         0);
}

static void send_header(struct exchange *ex, const char *name, const char *value)
{
    assert_int_equal(headers_add(&ex->req.headers, &ex->arena, str_from(name), str_from(value)), 0);
}

/* The answer's header is `want`; NULL: it has none. */
static void expect(const struct exchange *ex, const char *name, const char *want)
{
    const struct str *got = headers_get(&ex->res.headers, str_from(name));
    if ((got == NULL) != (want == NULL) || (got != NULL && !str_eq(*got, str_from(want))))
        fail_msg("%s is '%.*s', not '%s'", name, got != NULL ? (int)got->len : 4,
                 got != NULL ? got->ptr : "none", want != NULL ? want : "none");
}

static void test_origins(void **state)
{
    (void)state;
    static const struct {
        struct cors cors;
        const char *origin, *allowed, *credentials, *vary;
    } cases[] = {
        {{one, 1, false, 0}, "https://app.example", "https://app.example", NULL, "Origin"},
        {{one, 1, true, 0}, "https://app.example", "https://app.example", "true", "Origin"},
        {{two, 2, false, 0}, "https://app.example", "https://app.example", NULL, "Origin"},
        {{one, 1, true, 0}, "https://app.example.evil", NULL, NULL, "Origin"},
        {{one, 1, true, 0}, "https://APP.example", NULL, NULL, "Origin"},
        {{one, 1, true, 0}, "http://app.example", NULL, NULL, "Origin"},
        {{one, 1, true, 0}, "null", NULL, NULL, "Origin"},
        {{one, 1, true, 0}, NULL, NULL, NULL, "Origin"},
        {{star, 1, false, 0}, "https://any.example", "*", NULL, NULL},
        {{star, 1, true, 0}, "https://any.example", "*", NULL, NULL},
        {{star, 1, false, 0}, NULL, NULL, NULL, NULL},
        {{NULL, 0, false, 0}, "https://app.example", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange ex;
        begin(&ex, METHOD_GET, cases[i].origin);
        cors_add_headers(&cases[i].cors, &ex);
        expect(&ex, "access-control-allow-origin", cases[i].allowed);
        expect(&ex, "access-control-allow-credentials", cases[i].credentials);
        expect(&ex, "vary", cases[i].vary);
        arena_free(&ex.arena);
    }
}

static void test_origins_are_written_in_many_ways(void **state)
{
    (void)state;
    static const struct {
        const char *text, *origin; /* NULL: none */
    } cases[] = {
        {"https://app.example", "https://app.example"},
        {"https://App.Example", "https://app.example"},
        {"HTTPS://app.example:443", "https://app.example"},
        {"http://app.example:80", "http://app.example"},
        {"http://app.example:443", "http://app.example:443"},
        {"https://app.example:8443", "https://app.example:8443"},
        {"https://B\xc3\x9c"
         "cher.example",
         "https://xn--bcher-kva.example"},
        {"http://[::1]:80", "http://[::1]"},
        {"http://[::1]:8080", "http://[::1]:8080"},
        {"*", "*"},
        {"null", "null"},
        {"https://", NULL},
        {"https://:443", NULL},
        {"https://app.example/", NULL},
        {"https://*.example", NULL},
        {"https://app.example:0443", NULL},
        {"https://app.example:99999", NULL},
        {"https://app.example:", NULL},
        {"https://user@app.example", NULL},
        {"ftp://app.example", NULL},
        {"app.example", NULL},
        {"https:app.example", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct str origin;
        arena_init(&arena);
        int rc = cors_origin(str_from(cases[i].text), &arena, &origin);
        assert_int_equal(rc, cases[i].origin != NULL ? 0 : -EINVAL);
        if (rc == 0)
            assert_true(str_eq(origin, str_from(cases[i].origin)));
        arena_free(&arena);
    }
}

static void test_handler_headers_stay(void **state)
{
    (void)state;
    struct cors cors = {one, 1, true, 0};
    struct exchange ex;
    begin(&ex, METHOD_GET, "https://app.example");
    assert_int_equal(headers_add(&ex.res.headers, &ex.arena, STR("access-control-allow-origin"),
                                 STR("https://own.example")),
                     0);
    cors_add_headers(&cors, &ex);
    assert_int_equal(headers_count(&ex.res.headers, STR("Access-Control-Allow-Origin")), 1);
    expect(&ex, "access-control-allow-origin", "https://own.example");
    expect(&ex, "access-control-allow-credentials", NULL);
    arena_free(&ex.arena);

    begin(&ex, METHOD_GET, "https://app.example");
    assert_int_equal(headers_add(&ex.res.headers, &ex.arena, STR("vary"), STR("Accept, origin")),
                     0);
    cors_add_headers(&cors, &ex);
    assert_int_equal(headers_count(&ex.res.headers, STR("Vary")), 1);
    expect(&ex, "access-control-allow-origin", "https://app.example");
    arena_free(&ex.arena);
}

static void test_preflight(void **state)
{
    (void)state;
    struct cors cors = {one, 1, false, 600};
    struct exchange ex;
    begin(&ex, METHOD_OPTIONS, "https://app.example");
    send_header(&ex, "access-control-request-method", "POST");
    send_header(&ex, "access-control-request-headers", "authorization,content-type");
    assert_true(cors_preflight(&cors, &ex, METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_POST)));
    assert_int_equal(ex.res.status, 204);
    expect(&ex, "access-control-allow-origin", "https://app.example");
    expect(&ex, "access-control-allow-methods", "GET, POST");
    expect(&ex, "access-control-allow-headers", "authorization,content-type");
    expect(&ex, "access-control-max-age", "600");
    assert_int_equal(headers_count(&ex.res.headers, STR("Vary")), 2);
    arena_free(&ex.arena);
}

static void test_refused_preflight(void **state)
{
    (void)state;
    struct cors cors = {one, 1, false, 600};
    struct exchange ex;
    begin(&ex, METHOD_OPTIONS, "https://evil.example");
    send_header(&ex, "access-control-request-method", "POST");
    assert_true(cors_preflight(&cors, &ex, METHOD_ALL));
    assert_int_equal(ex.res.status, 204);
    expect(&ex, "access-control-allow-origin", NULL);
    expect(&ex, "access-control-allow-methods", NULL);
    expect(&ex, "vary", "Origin");
    arena_free(&ex.arena);

    begin(&ex, METHOD_OPTIONS, "https://app.example");
    send_header(&ex, "access-control-request-method", "POST");
    send_header(&ex, "access-control-request-headers", "x-a, b@d{}");
    assert_true(cors_preflight(&cors, &ex, METHOD_ALL));
    expect(&ex, "access-control-allow-headers", NULL);
    arena_free(&ex.arena);
}

static void test_no_preflight(void **state)
{
    (void)state;
    static const struct {
        struct cors cors;
        enum http_method method;
        const char *origin, *method_wanted;
        bool preflight;
    } cases[] = {
        {{one, 1, false, 0}, METHOD_OPTIONS, "https://app.example", "GET", true},
        {{one, 1, false, 0}, METHOD_GET, "https://app.example", "GET", false},
        {{one, 1, false, 0}, METHOD_OPTIONS, NULL, "GET", false},
        {{one, 1, false, 0}, METHOD_OPTIONS, "https://app.example", NULL, false},
        {{NULL, 0, false, 0}, METHOD_OPTIONS, "https://app.example", "GET", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange ex;
        begin(&ex, cases[i].method, cases[i].origin);
        if (cases[i].method_wanted != NULL)
            send_header(&ex, "access-control-request-method", cases[i].method_wanted);
        assert_int_equal(cors_preflight(&cases[i].cors, &ex, METHOD_ALL), cases[i].preflight);
        assert_int_equal(ex.res.status, cases[i].preflight ? 204 : 200);
        arena_free(&ex.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_handler_headers_stay),
        cmocka_unit_test(test_origins_are_written_in_many_ways),
        cmocka_unit_test(test_preflight),
        cmocka_unit_test(test_refused_preflight),
        cmocka_unit_test(test_no_preflight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
