/* A provider's documents, as JavaScript reads them; and what is read strictly stays refused. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "json/provider.h"
#include "json/strict.h"
#include "base/limits.h"

#define MARK "\xef\xbb\xbf"
#define FFFD "\xef\xbf\xbd"

static void reads_what_javascript_reads(void **state)
{
    static const struct {
        const char *text, *same; /* the same value in plain JSON; NULL: refused */
        bool strict;             /* taken where one token is judged, too */
    } cases[] = {
        {"{\"a\":[1,-2.5,true,null,\"x\"]}", "{\"a\":[1,-2.5,true,null,\"x\"]}", true},
        {"[1e400,-1e400,[2]]", "[1e308,-1e308,[2]]", false},
        {"{\"a\":99999999999999999999}", "{\"a\":99999999999999999999.0}", true},
        {"{\"a\":-99999999999999999999,\"b\":7}", "{\"a\":-1e20,\"b\":7}", true},
        {"[1e-400]", "[0.0]", true},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}", false},
        {"{\"a\":\"\\ud800\"}", "{\"a\":\"" FFFD "\"}", false},
        {"{\"a\":\"\\ud800\\ud800\\udc00\"}", "{\"a\":\"" FFFD "\\ud800\\udc00\"}", false},
        {"{\"a\":\"\\udc00x\\ud83d\\ude00\"}", "{\"a\":\"" FFFD "x\\ud83d\\ude00\"}", false},
        {"{\"\\u0000\":\"a\\u0000b\"}", "{\"" FFFD "\":\"a" FFFD "b\"}", false},
        {"{\"a\":\"caf\xe9\"}", "{\"a\":\"caf" FFFD "\"}", false},
        {"{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"" FFFD FFFD FFFD "\"}", false},
        {MARK "{\"a\":1}", "{\"a\":1}", false},
        {"{\"a\\\"1e400\":\"1e400\\\\\"}", "{\"a\\\"1e400\":\"1e400\\\\\"}", true},
        {"", NULL, false},
        {"5", NULL, false},
        {"<html>", NULL, false},
        {"{\"a\":1}x", NULL, false},
        {"{\"a\":\"\\uD8\"}", NULL, false},
        {"{\"a\":\"\\", NULL, false},
        {"{\"a\":\"\n\"}", NULL, false},
        {"{\"a\":1e400-5}", NULL, false},
        {"{\"a\":01}", NULL, false},
        {MARK MARK "{}", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = NULL;
        json_t *value = provider_json_load(str_from(cases[i].text), &why);
        json_t *same = cases[i].same != NULL ? json_loads(cases[i].same, 0, NULL) : NULL;
        json_t *strict =
            strict_json_load_wide(str_from(cases[i].text), JSON_REJECT_DUPLICATES, NULL);
        if ((value == NULL) != (same == NULL) || !(value == NULL || json_equal(value, same)))
            fail_msg("%s: %s", cases[i].text, value != NULL ? json_dumps(value, 0) : why);
        if ((strict != NULL) != cases[i].strict)
            fail_msg("strictly: %s", cases[i].text);
        assert_true((why != NULL) == (value == NULL));
        json_decref(value);
        json_decref(same);
        json_decref(strict);
    }
}

static void says_why_it_is_strict(void **state)
{
    static const char *const cases[][2] = {
        {"{\"a\":1,\"a\":2}", "a member is there twice"},
        {"{\"a\":1e400}", "a number is beyond what a float holds"},
        {"{\"a\":\"\\ud800\"}", "it has half of a surrogate pair"},
        {"{\"a\":\"\\u0000\"}", "it has the character U+0000"},
        {"{\"a\":\"\xff\"}", "it is not UTF-8"},
        {MARK "{}", "it begins with a byte order mark"},
        {"{", "it is not valid JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = NULL;
        assert_null(strict_json_load_wide(str_from(cases[i][0]), JSON_REJECT_DUPLICATES, &why));
        assert_string_equal(why, cases[i][1]);
        assert_int_equal(errno, EINVAL);
    }
}

static void depth_is_bounded(void **state)
{
    char text[4 * LIMIT_TOKEN_JSON_DEPTH] = "";
    const char *why = NULL;
    (void)state;
    for (int i = 0; i < LIMIT_TOKEN_JSON_DEPTH; i++)
        strcat(text, "[");
    for (int i = 0; i < LIMIT_TOKEN_JSON_DEPTH; i++)
        strcat(text, "]");
    json_t *value = provider_json_load(str_from(text), &why);
    assert_non_null(value);
    json_decref(value);
    memmove(text + 1, text, strlen(text) + 1);
    strcat(text, "]");
    assert_null(provider_json_load(str_from(text), &why));
    assert_string_equal(why, "it is nested too deeply");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(reads_what_javascript_reads),
        cmocka_unit_test(says_why_it_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
