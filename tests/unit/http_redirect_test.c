/* Redirect rules: what they match, where they lead, and that no request bends them. */
#include "unit.h"

#include <errno.h>

#include "http/redirect.h"

struct fixture {
    struct arena arena;
    struct request req;
};

/* The request of that target; `header` may be NULL. */
static void make_request(struct fixture *f, const char *target, const char *name, const char *value)
{
    arena_init(&f->arena);
    f->req = (struct request){.method = METHOD_GET, .target = str_from(target)};
    size_t mark = str_find(f->req.target, '?');
    f->req.path = (struct str){target, mark};
    if (mark < f->req.target.len)
        f->req.query = str_skip(f->req.target, mark + 1);
    if (name != NULL)
        assert_int_equal(headers_add(&f->req.headers, &f->arena, str_from(name), str_from(value)),
                         0);
}

static void expect(const struct redirect_rule *rule, const char *request, const char *leads)
{
    struct fixture f;
    struct str target = {NULL, 0};
    make_request(&f, request, NULL, NULL);
    bool matched = redirect_match(rule, &f.req, &f.arena, &target);
    if (matched != (leads != NULL) || (matched && !str_eq(target, str_from(leads))))
        fail_msg("%.*s -> %.*s: %s leads to '%.*s', not to '%s'", STR_ARG(rule->from),
                 STR_ARG(rule->to), request, STR_ARG(target), leads != NULL ? leads : "nothing");
    arena_free(&f.arena);
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *request, *leads; /* leads NULL: no match */
    } cases[] = {
        {"/old", "/new", "/old", "/new"},
        {"/old", "/new", "/old/", "/new"},
        {"/old", "/new", "/OLD", NULL},
        {"/old", "/new", "/older", NULL},
        {"/old/", "/new", "/old", "/new"},
        {"/old", "/new", "/old?x=1", "/new?x=1"},
        {"/old", "/new?y=2", "/old?x=1", "/new?y=2"},
        {"/old", "/new#part", "/old?x=1", "/new?x=1#part"},
        {"/", "/home", "/", "/home"},
        {"/", "/home", "/x", NULL},
        {"/news/*", "/blog/:splat", "/news", "/blog/"},
        {"/news/*", "/blog/:splat", "/news/", "/blog/"},
        {"/news/*", "/blog/:splat", "/news/a/b?x=1", "/blog/a/b?x=1"},
        {"/news/*", "/blog/:splat", "/newsletter", NULL},
        {"/news/*", "/blog/:splat", "/news/a/b/", "/blog/a/b/"},
        {"/news/*", "/blog/:splat", "/news/a/b/?x=1", "/blog/a/b/?x=1"},
        {"/news/*", "/blog/:splat", "/news/a%2Fb%5Cc/", "/blog/a%2Fb%5Cc/"},
        {"/news/*", "/blog/:splat", "/news/a//b", "/blog/a//b"},
        {"/news/:id", "/blog/:id", "/news/a%2Fb/", "/blog/a%2Fb"},
        {"/news2/:y/:m", "/blog/:y-:m.html", "/news2/2020/05", "/blog/2020-05.html"},
        {"/news2/:y/:m", "/blog/:y-:m.html", "/news2/2020/05/", "/blog/2020-05.html"},
        {"/news2/:y/:m", "/blog/:y-:m.html", "/news2/2020", NULL},
        {"/news2/:y/:m", "/blog/:y-:m.html", "/news2//05", NULL},
        {"/api/*", "/.netlify/functions/:splat", "/api/me/x?y=1", "/.netlify/functions/me/x?y=1"},
        {"/*", "/index.html", "/any/path", "/index.html"},
        {"/*", "/index.html", "/", "/index.html"},
        {"/*", "", "/a/b", "/a/b"},
        {"/x/*", "https://h.example:8080/:splat", "/x/a", "https://h.example:8080/a"},
        {"/x/:a", "/y/:other/:a", "/x/1", "/y/:other/1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redirect_rule rule = {
            .from = str_from(cases[i].from), .to = str_from(cases[i].to), .status = 200};
        assert_int_equal(redirect_check(&rule, NULL), 0);
        expect(&rule, cases[i].request, cases[i].leads);
    }
}

/* Paths that mean the same file match the same rule; captured text cannot change the host or split
 * a header. */
static void test_hostile(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *request, *leads;
    } cases[] = {
        {"/admin/*", "/login", "/admin/x", "/login"},
        {"/admin/*", "/login", "/%61dmin/x", "/login"},
        {"/admin/*", "/login", "/x/../admin/x", "/login"},
        {"/admin/*", "/login", "/x/%2e%2e/admin/x", "/login"},
        {"/caf%C3%A9", "/c", "/caf%c3%a9", "/c"},
        {"/old/*", "/:splat", "/old/a", "/a"},
        {"/old/*", "/:splat", "/old//evil.example", "/evil.example"},
        {"/old/*", "/:splat", "/old///evil.example", "/evil.example"},
        {"/old/*", "/:splat", "/old/%2fevil.example", "/%2fevil.example"},
        {"/admin/*", "/login", "/admin%2fx", NULL},
        {"/old/*", "/:splat", "/old/\\evil.example", NULL},
        {"/old/*", "/new?to=:splat", "/old/a&admin=1", "/new?to=a%26admin=1"},
        {"/old/*", "/:splat", "/old/a%0d%0aX:1", "/a%0d%0aX:1"},
        {"/old/*", "/:splat", "/old/a\"<b>", "/a%22%3Cb%3E"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redirect_rule rule = {
            .from = str_from(cases[i].from), .to = str_from(cases[i].to), .status = 301};
        expect(&rule, cases[i].request, cases[i].leads);
    }
}

/* A rule of one host is for that host alone, over its scheme; a port, and case, do not matter. */
static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *from, *host, *leads;
    } cases[] = {
        {"http://blog.example/*", "blog.example", "/b/x/y/"},
        {"http://blog.example/*", "Blog.EXAMPLE:8080", "/b/x/y/"},
        {"http://blog.example:80/*", "blog.example", "/b/x/y/"},
        {"http://[::1]/*", "[::1]:8888", "/b/x/y/"},
        {"https://blog.example/*", "blog.example", NULL},
        {"http://blog.example/*", "example", NULL},
        {"http://blog.example/*", "my.blog.example", NULL},
        {"http://blog.example/*", "", NULL},
        {"http://blog.example/z/*", "blog.example", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redirect_rule rule = {
            .from = str_from(cases[i].from), .to = STR("/b/:splat"), .status = 301};
        struct fixture f;
        struct str target = {NULL, 0};
        assert_int_equal(redirect_check(&rule, NULL), 0);
        make_request(&f, "/x/y/", NULL, NULL);
        f.req.scheme = STR("http");
        f.req.host = str_from(cases[i].host);
        bool matched = redirect_match(&rule, &f.req, &f.arena, &target);
        if (matched != (cases[i].leads != NULL) ||
            (matched && !str_eq(target, str_from(cases[i].leads))))
            fail_msg("%s with %s", cases[i].from, cases[i].host);
        arena_free(&f.arena);
    }
    struct redirect_rule bare = {.from = STR("http://blog.example"), .to = STR("/"), .status = 301};
    assert_int_equal(redirect_check(&bare, NULL), -EINVAL);
}

static void test_query(void **state)
{
    (void)state;
    struct redirect_pair placeholder = {STR("id"), STR(":id")};
    struct redirect_rule rule = {.from = STR("/store"),
                                 .to = STR("/blog/:id"),
                                 .status = 301,
                                 .query = &placeholder,
                                 .query_count = 1};
    expect(&rule, "/store?id=5", "/blog/5");
    expect(&rule, "/store?id=5&z=1", "/blog/5");
    expect(&rule, "/store?z=1&id=5", "/blog/5");
    expect(&rule, "/store?id=", "/blog/");
    expect(&rule, "/store?i%64=7", "/blog/7");
    expect(&rule, "/store?id=a?b", "/blog/a%3Fb");
    expect(&rule, "/store", NULL);
    expect(&rule, "/store?ID=5", NULL);
    expect(&rule, "/store?idx=5", NULL);
    rule.to = STR("/:id");
    expect(&rule, "/store?id=/evil.example", "/evil.example");
    expect(&rule, "/store?id=\\evil.example", "/%5Cevil.example");
    struct redirect_pair literal = {STR("lang"), STR("de at")};
    rule.query = &literal;
    rule.to = STR("/de");
    expect(&rule, "/store?lang=de+at", "/de");
    expect(&rule, "/store?lang=de%20at", "/de");
    expect(&rule, "/store?lang=de", NULL);
}

static void test_conditions(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *header, *sent;
        bool match;
    } cases[] = {
        {"Language", "fr", "accept-language", "fr-CH, en", true},
        {"Language", "de,fr", "accept-language", "fr", true},
        {"Language", "zh-tw", "accept-language", "zh-TW;q=0.9, en", true},
        {"Language", "zh-tw", "accept-language", "zh", false},
        {"Language", "zh-tw", "accept-language", "zh-CN", false},
        {"Language", "fr", "accept-language", "en, fr", false},
        {"Language", "fr", "cookie", "nf_lang=fr", true},
        {"Language", "fr", "cookie", "nf_lang=en", false},
        {"Language", "fr", NULL, NULL, false},
        {"Country", "ch,at", "cookie", "a=1; nf_country=AT", true},
        {"Country", "ch,at", "cookie", "nf_country=de", false},
        {"Country", "ch", NULL, NULL, false},
        {"Cookie", "beta", "cookie", "x=1; beta=0", true},
        {"Cookie", "beta", "cookie", "betamax=0", false},
        {"Cookie", "beta", NULL, NULL, false},
        {"Role", "admin", "cookie", "nf_jwt=eyJ.eyJ.x", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redirect_pair condition = {str_from(cases[i].name), str_from(cases[i].value)};
        struct redirect_rule rule = {.from = STR("/"),
                                     .to = STR("/x"),
                                     .status = 301,
                                     .conditions = &condition,
                                     .condition_count = 1};
        struct fixture f;
        struct str target;
        make_request(&f, "/", cases[i].header, cases[i].sent);
        if (redirect_match(&rule, &f.req, &f.arena, &target) != cases[i].match)
            fail_msg("%s=%s with %s", cases[i].name, cases[i].value, cases[i].sent);
        arena_free(&f.arena);
    }
}

static void test_roles(void **state)
{
    (void)state;
    struct redirect_pair condition = {STR("Role"), STR("admin, editor")};
    struct redirect_rule rule = {.from = STR("/adm/*"),
                                 .to = STR("/adm/:splat"),
                                 .status = 200,
                                 .conditions = &condition,
                                 .condition_count = 1};
    const struct str editor[] = {STR("viewer"), STR("editor")};
    const struct str viewer[] = {STR("viewer"), STR("administrator")};
    struct fixture f;
    struct str target;
    make_request(&f, "/adm/x", NULL, NULL);
    assert_true(redirect_match_roles(&rule, &f.req, f.req.path, editor, 2, &f.arena, &target));
    assert_false(redirect_match_roles(&rule, &f.req, f.req.path, viewer, 2, &f.arena, &target));
    assert_false(redirect_match_roles(&rule, &f.req, f.req.path, NULL, 0, &f.arena, &target));
    arena_free(&f.arena);
}

static void test_check(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        int status;
        bool good;
    } cases[] = {
        {"/a", "/b", 301, true},
        {"/a", "/b", 200, true},
        {"/a", "/b", 404, true},
        {"/a", "/b", 201, false},
        {"/a", "/b", 0, false},
        {"a", "/b", 301, false},
        {"", "/b", 301, false},
        {"/.netlify/x", "/b", 301, false},
        {"/a/*", "/b", 301, true},
        {"/a*", "/b", 301, false},
        {"/a/*/b", "/b", 301, false},
        {"/a", "b", 301, false},
        {"/a", "//b", 301, false},
        {"/a", "ftp://b/", 301, false},
        {"/a", "/b c", 301, false},
        {"/a", "/b\r\nX: 1", 301, false},
        {"/a", "/b\\c", 301, false},
        {"/a", "https://b.example", 301, true},
        {"/a", "https://b.example/x", 404, false},
        {"/a", "https://b.example?x=:id", 301, true},
        {"/a", "https://b.example:8443/:id", 301, true},
        {"/:id", "https://:id.example/", 301, false},
        {"/:id", "https://b.example:80:id/", 301, false},
        {"/a", "", 301, false},
        {"/*", "", 200, true},
        {"/*", "", 301, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redirect_rule rule = {.from = str_from(cases[i].from),
                                     .to = str_from(cases[i].to),
                                     .status = cases[i].status};
        struct err err = {""};
        int rc = redirect_check(&rule, &err);
        if (rc != (cases[i].good ? 0 : -EINVAL))
            fail_msg("%s -> %s %d: %d %s", cases[i].from, cases[i].to, cases[i].status, rc,
                     err.text);
        assert_int_equal(err.text[0] != '\0', !cases[i].good);
    }
}

static void test_check_parts(void **state)
{
    (void)state;
    struct redirect_pair pair = {STR("Cookie"), STR("beta")};
    struct redirect_rule rule = {.from = STR("/a"), .to = STR("/b"), .status = 301};
    rule.conditions = &pair;
    rule.condition_count = 1;
    assert_int_equal(redirect_check(&rule, NULL), 0);
    pair.name = STR("Moon");
    assert_int_equal(redirect_check(&rule, NULL), -EINVAL);
    rule.condition_count = 0;
    rule.headers = &pair;
    rule.header_count = 1;
    assert_int_equal(redirect_check(&rule, NULL), 0);
    pair.value = STR("a\r\nb");
    assert_int_equal(redirect_check(&rule, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),      cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hosts),      cmocka_unit_test(test_query),
        cmocka_unit_test(test_conditions), cmocka_unit_test(test_roles),
        cmocka_unit_test(test_check),      cmocka_unit_test(test_check_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
