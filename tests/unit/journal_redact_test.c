/* What is replaced in texts before they are written down, and what is not. */
#include "unit.h"

#include <stdio.h>

#include "journal/redact.h"

static struct redact_names *names;

static int open_names(void **state)
{
    (void)state;
    static const struct str list[] = {{"password", 8}, {"API-Key", 7}, {"x-token", 7}};
    names = redact_names_new(list, 3);
    return names != NULL ? 0 : -1;
}

static int close_names(void **state)
{
    (void)state;
    redact_names_unref(names);
    redact_forget();
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *clean;
    } cases[] = {
        /* JSON: any depth, any type of value, any case, escapes in the name */
        {"{\"password\":\"abc\"}", "{\"password\":\"[redacted]\"}"},
        {"{ \"PassWord\" : \"a\\\"bc\" , \"a\":1}", "{ \"PassWord\" : \"[redacted]\" , \"a\":1}"},
        {"[{\"a\":{\"password\":12.5}},1]", "[{\"a\":{\"password\":\"[redacted]\"}},1]"},
        {"{\"password\":{\"a\":[\"}\",1]},\"b\":2}", "{\"password\":\"[redacted]\",\"b\":2}"},
        {"{\"password\":[1,[2]]}", "{\"password\":\"[redacted]\"}"},
        {"{\"password\":null}", "{\"password\":\"[redacted]\"}"},
        {"{\"p\\u0061ssword\":\"abc\"}", "{\"p\\u0061ssword\":\"[redacted]\"}"},
        {"{\"password2\":\"abc\",\"x\":\"password\"}",
         "{\"password2\":\"abc\",\"x\":\"password\"}"},
        {"{\"a\":[1,2,{\"b\":\"c\"}]}", "{\"a\":[1,2,{\"b\":\"c\"}]}"},
        /* of one that was cut off what there is */
        {"{\"password\":\"abc", "{\"password\":\"[redacted]\""},
        {"{\"password\":", "{\"password\":\"[redacted]\""},
        /* JSON in a text of JSON, also twice */
        {"{\"a\":\"{\\\"password\\\":\\\"x\\\"}\"}",
         "{\"a\":\"{\\\"password\\\":\\\"[redacted]\\\"}\"}"},
        {"{\"a\":\"{\\\"b\\\":\\\"{\\\\\\\"password\\\\\\\":\\\\\\\"x\\\\\\\"}\\\"}\"}",
         "{\"a\":\"{\\\"b\\\":\\\"{\\\\\\\"password\\\\\\\":\\\\\\\"[redacted]\\\\\\\"}\\\"}\"}"},
        {"{\"a\":\"{\\\"b\\\":\\\"x\\\\n\\\"}\"}", "{\"a\":\"{\\\"b\\\":\\\"x\\\\n\\\"}\"}"},
        /* forms and queries */
        {"password=abc&x=1", "password=[redacted]&x=1"},
        {"x=1&pass%77ord=a%20b", "x=1&pass%77ord=[redacted]"},
        {"/a?q=1&API-KEY=abc#f", "/a?q=1&API-KEY=[redacted]"},
        {"mypassword=abc", "mypassword=abc"},
        {"{\"u\":\"https://a/?password=abc&z=1\"}",
         "{\"u\":\"https://a/?password=[redacted]&z=1\"}"},
        {"--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nabc\r\ndef\r\n--b--",
         "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n[redacted]\r\n--b--"},
        {"--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nabc\r\n--b--",
         "--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nabc\r\n--b--"},
        /* in a sentence */
        {"sent {\"password\": \"abc\"} there", "sent {\"password\": \"[redacted]\"} there"},
        {"an odd \" before {\"password\":\"abc\"}",
         "an odd \" before {\"password\":\"[redacted]\"}"},
        {"the password is good", "the password is good"},
        {"", ""},
    };
    struct redact redact = {.names = redact_names_ref(names)};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str clean = redact_clean(&redact, str_from(cases[i].text));
        if (!str_eq(clean, str_from(cases[i].clean)))
            fail_msg("%s\n became %.*s\nand not %s", cases[i].text, STR_ARG(clean), cases[i].clean);
    }
    redact_free(&redact);
}

static void test_values(void **state)
{
    (void)state;
    assert_true(redact_learn(STR("KEY"), STR("very \"secret\" value")));
    assert_true(redact_learn(STR("SHORT"), STR("1234567")));
    assert_true(redact_learn(STR(""), STR("hmac-secret")));
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"a very \"secret\" value b", "a [env:KEY] b"},
        {"{\"a\":\"very \\\"secret\\\" value\"}", "{\"a\":\"[env:KEY]\"}"},
        {"1234567", "1234567"},
        {"hmac-secrethmac-secret", "[redacted][redacted]"},
    };
    struct redact redact = {.names = NULL};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str clean = redact_clean(&redact, str_from(cases[i].text));
        if (!str_eq(clean, str_from(cases[i].clean)))
            fail_msg("%s became %.*s", cases[i].text, STR_ARG(clean));
    }
    redact_free(&redact);
    assert_true(str_eq(redact_learned(STR("KEY")), STR("very \"secret\" value")));
    assert_null(redact_learned(STR("hmac-secret")).ptr);
    assert_true(redact_is_whole());
    char text[32];
    for (int i = 0; i < 2 * LIMIT_REDACT_SECRETS; i++) {
        int len = snprintf(text, sizeof(text), "secret number %d", i);
        (void)redact_learn(STR("N"), (struct str){text, (size_t)len});
    }
    assert_false(redact_is_whole());
    redact_forget();
    assert_true(redact_is_whole());
}

static void test_credentials(void **state)
{
    (void)state;
    struct header list[] = {
        {STR("authorization"), STR("Bearer header.payload.signature")},
        {STR("cookie"), STR("sid=0123456789abcdef; theme=dark")},
        {STR("set-cookie"), STR("id=fedcba9876543210; Path=/; HttpOnly")},
        {STR("x-token"), STR("mine-alone-1")},
        {STR("accept"), STR("text/html of header.payload.signature")},
    };
    const struct headers headers = {list, 5, 5};
    struct redact redact = {.names = redact_names_ref(names), .request = &headers};
    struct buf out = BUF_INIT;
    redact_add_headers(&redact, list, 5, &out);
    redact_add_text(&redact, STR("header.payload.signature 0123456789abcdef mine-alone-1"), 100,
                    &out);
    buf_add_char(&out, '\0');
    assert_string_equal(out.data, "[[\"authorization\",\"Bearer [redacted]\"],"
                                  "[\"cookie\",\"sid=[redacted]; theme=[redacted]\"],"
                                  "[\"set-cookie\",\"id=[redacted]; Path=/; HttpOnly\"],"
                                  "[\"x-token\",\"[redacted]\"],"
                                  "[\"accept\",\"text/html of [redacted]\"]]"
                                  "\"[redacted] [redacted] [redacted]\"");
    buf_free(&out);
    redact_free(&redact);
}

/* A text that is cut must not end in the beginning of a secret. */
static void test_forms_of_text(void **state)
{
    (void)state;
    struct redact redact = {.names = redact_names_ref(names)};
    struct buf out = BUF_INIT;
    redact_add_text(&redact, STR("a\xff"), 10, &out);
    redact_add_text(&redact, STR("a\xc3\xb6\xc3\xb6"), 4, &out);
    redact_add_text(&redact, STR("{\"password\":\"0123456789\"}"), 15, &out);
    buf_add_char(&out, '\0');
    assert_string_equal(out.data, "{\"base64\":\"Yf8=\"}{\"cut\":5,\"text\":\"a\xc3\xb6\"}"
                                  "{\"cut\":25,\"text\":\"{\\\"password\\\":\\\"[r\"}");
    buf_free(&out);
    redact_free(&redact);
}

/* Whatever the text: no crash, and no secret. */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "\"password\":", "\"", "\\",  "{", "}", "[",  "]",    ":", ",",
        "password=",     "&",  "abc", "%", "u", "\n", "\xff", " "};
    struct redact redact = {.names = redact_names_ref(names)};
    for (int round = 0; round < 3000; round++) {
        struct buf text = BUF_INIT;
        for (unsigned i = next_random() % 30; i > 0; i--)
            buf_add_str(&text,
                        str_from(pieces[next_random() % (sizeof(pieces) / sizeof(pieces[0]))]));
        bool quoted = str_find(buf_str(&text), '"') < text.len;
        buf_add_str(&text, STR("&\"password\":\"IN-JSON\"&password=IN-FORM"));
        struct str clean = redact_clean(&redact, buf_str(&text));
        assert_non_null(clean.ptr);
        assert_true(str_find_text(clean, STR("IN-FORM")) == clean.len);
        assert_true(quoted || str_find_text(clean, STR("IN-JSON")) == clean.len);
        buf_free(&text);
    }
    redact_free(&redact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_credentials), cmocka_unit_test(test_forms_of_text),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
