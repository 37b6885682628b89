/* Header rules: which paths they cover, and who wins. */
#include "unit.h"

#include <errno.h>

#include "http/header_rule.h"

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *path;
        bool match;
    } cases[] = {
        {"/*", "/", true},
        {"/*", "/a/b", true},
        {"/", "/", true},
        {"/", "/a", false},
        {"/a", "/a", true},
        {"/a", "/A/", true},
        {"/a/", "/a", true},
        {"/a", "/ab", false},
        {"/a", "/%61", true},
        {"/a/*", "/a", true},
        {"/a/*", "/a/b/c", true},
        {"/a/*", "/ab", false},
        {"/*.js", "/x/y.js", true},
        {"/*.js", "/x/y.json", false},
        {"/a/*/z", "/a/b/c/z", true},
        {"/a/*/z", "/a/z", false},
        {"/u/:id", "/u/5", true},
        {"/u/:id", "/u/", false},
        {"/u/:id", "/u/5/6", false},
        {"/u/:id/*", "/u/5/6", true},
        {"/*/:id/end", "/a/b/c/end", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct header_rule rule = {.path = str_from(cases[i].rule)};
        if (header_rule_matches(&rule, str_from(cases[i].path)) != cases[i].match)
            fail_msg("%s and %s", cases[i].rule, cases[i].path);
    }
}

static void test_apply(void **state)
{
    (void)state;
    struct header all[] = {{STR("X-A"), STR("all")}, {STR("X-B"), STR("all")}};
    struct header some[] = {{STR("x-b"), STR("some")}, {STR("X-C"), STR("some")}};
    struct header never[] = {{STR("X-D"), STR("never")}};
    struct header_rule rules[] = {
        {STR("/*"), all, 2}, {STR("/a/*"), some, 2}, {STR("/other"), never, 1}};
    static const struct {
        bool replace;
        const char *a, *b, *c;
    } cases[] = {{false, "own", "some", "some"}, {true, "all", "some", "some"}};
    for (size_t i = 0; i < 2; i++) {
        struct exchange ex = {.magic = EXCHANGE_MAGIC};
        arena_init(&ex.arena);
        struct headers *headers = &ex.res.headers;
        assert_int_equal(headers_add(headers, &ex.arena, STR("x-a"), STR("own")), 0);
        assert_int_equal(header_rules_apply(rules, 3, &ex, STR("/a/b"), cases[i].replace), 0);
        assert_int_equal(headers->len, 3);
        assert_true(str_eq(*headers_get(headers, STR("X-A")), str_from(cases[i].a)));
        assert_true(str_eq(*headers_get(headers, STR("X-B")), str_from(cases[i].b)));
        assert_true(str_eq(*headers_get(headers, STR("X-C")), str_from(cases[i].c)));
        assert_null(headers_get(headers, STR("X-D")));
        arena_free(&ex.arena);
    }
}

static void test_check(void **state)
{
    (void)state;
    struct header field = {STR("X-A"), STR("1")};
    struct header_rule rule = {STR("/*"), &field, 1};
    assert_int_equal(header_rule_check(&rule, NULL), 0);
    rule.path = STR("*");
    assert_int_equal(header_rule_check(&rule, NULL), -EINVAL);
    rule.path = STR("/*");
    field.name = STR("X A");
    assert_int_equal(header_rule_check(&rule, NULL), -EINVAL);
    field = (struct header){STR("X-A"), STR("1\r\nX-B: 2")};
    assert_int_equal(header_rule_check(&rule, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
