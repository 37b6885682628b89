/* _redirects and _headers: what a line means, and that a bad one costs no other. */
#include "unit.h"

#include <stdio.h>

#include "http/rule_file.h"

struct fixture {
    struct arena arena;
    char faults[1024]; /* "LINE: TEXT\n" each */
};

static void on_fault(void *arg, unsigned line, const char *what)
{
    struct fixture *f = arg;
    size_t used = strlen(f->faults);
    snprintf(f->faults + used, sizeof(f->faults) - used, "%u: %s\n", line, what);
}

static struct rule_file file_of(struct fixture *f, const char *text)
{
    arena_init(&f->arena);
    f->faults[0] = '\0';
    return (struct rule_file){&f->arena, str_from(text), on_fault, f};
}

/* "from?name=value;... to status[!] name=value;..." */
static struct str describe(struct arena *arena, const struct redirect_rule *rule)
{
    struct str text = arena_printf(arena, "%.*s", STR_ARG(rule->from));
    for (unsigned i = 0; i < rule->query_count; i++)
        text = arena_printf(arena, "%.*s?%.*s=%.*s", STR_ARG(text), STR_ARG(rule->query[i].name),
                            STR_ARG(rule->query[i].value));
    text = arena_printf(arena, "%.*s %.*s %d%s", STR_ARG(text), STR_ARG(rule->to), rule->status,
                        rule->force ? "!" : "");
    for (unsigned i = 0; i < rule->condition_count; i++)
        text = arena_printf(arena, "%.*s %.*s:%.*s", STR_ARG(text),
                            STR_ARG(rule->conditions[i].name), STR_ARG(rule->conditions[i].value));
    return text;
}

static void test_redirects(void **state)
{
    (void)state;
    static const struct {
        const char *line, *rule; /* rule NULL: a fault; empty: nothing */
    } cases[] = {
        {"/old /new", "/old /new 301"},
        {"  \t/old\t\t/new  \r", "/old /new 301"},
        {"\xEF\xBB\xBF/old /new", "/old /new 301"},
        {"/old /new 302", "/old /new 302"},
        {"/old /new 200!", "/old /new 200!"},
        {"/old /new # why", "/old /new 301"},
        {"/old /new#part 302", "/old /new#part 302"},
        {"#/old /new", ""},
        {"", ""},
        {"   \r", ""},
        {"/store id=:id /blog/:id 301", "/store?id=:id /blog/:id 301"},
        {"/s a=1 b=:b /t", "/s?a=1?b=:b /t 301"},
        {"/* 200", "/*  200"},
        {"/x/* 200!", "/x/*  200!"},
        {"/x 200", NULL},
        {"/* /cn 302 Country=cn,hk Language=zh", "/* /cn 302 Country:cn,hk Language:zh"},
        {"/* /cn Country=cn", "/* /cn 301 Country:cn"},
        {"/adm/* 200! Role=admin", "/adm/*  200! Role:admin"},
        {"/adm/* 200! role=admin", "/adm/*  200! role:admin"},
        {"/a https://b.example/c 200", "/a https://b.example/c 200"},
        {"/only", NULL},
        {"/a b", NULL},
        {"/a b /c", NULL},
        {"/a =b /c", NULL},
        {"/a /b 999", NULL},
        {"/a /b 301!!", NULL},
        {"/a /b 301 x", NULL},
        {"/a /b 301 Moon=full", NULL},
        {"a /b", NULL},
        {"/.netlify/functions/x /b", NULL},
        {"/a //b", NULL},
        {"/a https://:x/", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        struct redirect_rule *rules;
        unsigned count;
        struct rule_file file = file_of(&f, cases[i].line);
        assert_int_equal(rule_file_redirects(&file, &rules, &count), 0);
        bool faulty = cases[i].rule == NULL, nothing = !faulty && cases[i].rule[0] == '\0';
        if ((f.faults[0] != '\0') != faulty || count != (faulty || nothing ? 0 : 1))
            fail_msg("'%s': %u rules, faults '%s'", cases[i].line, count, f.faults);
        if (count == 1) {
            struct str got = describe(&f.arena, &rules[0]);
            if (!str_eq(got, str_from(cases[i].rule)))
                fail_msg("'%s': '%.*s', not '%s'", cases[i].line, STR_ARG(got), cases[i].rule);
        }
        arena_free(&f.arena);
    }
}

static void test_good_lines_stay(void **state)
{
    (void)state;
    struct fixture f;
    struct redirect_rule *rules;
    unsigned count;
    struct rule_file file = file_of(&f, "/a /b\n/bad\n\n# c\n/c /d\n/e f\n/g /h");
    assert_int_equal(rule_file_redirects(&file, &rules, &count), 0);
    assert_int_equal(count, 3);
    assert_true(str_eq(rules[2].from, STR("/g")));
    assert_non_null(strstr(f.faults, "2: "));
    assert_non_null(strstr(f.faults, "6: "));
    assert_null(strstr(f.faults, "5: "));
    arena_free(&f.arena);
}

static void test_headers(void **state)
{
    (void)state;
    struct fixture f;
    struct header_rule *rules;
    unsigned count;
    struct rule_file file = file_of(&f, "X-Early: no\n"
                                        "/a\n"
                                        "  X-One: 1\r\n"
                                        "# comment\n"
                                        "  x-one: 2:3\n"
                                        "\tX-Two : two \n"
                                        "  nothing\n"
                                        "  : value\n"
                                        "  X-Empty:\n"
                                        "/b/*\n"
                                        "/c\n"
                                        "  Bad Name: x\n"
                                        "  X-Three: 3");
    assert_int_equal(rule_file_headers(&file, &rules, &count), 0);
    assert_int_equal(count, 3);
    assert_true(str_eq(rules[0].path, STR("/a")));
    assert_int_equal(rules[0].value_count, 2);
    assert_true(str_eq(rules[0].values[0].value, STR("1, 2:3")));
    assert_true(str_eq(rules[0].values[1].name, STR("X-Two")));
    assert_true(str_eq(rules[0].values[1].value, STR("two")));
    assert_int_equal(rules[1].value_count, 0);
    assert_int_equal(rules[2].value_count, 1);
    static const char *const places[] = {"1: ", "7: ", "8: ", "9: ", "12: "};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        assert_non_null(strstr(f.faults, places[i]));
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_good_lines_stay),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
