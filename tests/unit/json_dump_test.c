/* A value is written whole or not at all, whichever allocation fails. */
#include "unit.h"
#include "failing_malloc.h"

#include <string.h>

#include "json/dump.h"

/* Names and texts long enough that a buffer grows in each of them, and between them. */
static const char source[] =
    "{\"name of a member that is longer than a small buffer is at first\":"
    "[\"a text with \\\"quotes\\\" and \\u00e9\",1.5,-7,true,null,{\"nested\":{\"deeper\":[]}}],"
    "\"another name, so that there is something to leave out of the object\":"
    "\"............................................................................................"
    "..............................................................................................\"}";

static json_t *load(void)
{
    json_t *value = json_loads(source, 0, NULL);
    assert_non_null(value);
    return value;
}

static void test_whole(void **state)
{
    (void)state;
    json_t *value = load();
    char *ours = dump_json_text(value, JSON_COMPACT), *theirs = json_dumps(value, JSON_COMPACT);
    struct buf out = BUF_INIT;
    assert_string_equal(ours, theirs);
    buf_add_char(&out, '[');
    dump_json(&out, value, JSON_COMPACT);
    buf_add_char(&out, ']');
    assert_false(buf_failed(&out));
    assert_int_equal(out.len, strlen(theirs) + 2);
    assert_memory_equal(out.data + 1, theirs, strlen(theirs));
    free(ours);
    free(theirs);
    buf_free(&out);
    json_decref(value);
}

/* A scalar is none of JSON's documents unless the flags say so. */
static void test_what_cannot_be_written(void **state)
{
    (void)state;
    json_t *number = json_integer(1);
    char *text = dump_json_text(number, JSON_ENCODE_ANY);
    struct buf out = BUF_INIT;
    assert_string_equal(text, "1");
    free(text);
    assert_null(dump_json_text(number, 0));
    assert_null(dump_json_text(NULL, JSON_ENCODE_ANY));
    dump_json(&out, NULL, JSON_ENCODE_ANY);
    assert_true(buf_failed(&out));
    buf_free(&out);
    json_decref(number);
}

/* jansson's own function is the counter-example: it gives another text. */
static void test_no_memory(void **state)
{
    (void)state;
    if (!owns_malloc())
        skip();
    json_t *value = load();
    char *whole = dump_json_text(value, JSON_COMPACT), *text = NULL;
    bool failed = false;
    for (unsigned long n = 1; text == NULL; n++) {
        struck = false;
        countdown = n;
        text = dump_json_text(value, JSON_COMPACT);
        countdown = 0;
        assert_true(text != NULL || struck);
        assert_true(text == NULL || strcmp(text, whole) == 0);
        failed |= text == NULL;
    }
    assert_true(failed);
    free(text);
    free(whole);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
