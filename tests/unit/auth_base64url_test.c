/* base64url: one text for one value. */
#include "unit.h"

#include <errno.h>

#include "auth/base64url.h"

static void test_values(void **state)
{
    static const struct {
        const char *text, *bytes;
        size_t len;
    } cases[] = {
        {"", "", 0},
        {"Zg", "f", 1},
        {"Zm8", "fo", 2},
        {"Zm9v", "foo", 3},
        {"Zm9vYg", "foob", 4},
        {"Zm9vYmE", "fooba", 5},
        {"Zm9vYmFy", "foobar", 6},
        {"-_-_", "\xfb\xff\xbf", 3},
        {"AAAA", "\0\0\0", 3},
        {"__8", "\xff\xff", 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned char bytes[16];
        size_t len = 99;
        struct buf text = BUF_INIT;
        assert_int_equal(base64url_decode(str_from(cases[i].text), bytes, &len), 0);
        assert_int_equal(len, cases[i].len);
        assert_memory_equal(bytes, cases[i].bytes, len);
        base64url_encode(cases[i].bytes, cases[i].len, &text);
        assert_true(str_eq(buf_str(&text), str_from(cases[i].text)));
        buf_free(&text);
    }
}

static void test_other_spellings(void **state)
{
    /* each is a respelling of one of the values above, or no value at all */
    static const char *const texts[] = {
        "Zg==",  "Zg=",      "Zh",        "Zm9",     "Zm9v=",
        "Zm9v ", " Zm9v",    "Zm9v\n",    "Zm 9v",   "Zm9vY",
        "Z",     "+/+/",     "Zm9vYmFy.", "Zm9v!",   "Zm9v\x80",
        "Zm9,",  "Zm9v====", "__9",       "Zm9vYmF", "\xc3\xa9\xc3\xa9",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        unsigned char bytes[32];
        size_t len;
        if (base64url_decode(str_from(texts[i]), bytes, &len) != -EINVAL)
            fail_msg("\"%s\" was decoded", texts[i]);
    }
    unsigned char bytes[8];
    size_t len;
    assert_int_equal(base64url_decode((struct str){"Zm9\0", 4}, bytes, &len), -EINVAL);
}

/* Every text of two and three characters either is what its value encodes to, or is refused. */
static void test_canonical(void **state)
{
    unsigned accepted = 0;
    (void)state;
    for (unsigned n = 0; n < 256u * 256u; n++) {
        char text[2] = {(char)(n >> 8), (char)n};
        unsigned char bytes[BASE64URL_DECODED_MAX(2)];
        size_t len;
        struct buf again = BUF_INIT;
        if (base64url_decode((struct str){text, 2}, bytes, &len) != 0)
            continue;
        accepted++;
        base64url_encode(bytes, len, &again);
        assert_int_equal(again.len, 2);
        assert_memory_equal(again.data, text, 2);
        buf_free(&again);
    }
    assert_int_equal(accepted, 256);
}

/* Lengths around the group of three come back as they went in. */
static void test_round_trip(void **state)
{
    unsigned char in[100], out[BASE64URL_DECODED_MAX(134)];
    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (unsigned char)(i * 151 + 7);
    for (size_t size = 0; size <= sizeof(in); size++) {
        struct buf text = BUF_INIT;
        size_t len = 99;
        base64url_encode(in, size, &text);
        assert_false(buf_failed(&text));
        assert_int_equal(text.len, (size * 4 + 2) / 3);
        assert_int_equal(base64url_decode(buf_str(&text), out, &len), 0);
        assert_int_equal(len, size);
        assert_memory_equal(in, out, size);
        buf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
