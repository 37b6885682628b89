/* The fast reader of plain JSON: reads what tokens are made of as jansson does, and leaves alone
 * whatever is not that plain. */
#include "unit.h"

#include <stdlib.h>

#include "json/plain.h"

static void test_reads_as_jansson(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{ }",
        "{\"a\":\"b\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{ \"a\" : [ ] , \"b\" :\t{ }\n, \"c\" : [ 1 , \"x\" , [ true , false , null ] ] }\r\n",
        "{\"z\":0,\"n\":-1,\"m\":999999999999999999,\"l\":-999999999999999999,\"\":\"\"}",
        "{\"a\":{\"b\":{\"c\":{\"d\":[{\"e\":{}}]}}}}",
        "{\"~ !#$%&'()*+,-./:;<=>?@[]^_`{|}\":\"~ !#$%&'()*+,-./:;<=>?@[]^_`{|}\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *plain = plain_json_load(str_from(texts[i])), *other = json_loads(texts[i], 0, NULL);
        assert_non_null(plain);
        assert_true(json_equal(plain, other));
        char *a = json_dumps(plain, JSON_COMPACT), *b = json_dumps(other, JSON_COMPACT);
        assert_string_equal(a, b); /* the members' order, too */
        free(a);
        free(b);
        json_decref(plain);
        json_decref(other);
    }
}

static void test_leaves_the_rest(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "[]",
        "5",
        "\"a\"",
        "null",
        "{",
        "{\"n\":1000000000000000000}", /* too long to be sure that it fits */
        "{\"n\":9223372036854775808}",
        "{\"n\":-9999999999999999999}",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"1}",
        "{\"a\"::1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":}",
        "{\"a\":1}x",
        "{\"a\":1}}",
        "{\"a\":1}{}",
        "{\"a\":[1,]}",
        "{\"a\":[,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[1}",
        "{\"a\":1]}",
        "{\"a\":1 \"b\":2}",
        /* a member twice, at any level */
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"b\":2,\"a\":3}",
        "{\"x\":{\"a\":1,\"a\":2}}",
        "{\"x\":[{\"a\":1,\"a\":2}]}",
        /* texts: escapes, control characters, DEL, beyond ASCII, not ended */
        "{\"a\":\"\\n\"}",
        "{\"\\u0061\":1}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\x7f\"}",
        "{\"a\":\"\xc3\xa9\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"b}",
        "{\"a\":\"\\\"}",
        /* numbers */
        "{\"a\":01}",
        "{\"a\":-0}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":1.5}",
        "{\"a\":1e5}",
        "{\"a\":1E5}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1000000000000000000}",
        "{\"a\":0x1}",
        "{\"a\":-01}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        /* words */
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":True}",
        "{\"a\":nul",
        "{\"a\":falsey}",
        /* deep */
        "{\"a\":[[[[[[[[1]]]]]]]]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *value = plain_json_load(str_from(texts[i]));
        if (value != NULL)
            fail_msg("read: %s", texts[i]);
    }
    assert_null(plain_json_load((struct str){"{\"a\":\"\0\"}", 9}));
    assert_null(plain_json_load((struct str){"{\"a\":1}\0", 8}));
    assert_null(plain_json_load((struct str){NULL, 0}));
    json_t *cut = plain_json_load((struct str){"{\"a\":true", 8}); /* never reads past the end */
    assert_null(cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_as_jansson),
        cmocka_unit_test(test_leaves_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
