/* TOML 1.0: what is read, and what is refused with its line. */
#include "unit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/limits.h"
#include "config/toml.h"

/* The tree in one line: {a=1,b=["x"]}. */
static void write_tree(struct buf *out, const struct toml *node)
{
    char close = node->type == TOML_TABLE ? '}' : ']';
    switch (node->type) {
    case TOML_TABLE:
    case TOML_ARRAY:
        buf_add_char(out, node->type == TOML_TABLE ? '{' : '[');
        for (const struct toml *item = node->first; item != NULL; item = item->next) {
            if (node->type == TOML_TABLE)
                buf_printf(out, "%.*s=", STR_ARG(item->key));
            write_tree(out, item);
            if (item->next != NULL)
                buf_add_char(out, ',');
        }
        buf_add_char(out, close);
        return;
    case TOML_TEXT:
        buf_printf(out, "'%.*s'", STR_ARG(node->text));
        return;
    case TOML_INTEGER:
        buf_printf(out, "%" PRId64, node->integer);
        return;
    case TOML_FLOAT:
        buf_printf(out, "%.15gf", node->number);
        return;
    case TOML_BOOLEAN:
        buf_printf(out, "%s", node->boolean ? "yes" : "no");
        return;
    case TOML_DATE:
        buf_printf(out, "<%.*s>", STR_ARG(node->text));
    }
}

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tree;
    } cases[] = {
        {"", "{}"},
        {"# nothing\n\n", "{}"},
        {"\xEF\xBB\xBF"
         "a = 1",
         "{a=1}"},
        {"a = 1\r\nb = 2\r\n", "{a=1,b=2}"},
        {"a = \"x\" # c", "{a='x'}"},
        {"\"a b\" = 1\n'c.d' = 2\n\"\" = 3", "{a b=1,c.d=2,=3}"},
        {"a.b.c = 1\na.b.d = 2\na . e = 3", "{a={b={c=1,d=2},e=3}}"},
        {"3.14 = 1", "{3={14=1}}"},
        {"[a]\nx = 1\n[b.c]\ny = 2\n[b]\nz = 3", "{a={x=1},b={c={y=2},z=3}}"},
        {"[ a . 'b' ]\nx = 1", "{a={b={x=1}}}"},
        {"[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2\n[[a.c]]\nz = 3", "{a=[{x=1},{b={y=2},c=[{z=3}]}]}"},
        {"[a.b]\n[a]\nc.d = 1", "{a={b={},c={d=1}}}"},
        {"a = [1, 2,\n 3, # c\n]", "{a=[1,2,3]}"},
        {"a = [ ]\nb = [[1], ['x', {y = 1}]]", "{a=[],b=[[1],['x',{y=1}]]}"},
        {"a = {}\nb = { c = 1, d.e = 2 }", "{a={},b={c=1,d={e=2}}}"},
        {"a = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00e9\\U0001F600\"",
         "{a='\b\t\n\f\r\"\\\xC3\xA9\xF0\x9F\x98\x80'}"},
        {"a = 'c:\\x'", "{a='c:\\x'}"},
        {"a = \"\"\"\nx\n  y\"\"\"", "{a='x\n  y'}"},
        {"a = \"\"\"x \\\n\n   y\"\"\"\nb = 1", "{a='x y',b=1}"},
        {"a = \"\"\"\"x\"\"\"\"", "{a='\"x\"'}"},
        {"a = '''\n'x'''''", "{a=''x'''}"},
        {"a = ''''''\nb = \"\"", "{a='',b=''}"},
        {"a = +1_000\nb = -0\nc = 0xdead_BEEF\nd = 0o17\ne = 0b101",
         "{a=1000,b=0,c=3735928559,d=15,e=5}"},
        {"a = 9223372036854775807\nb = -9223372036854775808",
         "{a=9223372036854775807,b=-9223372036854775808}"},
        {"a = 3.14\nb = -1e3\nc = 6.26E-2\nd = inf\ne = 1_0.5\nf = 1e0_2\ng = 0xe_e",
         "{a=3.14f,b=-1000f,c=0.0626f,d=inff,e=10.5f,f=100f,g=238}"},
        {"a = true\nb = false", "{a=yes,b=no}"},
        {"a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00.5-07:00\nc = 1979-05-27\nd = 07:32:00",
         "{a=<1979-05-27T07:32:00Z>,b=<1979-05-27 07:32:00.5-07:00>,c=<1979-05-27>,d=<07:32:00>}"},
        {"a = 2024-02-29", "{a=<2024-02-29>}"},
        {"[functions.\"api_*\"]\nmemory = 512", "{functions={api_*={memory=512}}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct err err;
        struct buf got = BUF_INIT;
        arena_init(&arena);
        const struct toml *root = toml_parse(&arena, str_from(cases[i].text), &err);
        if (root == NULL)
            fail_msg("'%s': %s", cases[i].text, err.text);
        write_tree(&got, root);
        if (!str_eq(buf_str(&got), str_from(cases[i].tree)))
            fail_msg("'%s': %.*s, not %s", cases[i].text, STR_ARG(buf_str(&got)), cases[i].tree);
        buf_free(&got);
        arena_free(&arena);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
    } cases[] = {
        {"a", 1},
        {"a =", 1},
        {"= 1", 1},
        {"a = 1 b = 2", 1},
        {"\na = x", 2},
        {"a = 'x", 1},
        {"a = \"x\ny\"", 1},
        {"a = \"\"\"x\n", 2},
        {"a = \"\\x\"", 1},
        {"a = \"\\u12\"", 1},
        {"a = \"\\uD800\"", 1},
        {"a = \"\\U00110000\"", 1},
        {"a = \"\t\x01\"", 1},
        {"a = 'x\x7f'", 1},
        {"a = 1\na = 2", 2},
        {"a = 1\na.b = 2", 2},
        {"[a]\n[a]", 2},
        {"a.b = 1\n[a]", 2},
        {"[a]\nb.c = 1\n[a.b]", 3},
        {"[a.b]\n[a]\nb.c = 1", 3},
        {"a = {}\n[a.b]", 2},
        {"a = {}\na.b = 1", 2},
        {"a = { b.c = 1 }\na.b.d = 2", 2},
        {"a = []\n[[a]]", 2},
        {"[[a]]\n[a]", 2},
        {"[a]\n[[a]]", 2},
        {"a = 1\n[a.b]", 2},
        {"[a", 1},
        {"[[a]", 1},
        {"[]", 1},
        {"[a.]", 1},
        {"[a] x", 1},
        {"[ [a]]", 1},
        {"a = [1 2]", 1},
        {"a = [1,,2]", 1},
        {"a = [,]", 1},
        {"a = [1\n\n", 3},
        {"a = {b = 1,}", 1},
        {"a = {\nb = 1}", 1},
        {"a = {b = 1", 1},
        {"a = {b = 1, b = 2}", 1},
        {"a = 01", 1},
        {"a = 1_", 1},
        {"a = _1", 1},
        {"a = 1__0", 1},
        {"a = 1_e2", 1},
        {"a = 1e_2", 1},
        {"a = 1.5_e2", 1},
        {"a = 0b_1", 1},
        {"a = 0x_f", 1},
        {"a = 1.", 1},
        {"a = .5", 1},
        {"a = 1.e3", 1},
        {"a = 1e", 1},
        {"a = +0x1", 1},
        {"a = 0xg", 1},
        {"a = 0b2", 1},
        {"a = 0x", 1},
        {"a = 9223372036854775808", 1},
        {"a = 0xffffffffffffffff", 1},
        {"a = True", 1},
        {"a = Inf", 1},
        {"a = 2023-02-29", 1},
        {"a = 1979-13-01", 1},
        {"a = 1979-05-27T25:00:00Z", 1},
        {"a = 1979-05-27T07:32Z", 1},
        {"a = 07:32", 1},
        {"a = 07:32:00.", 1},
        {"# \x01", 1},
        {"a = 1 # \x1f", 1},
        {"a = 1\rb = 2", 1},
        {"\xff = 1", 1},
        {"a = \"\xc0\x80\"", 1},
        {"\"\"\"a\"\"\" = 1", 1},
        {"a b = 1", 1},
        {"a..b = 1", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct err err = {""};
        arena_init(&arena);
        if (toml_parse(&arena, str_from(cases[i].text), &err) != NULL)
            fail_msg("'%s' is taken", cases[i].text);
        if ((unsigned)atoi(err.text) != cases[i].line)
            fail_msg("'%s': '%s', not in line %u", cases[i].text, err.text, cases[i].line);
        arena_free(&arena);
    }
}

/* Deep, wide and long texts end at a limit, not at the stack's end. */
static void test_limits(void **state)
{
    (void)state;
    static const char *const pieces[] = {"[", "{a=", "a.", "[a.", "a=[[", "[[a.b.c]]\n"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct arena arena;
        struct err err;
        struct buf text = BUF_INIT;
        arena_init(&arena);
        buf_add_str(&text, i < 2 ? STR("a = ") : STR(""));
        for (unsigned n = 0; n < 2 * LIMIT_TOML_NODES; n++)
            buf_add_str(&text, str_from(pieces[i]));
        assert_null(toml_parse(&arena, buf_str(&text), &err));
        buf_free(&text);
        arena_free(&arena);
    }
}

static void test_lines(void **state)
{
    (void)state;
    struct arena arena;
    struct err err;
    arena_init(&arena);
    const struct toml *root = toml_parse(
        &arena, STR("\n[a]\nb = \"\"\"\nx\n\"\"\"\nc = [\n 1,\n 2 ]\n\n[[d]]\n[[d]]\ne = 1\n"),
        &err);
    assert_non_null(root);
    const struct toml *a = toml_get(root, STR("a"));
    assert_int_equal(a->line, 2);
    assert_int_equal(toml_get(a, STR("b"))->line, 3);
    assert_int_equal(toml_get(a, STR("c"))->last->line, 8);
    assert_int_equal(toml_get(toml_get(root, STR("d"))->last, STR("e"))->line, 12);
    assert_null(toml_get(root, STR("x")));
    assert_null(toml_get(NULL, STR("x")));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
