/* Schemas without memory: each allocation of compiling and of checking fails once. What comes out
 * is no schema, no verdict, or the right one. */
#include "failing_malloc.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "json/strict.h"
#include "schema/schema.h"

static const char schema_text[] =
    "{\"$id\":\"http://a.example/s\",\"type\":\"object\",\"required\":[\"a\"],"
    "\"properties\":{\"a\":{\"pattern\":\"^[a-z]+\\\\d$\"},\"l\":{\"uniqueItems\":true,"
    "\"items\":{\"$ref\":\"#/$defs/n\"}},\"m\":{\"$ref\":\"#anchor\"},"
    "\"s\":{\"$ref\":\"https://json-schema.org/draft/2020-12/schema\"}},"
    "\"patternProperties\":{\"^x\":{\"propertyNames\":{\"maxLength\":3}}},"
    "\"allOf\":[{\"anyOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}}},false]}],"
    "\"unevaluatedProperties\":{\"type\":\"boolean\"},"
    "\"$defs\":{\"n\":{\"type\":[\"number\",\"null\"]},\"k\":{\"$anchor\":\"anchor\","
    "\"prefixItems\":[{\"enum\":[1,\"b\"]}],\"unevaluatedItems\":{\"const\":{\"c\":1}}}}}";
static const char good_text[] =
    "{\"a\":\"b1\",\"l\":[1,null,2.5],\"m\":[1.0,{\"c\":1}],\"s\":{\"type\":\"array\"},"
    "\"x1\":{\"abc\":1},\"other\":true}";
static const char bad_text[] =
    "{\"a\":1,\"l\":[1,\"x\",1],\"m\":[3,4],\"s\":{\"type\":1},\"x1\":{\"abcd\":1},\"other\":7}";

static json_t *parse(const char *text)
{
    const char *why = NULL;
    json_t *value = strict_json_load_any(str_from(text), &why);
    assert_non_null(value);
    return value;
}

static void test_compile(void **state)
{
    unsigned long at = 0;
    (void)state;
    if (!owns_malloc())
        skip();
    json_t *source = parse(schema_text);
    do {
        struct schema_fault fault;
        struck = false;
        countdown = ++at;
        errno = 0;
        struct schema *schema = schema_new(source, &fault);
        int code = errno;
        countdown = 0;
        assert_true(schema != NULL || (struck && code == ENOMEM));
        schema_free(schema);
    } while (struck);
    assert_true(at > 50);
    json_decref(source);
}

static unsigned long check_all(const struct schema *schema, const json_t *value, int wanted)
{
    unsigned long at = 0;
    do {
        struct schema_errors errors;
        struct arena arena;
        arena_init(&arena);
        struck = false;
        countdown = ++at;
        int rc = schema_check(schema, value, SCHEMA_JSON, &arena, &errors);
        countdown = 0;
        if (rc != wanted)
            assert_true(struck && rc == -ENOMEM);
        arena_free(&arena);
    } while (struck);
    return at;
}

static void test_check(void **state)
{
    struct schema_fault fault;
    (void)state;
    if (!owns_malloc())
        skip();
    json_t *source = parse(schema_text), *good = parse(good_text), *bad = parse(bad_text);
    struct schema *schema = schema_new(source, &fault);
    assert_non_null(schema);
    assert_true(check_all(schema, good, 0) > 5);
    assert_true(check_all(schema, bad, -EINVAL) > 5);
    schema_free(schema);
    json_decref(source);
    json_decref(good);
    json_decref(bad);
}

static void test_texts(void **state)
{
    struct schema_fault fault;
    struct str texts[] = {STR("1"), STR("x"), STR("1e1")};
    unsigned long at = 0;
    (void)state;
    if (!owns_malloc())
        skip();
    json_t *source = parse("{\"additionalProperties\":{\"type\":\"array\",\"items\":{\"type\":"
                           "\"integer\"}}}");
    struct schema *schema = schema_new(source, &fault);
    do {
        struck = false;
        countdown = ++at;
        json_t *list = schema_read_texts(schema, STR("a"), texts, 3);
        countdown = 0;
        assert_true(list != NULL || struck);
        if (list != NULL && !struck)
            assert_int_equal(json_integer_value(json_array_get(list, 2)), 10);
        json_decref(list);
    } while (struck);
    assert_true(at > 3);
    schema_free(schema);
    json_decref(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_compile), cmocka_unit_test(test_check),
                                       cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
