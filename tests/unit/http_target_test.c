/* Paths and query strings: what routing, redirects and static files build on. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>

#include "http/target.h"

static void test_percent_decode(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool plus;
        const char *out;
    } cases[] = {
        {"", false, ""},        {"abc", false, "abc"},   {"a%20b", false, "a b"},
        {"a+b", false, "a+b"},  {"a+b", true, "a b"},    {"a%2Bb", true, "a+b"},
        {"%c3%A9", false, "é"}, {"100%", false, "100%"}, {"%4", false, "%4"},
        {"%zz", false, "%zz"},  {"%%41", false, "%A"},   {"%2541", false, "%41"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str out = target_percent_decode(&arena, str_from(cases[i].in), cases[i].plus);
        assert_string_equal(out.ptr, cases[i].out);
        assert_int_equal(out.len, strlen(cases[i].out));
    }
    struct str nul = target_percent_decode(&arena, STR("a%00b"), false);
    assert_int_equal(nul.len, 3);
    assert_memory_equal(nul.ptr, "a\0b", 3);
    arena_free(&arena);
}

static void test_normal_paths(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/b/", "/a/b/"},
        {"//x", "//x"},
        {"/a//b", "/a//b"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/a/..", "/"},
        {"/a/.", "/a/"},
        {"/a/b/../..", "/"},
        {"/a//../b", "/a/b"},
        {"/.", "/"},
        {"/a/%2e%2E/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/a/%2e/b", "/a/b"},
        {"/a/...", "/a/..."},
        {"/a/..b", "/a/..b"},
        {"/.well-known/x", "/.well-known/x"},
        {"/a%20b/%C3%A9", "/a%20b/%C3%A9"},
        {"/a/%252e%252e/b", "/a/%252e%252e/b"},
        {"/%61", "/%61"},
        {"/%F0%9F%98%80/%ef%bf%bf", "/%F0%9F%98%80/%ef%bf%bf"},
        {"/100%25", "/100%25"},
        {"/a%2fb/%2F", "/a%2fb/%2F"},
        {"/a%5cb", "/a%5cb"},
        {"/..%2fx", "/..%2fx"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str out;
        assert_int_equal(target_normalize_path(&arena, str_from(cases[i].in), &out), 0);
        if (!str_eq(out, str_from(cases[i].out)))
            fail_msg("%s gave %.*s", cases[i].in, STR_ARG(out));
    }
    arena_free(&arena);
}

static void test_refused_paths(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "a",
        "*",
        "/..",
        "/../etc/passwd",
        "/a/../..",
        "/a/../../b",
        "/%2e%2e/x",
        "/a\\b",
        "/a%00",
        "/%00",
        "/..\\..\\x",
        "/.%2e/x",
        "/a/%2e%2e/%2e./x",
        "/100%",
        "/%zz",
        "/%4",
        "/%%41",
        "/%C0%AE%C0%AE/x",
        "/%c0%af",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%ED%A0%80",
        "/%FF",
        "/%C3",
        "/%80",
        "/%F4%90%80%80",
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str out;
        if (target_normalize_path(&arena, str_from(cases[i]), &out) != -EINVAL)
            fail_msg("%s was let through", cases[i]);
    }
    arena_free(&arena);
}

/* What counts does so wherever it stands in a path of any length, and nothing else does. */
static void test_every_place(void **state)
{
    (void)state;
    struct arena arena;
    struct str out;
    char path[20];
    arena_init(&arena);
    for (size_t len = 3; len <= sizeof(path); len++) {
        for (size_t i = 0; i < (len - 1) * 256; i++) {
            unsigned c = i % 256;
            bool refused = c == '\0' || c == '%' || c == '\\' || c >= 0x80;
            memset(path, 'a', len);
            path[0] = '/';
            path[1 + i / 256] = (char)c;
            int rc = target_normalize_path(&arena, (struct str){path, len}, &out);
            if (rc != (refused ? -EINVAL : 0) || (rc == 0 && out.ptr != path))
                fail_msg("%u at %zu of %zu: %d", c, 1 + i / 256, len, rc);
        }
        for (size_t at = 0; at + 3 <= len; at++) {
            bool ends = at + 3 == len;
            memset(path, 'a', len);
            path[0] = '/';
            memcpy(path + at, "/..", 3);
            int rc = target_normalize_path(&arena, (struct str){path, len}, &out);
            assert_int_equal(rc, ends && at == 0 ? -EINVAL : 0);
            assert_true(rc != 0 || (out.len < len) == ends);
        }
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void test_hidden_separators(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool hides;
    } cases[] = {{"/a/b", false},   {"/a%2fb", true},    {"/a%2Fb", true},
                 {"/a%5Cb", true},  {"/a%252fb", false}, {"/%2", false},
                 {"/a%20b", false}, {"/..%5c", true},    {"", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (target_hides_separator(str_from(cases[i].path)) != cases[i].hides)
            fail_msg("%s", cases[i].path);
    }
}

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out; /* "name=value;" each */
    } cases[] = {
        {"", ""},
        {"a=1", "a=1;"},
        {"a=1&b=2", "a=1;b=2;"},
        {"c", "c=;"},
        {"c=", "c=;"},
        {"=v", "=v;"},
        {"a=b=c", "a=b=c;"},
        {"&&a=1&", "a=1;"},
        {"category[SOMETHING][]=something", "category[SOMETHING][]=something;"},
        {"category=one&category=two", "category=one;category=two;"},
        {"a+b=c+d%2Be", "a b=c d+e;"},
        {"%61=%3D%26", "a==&;"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct query_pair *pairs = NULL;
        int count = target_parse_query(&arena, str_from(cases[i].in), &pairs);
        assert_true(count >= 0);
        char seen[256] = "";
        size_t len = 0;
        for (int p = 0; p < count; p++)
            len += (size_t)snprintf(seen + len, sizeof(seen) - len, "%.*s=%.*s;",
                                    STR_ARG(pairs[p].name), STR_ARG(pairs[p].value));
        assert_string_equal(seen, cases[i].out);
    }
    struct query_pair *none = NULL;
    assert_int_equal(target_parse_query(&arena, (struct str){NULL, 0}, &none), 0);
    arena_free(&arena);
}

static void test_authority_host(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"a.test", "a.test"},
        {"a.test:8080", "a.test"},
        {"a.test:", "a.test"},
        {"127.0.0.1:1", "127.0.0.1"},
        {"[::1]", "[::1]"},
        {"[2001:db8::1]:8443", "[2001:db8::1]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(str_eq(target_authority_host(str_from(cases[i].in)), str_from(cases[i].out)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent_decode),    cmocka_unit_test(test_normal_paths),
        cmocka_unit_test(test_refused_paths),     cmocka_unit_test(test_every_place),
        cmocka_unit_test(test_hidden_separators), cmocka_unit_test(test_query),
        cmocka_unit_test(test_authority_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
