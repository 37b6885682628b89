/* Header lists and the grammars of names and values; methods. */
#include "unit.h"

#include "http/headers.h"
#include "http/request.h"

static void add(struct headers *headers, struct arena *arena, const char *name, const char *value)
{
    assert_int_equal(headers_add(headers, arena, str_from(name), str_from(value)), 0);
}

static void test_order_and_look_up(void **state)
{
    (void)state;
    struct arena arena;
    struct headers headers = {0};
    arena_init(&arena);
    add(&headers, &arena, "A", "1");
    add(&headers, &arena, "b", "2");
    add(&headers, &arena, "a", "3");
    assert_int_equal(headers.len, 3);
    assert_true(str_eq(*headers_get(&headers, STR("a")), STR("1")));
    assert_true(str_eq(*headers_get(&headers, STR("B")), STR("2")));
    assert_null(headers_get(&headers, STR("c")));
    assert_int_equal(headers_count(&headers, STR("A")), 2);
    assert_int_equal(headers_count(&headers, STR("ab")), 0);
    bool many = true;
    assert_true(str_eq(*headers_get_single(&headers, STR("B"), &many), STR("2")));
    assert_false(many);
    assert_null(headers_get_single(&headers, STR("c"), &many));
    assert_false(many);
    assert_null(headers_get_single(&headers, STR("a"), &many));
    assert_true(many);
    arena_free(&arena);
}

static void test_set_replaces_all(void **state)
{
    (void)state;
    struct arena arena;
    struct headers headers = {0};
    arena_init(&arena);
    add(&headers, &arena, "x", "0");
    add(&headers, &arena, "A", "1");
    add(&headers, &arena, "y", "2");
    add(&headers, &arena, "a", "3");
    assert_int_equal(headers_set(&headers, &arena, STR("a"), STR("new")), 0);
    assert_int_equal(headers.len, 3);
    assert_true(str_eq(headers.items[1].name, STR("a")));
    assert_true(str_eq(headers.items[1].value, STR("new")));
    assert_true(str_eq(headers.items[2].name, STR("y")));
    assert_int_equal(headers_set(&headers, &arena, STR("z"), STR("last")), 0);
    assert_true(str_eq(headers.items[3].value, STR("last")));
    arena_free(&arena);
}

static void test_growth_keeps_the_order(void **state)
{
    (void)state;
    struct arena arena;
    struct headers headers = {0};
    arena_init(&arena);
    for (int i = 0; i < 200; i++) {
        struct str value = arena_printf(&arena, "%d", i);
        assert_int_equal(headers_add(&headers, &arena, STR("n"), value), 0);
    }
    uint64_t number = 0;
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(str_to_u64(headers.items[i].value, 1000, &number), 0);
        assert_int_equal(number, i);
    }
    arena_free(&arena);
}

struct grammar_case {
    struct str text;
    bool name;
    bool value;
};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void test_grammars(void **state)
{
    (void)state;
    static const struct grammar_case cases[] = {
        {TEXT("Content-Type"), true, true},
        {TEXT("x!#$%&'*+-.^_`|~1"), true, true},
        {TEXT(""), false, true},
        {TEXT("a b"), false, true},
        {TEXT("a:b"), false, true},
        {TEXT("a\tb"), false, true},
        {TEXT("caf\xc3\xa9"), false, true},
        {TEXT("a\r\nb"), false, false},
        {TEXT("a\rb"), false, false},
        {TEXT("a\nb"), false, false},
        {TEXT("a\0b"), false, false},
        {TEXT("a\x7f"), false, false},
        {TEXT("a\x1b[0m"), false, false},
        {TEXT("(a)"), false, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(header_name_is_valid(cases[i].text), cases[i].name);
        assert_int_equal(header_value_is_valid(cases[i].text), cases[i].value);
    }
}

/* Every byte at every place of short and long texts, which are looked at eight bytes at a time. */
static void test_every_byte(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 20; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                char text[20];
                memset(text, 'x', sizeof(text));
                text[at] = (char)byte;
                bool good = byte == '\t' || (byte >= ' ' && byte != 0x7f);
                assert_int_equal(header_value_is_valid((struct str){text, len}), good);
            }
        }
    }
}

static int lower(int byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + 'a' - 'A' : byte;
}

static void test_case_is_of_letters_alone(void **state)
{
    (void)state;
    static const size_t lengths[] = {8, 13, 17};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t len = lengths[i];
        for (size_t at = 0; at < len; at += 4) {
            for (int pair = 0; pair < 256 * 256; pair++) {
                char a[] = "aUThoriZATionauth", b[] = "AuthORIzatioNAUTH";
                a[at] = (char)(pair / 256);
                b[at] = (char)(pair % 256);
                assert_int_equal(str_same_nocase(a, b, len),
                                 lower(pair / 256) == lower(pair % 256));
            }
        }
    }
}

static void test_methods(void **state)
{
    (void)state;
    enum http_method method = METHOD_COUNT;
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        assert_int_equal(
            request_method_parse(str_from(request_method_name((enum http_method)i)), &method), 0);
        assert_int_equal(method, i);
    }
    static const char *const others[] = {"", "get", "GETS", "GE", "CONNECT", "TRACE", "PRI"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_true(request_method_parse(str_from(others[i]), &method) < 0);
    assert_string_equal(request_method_name(METHOD_COUNT), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_look_up),
        cmocka_unit_test(test_set_replaces_all),
        cmocka_unit_test(test_growth_keeps_the_order),
        cmocka_unit_test(test_grammars),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_case_is_of_letters_alone),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests_name("http_headers", tests, NULL, NULL);
}
