/* Routes: which pattern a path finds, what it captures, which patterns are refused. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "http/router.h"

enum { GET = METHOD_BIT(METHOD_GET), POST = METHOD_BIT(METHOD_POST) };

static void add(struct router *router, const char *pattern, unsigned methods)
{
    struct err err;
    if (router_add(router, str_from(pattern), methods, (char *)(uintptr_t)pattern, &err) != 0)
        fail_msg("%s", err.text);
}

static struct router *demo(void)
{
    static const char *const patterns[] = {
        "/",
        "/api/shows",
        "/api/shows/:id",
        "/api/:kind/latest",
        "/api/*",
        "/items/:id?",
        "/users/:user/posts/:post",
        "/a/:x/b",
        "/a/:y/:z",
        "/.netlify/functions/me",
        "/.netlify/functions/me/*",
        "/slash/",
        "/caf%C3%A9",
    };
    struct router *router = router_new();
    assert_non_null(router);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        add(router, patterns[i], METHOD_ALL);
    return router;
}

static void describe(const struct route_match *match, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "%.*s", STR_ARG(match->pattern));
    for (unsigned i = 0; i < match->param_count; i++)
        len += (size_t)snprintf(out + len, size - len, " %.*s=%.*s", STR_ARG(match->params[i].name),
                                STR_ARG(match->params[i].value));
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *found; /* pattern and parameters; NULL: none */
    } cases[] = {
        {"/", "/"},
        {"/api/shows", "/api/shows"},
        {"/api/shows/", "/api/shows"},
        {"/api/SHOWS", "/api/* splat=SHOWS"},
        {"/api/shows/5", "/api/shows/:id id=5"},
        {"/api/shows/5/", "/api/shows/:id id=5"},
        {"/api/shows/5/6", "/api/* splat=shows/5/6"},
        {"/api/shows/5/6/", "/api/* splat=shows/5/6/"},
        {"/api/shows/5%2F6", "/api/shows/:id id=5%2F6"},
        {"/api/shows/latest", "/api/shows/:id id=latest"},
        {"/api/films/latest", "/api/:kind/latest kind=films"},
        {"/api/films/a%20b", "/api/* splat=films/a%20b"},
        {"/api", "/api/* splat="},
        {"/api/", "/api/* splat="},
        {"/api//x", "/api/* splat=/x"},
        {"/items", "/items/:id?"},
        {"/items/", "/items/:id?"},
        {"/items/9", "/items/:id? id=9"},
        {"/items/9/1", NULL},
        {"/items//", NULL},
        {"/users/u/posts/p", "/users/:user/posts/:post user=u post=p"},
        {"/users/u/posts", NULL},
        {"/users//posts/p", NULL},
        {"/a/1/b", "/a/:x/b x=1"},
        {"/a/1/c", "/a/:y/:z y=1 z=c"},
        {"/.netlify/functions/me", "/.netlify/functions/me"},
        {"/.netlify/functions/me/a/b", "/.netlify/functions/me/* splat=a/b"},
        {"/.netlify/functions/men", NULL},
        {"/.netlify/functions/%6De", NULL},
        {"/slash", "/slash"},
        {"/slash/", "/slash"},
        {"/slash//", NULL},
        {"/caf%C3%A9", "/caf%C3%A9"},
        {"//something", NULL},
        {"//", NULL},
        {"/nothing", NULL},
        {"/.netlify/functions/me/it/is/longer/than/any/pattern",
         "/.netlify/functions/me/* splat=it/is/longer/than/any/pattern"},
        {"/.netlify/functions/unlikely-long-and-found-nowhere", NULL},
        {"/.netlify/functions/mE", NULL},
        {"/.netlify/functions/", NULL},
        {"////////////////////////////////////////", NULL},
        {"api/shows", NULL},
        {"*", NULL},
    };
    struct router *router = demo();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct route_match match;
        enum route_result result =
            router_match(router, METHOD_GET, str_from(cases[i].path), &match);
        char seen[256] = "";
        if (result == ROUTE_FOUND)
            describe(&match, seen, sizeof(seen));
        /* The pattern is as given: "/slash/" keeps its slash. */
        const char *want = cases[i].found == NULL ? "" : cases[i].found;
        if (strcmp(want, "/slash") == 0)
            want = "/slash/";
        if (strcmp(seen, want) != 0)
            fail_msg("%s found '%s', not '%s'", cases[i].path, seen, want);
        if (cases[i].found == NULL)
            assert_int_equal(result, ROUTE_NONE);
    }
    router_free(router);
}

static void test_methods(void **state)
{
    (void)state;
    struct router *router = router_new();
    add(router, "/a", GET);
    add(router, "/a/:id?", POST);
    add(router, "/b", GET);
    add(router, "/*", METHOD_BIT(METHOD_DELETE));
    static const struct {
        enum http_method method;
        const char *path;
        enum route_result result;
        const char *pattern;
        unsigned methods;
    } cases[] = {
        {METHOD_GET, "/a", ROUTE_FOUND, "/a", GET},
        {METHOD_POST, "/a", ROUTE_FOUND, "/a/:id?", POST},
        {METHOD_DELETE, "/a", ROUTE_FOUND, "/*", METHOD_BIT(METHOD_DELETE)},
        {METHOD_PUT, "/a", ROUTE_WRONG_METHOD, NULL, GET | POST | METHOD_BIT(METHOD_DELETE)},
        {METHOD_POST, "/b", ROUTE_WRONG_METHOD, NULL, GET | METHOD_BIT(METHOD_DELETE)},
        {METHOD_POST, "/c/d", ROUTE_WRONG_METHOD, NULL, METHOD_BIT(METHOD_DELETE)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct route_match match;
        assert_int_equal(router_match(router, cases[i].method, str_from(cases[i].path), &match),
                         cases[i].result);
        assert_int_equal(match.methods, cases[i].methods);
        if (cases[i].pattern != NULL)
            assert_string_equal(match.target, cases[i].pattern);
        else
            assert_null(match.target);
    }
    router_free(router);
}

static void test_refused_patterns(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",   "a",      "/a//b", "/:",  "/:a-b",  "/*/a",  "/a*",   "/:id?/x", "/:a/:a", "/a b",
        "/é", "/a?b=c", "/a#b",  "/..", "/a/./b", "/a\\b", "/:id*", "//",      "/a/b//",
    };
    static const char *const good[] = {"/",       "/a/b", "/:a_1", "/:a/*",
                                       "/a/:id?", "/a/",  "/.x",   "/*"};
    struct router *router = router_new();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {""};
        if (router_add(router, str_from(bad[i]), GET, NULL, &err) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
        assert_true(strlen(err.text) > 10);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        add(router, good[i], GET);
    router_free(router);
}

static void test_limits(void **state)
{
    (void)state;
    struct router *router = router_new();
    char pattern[512] = "";
    for (int i = 0; i < ROUTE_PARAMS_MAX; i++)
        sprintf(pattern + strlen(pattern), "/:p%d", i);
    struct err err;
    assert_int_equal(router_add(router, str_from(pattern), GET, NULL, &err), 0);
    strcat(pattern, "/*");
    assert_int_equal(router_add(router, str_from(pattern), GET, NULL, &err), -EINVAL);
    char deep[512] = "";
    for (int i = 0; i < 32; i++)
        strcat(deep, "/d");
    add(router, deep, GET);
    struct route_match match;
    assert_int_equal(router_match(router, METHOD_GET, str_from(deep), &match), ROUTE_FOUND);
    strcat(deep, "/d");
    assert_int_equal(router_match(router, METHOD_GET, str_from(deep), &match), ROUTE_NONE);
    assert_int_equal(router_add(router, str_from(deep), GET, NULL, &err), -EINVAL);
    router_free(router);
}

static void test_taken(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        unsigned methods;
        int rc;
    } cases[] = {
        {"/a/:id", GET, 0},          {"/a/:id", POST, 0},  {"/a/:id", GET | POST, -EEXIST},
        {"/a/:other", GET, -EEXIST}, {"/a/:id?", GET, 0},  {"/a", GET, 0},
        {"/a/", GET, -EEXIST},       {"/a/*", GET, 0},     {"/a/*", METHOD_ALL, -EEXIST},
        {"/a/:id/x", GET, 0},        {"/a/:id/y", GET, 0}, {"/a/:n/y", GET, -EEXIST},
    };
    struct router *router = router_new();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {""};
        int rc = router_add(router, str_from(cases[i].pattern), cases[i].methods, NULL, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %d %s", cases[i].pattern, rc, err.text);
    }
    router_free(router);
}

static void test_excluded(void **state)
{
    (void)state;
    static int all, other;
    struct router *router = router_new();
    struct route_match match;
    struct err err;
    assert_int_equal(router_add(router, STR("/x/*"), METHOD_ALL, &all, &err), 0);
    assert_int_equal(router_add(router, STR("/*"), METHOD_ALL, &other, &err), 0);
    assert_int_equal(router_add(router, STR("/x/:a/b"), GET, &other, &err), 0);
    assert_int_equal(router_exclude(router, STR("/x/no/:any?"), &all, &err), 0);
    assert_int_equal(router_exclude(router, STR("/x/no/:any?"), &all, &err), 0);
    assert_int_equal(router_exclude(router, STR("/x/NO"), &all, &err), 0);
    assert_int_equal(router_exclude(router, STR("no"), &all, &err), -EINVAL);
    static const struct {
        const char *path;
        const void *target;
    } cases[] = {{"/x/yes", &all},   {"/x/no", &other}, {"/x/no/1/", &other}, {"/x/no/1/2", &all},
                 {"/x/NO/", &other}, {"/x", &all},      {"/y", &other},       {"/x/no/b", &other}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(router_match(router, METHOD_GET, str_from(cases[i].path), &match),
                         ROUTE_FOUND);
        assert_ptr_equal(match.target, cases[i].target);
    }
    assert_int_equal(router_add(router, STR("/x/:a/b"), METHOD_ALL, &all, &err), -EEXIST);
    assert_ptr_equal(router_taken_by(router), &other);
    router_free(router);
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void test_many(void **state)
{
    (void)state;
    enum { FUNCTIONS = 1000, ROUNDS = 100 };
    static char targets[FUNCTIONS];
    struct router *router = router_new();
    struct err err;
    char text[64];
    for (int i = 0; i < FUNCTIONS; i++) {
        sprintf(text, "/.netlify/functions/fn%d", i);
        assert_int_equal(router_add(router, str_from(text), METHOD_ALL, &targets[i], &err), 0);
        strcat(text, "/*");
        assert_int_equal(router_add(router, str_from(text), METHOD_ALL, &targets[i], &err), 0);
    }
    double started = now();
    struct route_match match;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < FUNCTIONS; i++) {
            int len = sprintf(text, "/.netlify/functions/fn%d%s", i, round % 2 ? "/a/b/c" : "");
            struct str path = {text, (size_t)len};
            assert_int_equal(router_match(router, METHOD_GET, path, &match), ROUTE_FOUND);
            assert_ptr_equal(match.target, &targets[i]);
        }
    }
    print_message("# %.0f ns a match\n", (now() - started) / (FUNCTIONS * ROUNDS) * 1e9);
    router_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_excluded),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
