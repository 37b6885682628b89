/* Taking tokens apart: what the parse refuses, each beside a twin that passes. */
#include "auth_fixture.h"

#include <errno.h>
#include <math.h>

#include "auth/shown.h"
#include "base/siphash.h"
#include "auth/token.h"

static int parse(const char *text, struct token *token)
{
    return token_parse(str_from(text), token);
}

/* Parses the token of these parts; the signature is three bytes. */
static int parse_parts(const char *header, const char *payload, struct token *token)
{
    struct buf text = BUF_INIT;
    auth_signing_input(&text, header, payload);
    buf_add_str(&text, STR(".AQID"));
    int rc = token_parse(buf_str(&text), token);
    buf_free(&text);
    return rc;
}

static void refuses_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"e30.e30.AQID", 0}, /* {} . {} */
        {"e30.e30.", 0},     /* an empty signature is for the verifier to refuse */
        {"", -EINVAL},
        {".", -EINVAL},
        {"..", -EINVAL},
        {"abc", -EINVAL},
        {"e30.e30", -EINVAL},
        {".e30.AQID", -EINVAL},
        {"e30..AQID", -EINVAL},
        {"e30.e30.AQID.", -EINVAL},
        {"e30.e30.AQID.e30", -EINVAL},
        {"e30.e30.e30.e30.e30", -EINVAL},
        {"e30=.e30.AQID", -EINVAL},
        {"e30.e30.AQID==", -EINVAL},
        {"e30.e30.A", -EINVAL},
        {"e30.e30.AR", -EINVAL}, /* unused bits */
        {"e30.e30.AQ", 0},
        {"e31.e30.AQ", -EINVAL},
        {"e30.e30.AQ+/", -EINVAL},
        {"e30.e30.AQ-_", 0},
        {" e30.e30.AQID", -EINVAL},
        {"e30.e30.AQID\n", -EINVAL},
        {"{\"payload\":\"e30\",\"protected\":\"e30\",\"signature\":\"AQID\"}", -EINVAL},
        {"{\"payload\":\"e30\",\"signatures\":[{\"protected\":\"e30\",\"signature\":\"a.b.c\"}]}",
         -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct token token;
        int rc = parse(cases[i].text, &token);
        if (rc != cases[i].rc)
            fail_msg("'%s' gives %d", cases[i].text, rc);
        if (rc == 0)
            token_clear(&token);
    }
}

static void refuses_json(void **state)
{
    (void)state;
    static const struct {
        const char *header, *payload;
        int rc;
    } cases[] = {
        {"{\"alg\":\"RS256\"}", "{\"sub\":\"a\"}", 0},
        {"[]", "{}", 0}, /* has no alg: refused later, with the original's text */
        {"5", "{}", 0},
        {"null", "{}", -EINVAL},
        {"hello", "{}", -EINVAL},
        {"{}", "[]", -EINVAL},
        {"{}", "null", -EINVAL},
        {"{}", "5", -EINVAL},
        {"{}", "\"x\"", -EINVAL},
        {"{}", "hello", -EINVAL},
        {"{}", "{} {}", -EINVAL},
        {"{}", " {} ", 0},
        {"{}", "{\"a\":1,}", -EINVAL},
        {"{}", "{'a':1}", -EINVAL},
        {"{\"alg\":\"none\",\"alg\":\"RS256\"}", "{}", -EINVAL},
        {"{\"kid\":\"a\",\"k\\u0069d\":\"b\"}", "{}", -EINVAL},
        {"{}", "{\"sub\":\"a\",\"sub\":\"a\"}", -EINVAL},
        {"{}", "{\"a\":{\"b\":1,\"b\":2}}", -EINVAL},
        {"{}", "{\"a\":{\"b\":1},\"b\":2}", 0},
        {"{}", "{\"a\":\"\\u0000\"}", -EINVAL},
        {"{}", "{\"a\":\"\\u0001\"}", 0},
        {"{}", "{\"a\":\"\\ud800\"}", -EINVAL},
        {"{}", "{\"a\":\"\\ud83c\\udfac\"}", 0},
        {"{}", "{\"a\":\"\xc3\xab\"}", 0},
        {"{}", "{\"a\":\"\xc3\"}", -EINVAL},
        {"{}", "{\"a\":\"\xed\xa0\x80\"}", -EINVAL},
        {"{}", "{\"a\":\"\xc0\x80\"}", -EINVAL},
        {"{}", "{\"a\":1e300}", 0},
        {"{}", "{\"a\":1e400}", -EINVAL},
        {"{}", "{\"a\":-1e400}", -EINVAL},
        {"{}", "{\"a\":NaN}", -EINVAL},
        {"{}", "{\"a\":Infinity}", -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct token token;
        int rc = parse_parts(cases[i].header, cases[i].payload, &token);
        if (rc != cases[i].rc)
            fail_msg("%s . %s gives %d", cases[i].header, cases[i].payload, rc);
        if (rc == 0)
            token_clear(&token);
    }
}

/* Parses a token of {} and of this text, with `hole` where it has a '#'. */
static int parse_with(const char *pattern, bool is_header, char hole)
{
    struct buf text = BUF_INIT;
    char part[64];
    size_t len = strlen(pattern);
    memcpy(part, pattern, len);
    part[strcspn(pattern, "#")] = hole;
    base64url_encode(is_header ? part : "{}", is_header ? len : 2, &text);
    buf_add_char(&text, '.');
    base64url_encode(is_header ? "{}" : part, is_header ? 2 : len, &text);
    buf_add_str(&text, STR(".AQID"));
    struct token token;
    int rc = token_parse(buf_str(&text), &token);
    if (rc == 0)
        token_clear(&token);
    buf_free(&text);
    return rc;
}

/* A NUL is no JSON wherever it is; jansson alone leaves out one behind a number. */
static void takes_no_nul(void **state)
{
    (void)state;
    static const char *const patterns[] = {"{\"a\":1}#", "{\"a\":1#}", "{\"a\":[1.5#,2]}",
                                           "{\"a\":98765432109876543210#}"};
    assert_int_equal(parse_with("{\"a\":1}#{}", false, '\0'), -EINVAL);
    for (size_t i = 0; i < 2 * sizeof(patterns) / sizeof(patterns[0]); i++) {
        assert_int_equal(parse_with(patterns[i / 2], i % 2 == 0, ' '), 0);
        assert_int_equal(parse_with(patterns[i / 2], i % 2 == 0, '\0'), -EINVAL);
    }
}

static void keeps_parts(void **state)
{
    (void)state;
    struct token token;
    const char *text = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AQID";
    assert_int_equal(parse(text, &token), 0);
    assert_true(str_eq(token.signing_input, STR("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0")));
    assert_true(str_eq(token.signature, STR("\1\2\3")));
    assert_string_equal(json_string_value(json_object_get(token.header, "alg")), "RS256");
    assert_string_equal(json_string_value(json_object_get(token.claims, "sub")), "a");
    token_clear(&token);
    assert_int_equal(parse("e30.e30.", &token), 0);
    assert_int_equal(token.signature.len, 0);
    token_clear(&token);
}

/* {"a":[[[...]]]} with so many levels in all. */
static int parse_nested(unsigned levels)
{
    struct buf payload = BUF_INIT;
    buf_add_str(&payload, STR("{\"[\\\"[\":"));
    for (unsigned i = 1; i < levels; i++)
        buf_add_char(&payload, '[');
    for (unsigned i = 1; i < levels; i++)
        buf_add_char(&payload, ']');
    buf_add(&payload, "}", 2);
    struct token token;
    int rc = parse_parts("{}", payload.data, &token);
    if (rc == 0)
        token_clear(&token);
    buf_free(&payload);
    return rc;
}

static void bounds_depth(void **state)
{
    (void)state;
    assert_int_equal(parse_nested(LIMIT_TOKEN_JSON_DEPTH), 0);
    assert_int_equal(parse_nested(LIMIT_TOKEN_JSON_DEPTH + 1), -EINVAL);
    assert_int_equal(parse_nested(2500), -EINVAL);
}

/* A token of exactly `size` bytes; its payload is one long string. */
static struct buf token_of_size(size_t size)
{
    struct buf text = BUF_INIT, payload = BUF_INIT;
    size_t tail = (size - 4) % 4 == 1 ? 1 : 0; /* no length of 4n+1 */
    size_t room = (size - 5 - (tail ? 2 : 0)) * 3 / 4;
    buf_add_str(&payload, STR("{\"a\":\""));
    while (payload.len < room - 2)
        buf_add_char(&payload, 'x');
    buf_add_str(&payload, STR("\"}"));
    buf_add_str(&text, STR("e30."));
    base64url_encode(payload.data, payload.len, &text);
    buf_add_char(&text, '.');
    if (tail)
        buf_add_str(&text, STR("AQ"));
    while (text.len < size)
        buf_add_char(&text, 'A');
    buf_free(&payload);
    return text;
}

static void bounds_size(void **state)
{
    (void)state;
    struct token token;
    struct buf text = token_of_size(LIMIT_TOKEN_BYTES);
    assert_int_equal(text.len, LIMIT_TOKEN_BYTES);
    assert_int_equal(token_parse(buf_str(&text), &token), 0);
    token_clear(&token);
    buf_add_str(&text, STR("AAAA"));
    assert_int_equal(token_parse(buf_str(&text), &token), -EINVAL);
    buf_free(&text);
    static char dots[10000];
    memset(dots, '.', sizeof(dots));
    assert_int_equal(token_parse((struct str){dots, 8000}, &token), -EINVAL);
    assert_int_equal(token_parse((struct str){dots, sizeof(dots)}, &token), -EINVAL);
}

static void widens_integers(void **state)
{
    (void)state;
    static const struct {
        const char *number;
        double value;
        bool integer;
    } cases[] = {
        {"9223372036854775807", 9223372036854775807.0, true},
        {"-9223372036854775808", -9223372036854775808.0, true},
        {"9223372036854775808", 9223372036854775808.0, false},
        {"12345678901234567890", 12345678901234567890.0, false},
        {"-12345678901234567890", -12345678901234567890.0, false},
        {"12345678901234567890.5", 12345678901234567890.5, false},
        {"12345678901234567890e2", 12345678901234567890e2, false},
        {"0.12345678901234567890", 0.12345678901234567890, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf payload = BUF_INIT;
        buf_printf(&payload, "{\"n\":%s,\"s\":\"98765432109876543210\",\"w\":98765432109876543210}",
                   cases[i].number);
        buf_add_char(&payload, '\0');
        struct token token;
        assert_int_equal(parse_parts("{}", payload.data, &token), 0);
        const json_t *n = json_object_get(token.claims, "n");
        assert_true(json_number_value(n) == cases[i].value);
        assert_string_equal(json_string_value(json_object_get(token.claims, "s")),
                            "98765432109876543210");
        token_clear(&token);
        buf_free(&payload);
    }
}

/* An integer beside one that is too wide keeps all its bits. */
static void keeps_other_integers(void **state)
{
    (void)state;
    struct token token;
    assert_int_equal(
        parse_parts("{}", "{\"a\":12345678901234567890,\"b\":[9007199254740993,1.5]}", &token), 0);
    const json_t *b = json_object_get(token.claims, "b");
    assert_true(json_is_real(json_object_get(token.claims, "a")));
    assert_true(json_is_integer(json_array_get(b, 0)));
    assert_int_equal(json_integer_value(json_array_get(b, 0)), 9007199254740993);
    assert_true(json_real_value(json_array_get(b, 1)) == 1.5);
    token_clear(&token);
    char digits[1000 + 16] = "{\"a\":";
    memset(digits + 5, '7', 1000);
    strcpy(digits + 1005, "}");
    assert_int_equal(parse_parts("{}", digits, &token), -EINVAL);
}

static void shows_values_as_javascript(void **state)
{
    (void)state;
    static const struct {
        const char *json, *value, *audience, *type;
    } cases[] = {
        {"\"a\"", "a", "a", "string"},
        {"null", "null", "", "object"},
        {"true", "true", "true", "boolean"},
        {"false", "false", "false", "boolean"},
        {"5", "5", "5", "number"},
        {"-1.5", "-1.5", "-1.5", "number"},
        {"0.1", "0.1", "0.1", "number"},
        {"{\"x\":1}", "[object Object]", "[object Object]", "object"},
        {"[]", "", "", "object"},
        {"[\"a\",5,null,[\"b\",\"c\"],{}]", "a,5,,b,c,[object Object]",
         "a, 5, , b,c, [object Object]", "object"},
    };
    struct shown shown;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *value = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_true(str_eq(shown_value(&shown, value), str_from(cases[i].value)));
        assert_true(str_eq(shown_audience(&shown, value), str_from(cases[i].audience)));
        assert_string_equal(shown_type(value), cases[i].type);
        json_decref(value);
    }
    assert_true(str_eq(shown_value(&shown, NULL), STR("undefined")));
    assert_true(str_eq(shown_audience(&shown, NULL), STR("")));
    assert_string_equal(shown_type(NULL), "undefined");
}

static void cuts_between_characters(void **state)
{
    (void)state;
    struct shown shown;
    char text[600];
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'x', lead);
        for (size_t i = 0; i < 100; i++)
            memcpy(text + lead + 4 * i, "\xf0\x9f\x8e\xac", 4);
        struct str cut = shown_text(&shown, (struct str){text, lead + 400});
        assert_true(cut.len > SHOWN_BYTES - 4 && cut.len <= SHOWN_BYTES);
        assert_true(str_is_utf8(cut));
    }
    assert_int_equal(shown_text(&shown, STR("short")).len, 5);
}

static void shows_dates(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {1595000000, "2020-07-17T15:33:20.000Z"},
        {1595000000.75, "2020-07-17T15:33:20.750Z"},
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.000Z"},
        {-0.25, "1969-12-31T23:59:59.750Z"},
        {LIMIT_DATE_MAX, "9999-12-31T23:59:59.000Z"},
        {-62167219200.0, "0000-01-01T00:00:00.000Z"},
    };
    struct shown shown;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(str_eq(shown_date(&shown, cases[i].seconds), str_from(cases[i].text)));
}

/* The authors' vectors: key 00..0f, message 00, 01, 02 ... */
static void hashes_as_published(void **state)
{
    (void)state;
    static const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    static const struct {
        size_t len;
        uint64_t low, high;
    } cases[] = {
        {0, 0xe6a825ba047f81a3u, 0x930255c71472f66du},
        {1, 0x44af996bd8c187dau, 0x45fc229b11597634u},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct siphash hash = siphash(key, (struct str){"\0", cases[i].len});
        assert_true(hash.low == cases[i].low && hash.high == cases[i].high);
    }
    /* Every byte of the message and of the key counts, at every position in a word. */
    char text[40] = {0};
    for (size_t i = 0; i < sizeof(text); i++) {
        struct siphash before = siphash(key, (struct str){text, sizeof(text)});
        text[i] ^= 1;
        struct siphash after = siphash(key, (struct str){text, sizeof(text)});
        assert_true(before.low != after.low && before.high != after.high);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_shapes),
        cmocka_unit_test(refuses_json),
        cmocka_unit_test(takes_no_nul),
        cmocka_unit_test(keeps_parts),
        cmocka_unit_test(bounds_depth),
        cmocka_unit_test(bounds_size),
        cmocka_unit_test(widens_integers),
        cmocka_unit_test(keeps_other_integers),
        cmocka_unit_test(shows_values_as_javascript),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(shows_dates),
        cmocka_unit_test(hashes_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
