/* Schemas that are none, what is said of values, and what a check may cost. The meaning of the
 * keywords is the official suite's to test (schema_suite_test.c), and here one case each where that
 * is not there. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "json/strict.h"
#include "schema/schema.h"

static json_t *parse(const char *text)
{
    const char *why = NULL;
    json_t *value = strict_json_load_any(str_from(text), &why);
    if (value == NULL)
        fail_msg("%s: %s", text, why);
    return value;
}

static struct schema *compile(const char *text)
{
    struct schema_fault fault;
    json_t *source = parse(text);
    struct schema *schema = schema_new(source, &fault);
    json_decref(source);
    if (schema == NULL)
        fail_msg("%s: %s: %s", text, fault.path, fault.text);
    return schema;
}

/* The errors as JSON; "[]" where the value is valid. In a buffer of this function. */
static const char *errors_of(const struct schema *schema, const char *value, enum schema_kind kind)
{
    static char text[8192];
    struct schema_errors errors;
    struct arena arena;
    struct buf out = BUF_INIT;
    json_t *parsed = parse(value);
    arena_init(&arena);
    int rc = schema_check(schema, parsed, kind, &arena, &errors);
    assert_int_equal(rc, errors.count == 0 ? 0 : -EINVAL);
    schema_write_errors(&out, &errors);
    snprintf(text, sizeof(text), "%.*s", STR_ARG(buf_str(&out)));
    buf_free(&out);
    arena_free(&arena);
    json_decref(parsed);
    return text;
}

static void test_messages(void **state)
{
    static const struct {
        const char *schema, *good, *bad, *path, *message;
    } cases[] = {
        {"{\"type\":\"integer\"}", "1.0", "\"1\"", "", "must be an integer, not a string"},
        {"{\"type\":\"integer\"}", "1", "1.5", "", "must be an integer, without a fraction"},
        {"{\"type\":[\"string\",\"null\"]}", "null", "1", "",
         "must be a string or null, not a number"},
        {"{\"type\":[\"object\",\"array\",\"boolean\"]}", "true", "null", "",
         "must be an object, an array or true or false, not null"},
        {"{\"enum\":[\"a\",1]}", "1.0", "\"b\"", "", "must be one of \\\"a\\\", 1"},
        {"{\"const\":{\"a\":[1,2]}}", "{\"a\":[1.0,2]}", "{\"a\":[2,1]}", "",
         "must be {\\\"a\\\":[1,2]}"},
        {"{\"multipleOf\":0.01}", "19.99", "19.995", "", "must be a multiple of 0.01"},
        {"{\"multipleOf\":3}", "-9", "10", "", "must be a multiple of 3"},
        {"{\"maximum\":9007199254740993}", "9007199254740993", "9007199254740994", "",
         "must be at most 9007199254740993"},
        {"{\"exclusiveMinimum\":0}", "0.1", "0", "", "must be greater than 0"},
        {"{\"minLength\":2}", "\"\\u00e4\\u00e4\"", "\"\\u00e4\"", "",
         "must have at least 2 characters"},
        {"{\"maxLength\":1}", "\"\\ud83d\\ude00\"", "\"ab\"", "", "must have at most 1 character"},
        {"{\"pattern\":\"^\\\\d+$\"}", "\"12\"", "\"12\\n\"", "",
         "must match the pattern ^\\\\d+$"},
        {"{\"required\":[\"a\"]}", "{\"a\":1}", "{}", "", "`a` is missing"},
        {"{\"properties\":{\"a/b\":{\"items\":{\"type\":\"number\"}}}}", "{\"a/b\":[1]}",
         "{\"a/b\":[1,\"x\"]}", "/a~1b/1", "must be a number, not a string"},
        {"{\"additionalProperties\":false}", "{}", "{\"x\":1}", "/x", "is not allowed here"},
        {"{\"uniqueItems\":true}", "[1,2]", "[1,2,1.0]", "",
         "must not have the same element twice, as at 0 and 2"},
        {"{\"uniqueItems\":true}", "[{\"a\":1},{\"a\":2}]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]",
         "", "must not have the same element twice, as at 0 and 1"},
        {"{\"contains\":{\"const\":1}}", "[0,1]", "[0]", "",
         "must have at least 1 element as `contains` describes"},
        {"{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"b\":1}", "{\"a\":1}", "",
         "`b` is missing, which `a` needs"},
        {"{\"propertyNames\":{\"maxLength\":1}}", "{\"a\":1}", "{\"ab\":1}", "/ab",
         "has a name that is not allowed: it must have at most 1 character"},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"properties\":{\"a\":{\"type\":\"null\"}}}]}",
         "\"x\"", "{\"a\":1}", "",
         "must be a string, not an object; or /a must be null, not a "
         "number"},
        {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}]}", "0", "3", "",
         "must fit one alternative of `oneOf` alone, not number 1 and 2"},
        {"{\"not\":{\"const\":1}}", "2", "1", "", "must not be what `not` describes"},
        {"{\"if\":{\"type\":\"number\"},\"then\":{\"minimum\":5},\"else\":{\"maxLength\":1}}", "7",
         "3", "", "must be at least 5"},
        {"{\"allOf\":[{\"properties\":{\"a\":true}}],\"unevaluatedProperties\":false}", "{\"a\":1}",
         "{\"a\":1,\"b\":2}", "/b", "is not allowed here"},
        {"{\"prefixItems\":[true],\"unevaluatedItems\":{\"type\":\"string\"}}", "[1,\"a\"]",
         "[1,2]", "/1", "must be a string, not a number"},
        {"{\"$ref\":\"https://json-schema.org/draft/2020-12/schema\"}", "{\"type\":\"object\"}",
         "{\"type\":\"objekt\"}", "/type",
         "must be one of \\\"array\\\", \\\"boolean\\\", \\\"integer\\\", \\\"null\\\", "
         "\\\"number\\\", \\\"object\\\", \\\"string\\\"; or must be an array, not a string"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char wanted[512];
        struct schema *schema = compile(cases[i].schema);
        snprintf(wanted, sizeof(wanted), "[{\"path\":\"%s\",\"message\":\"%s\"}]", cases[i].path,
                 cases[i].message);
        assert_string_equal(errors_of(schema, cases[i].good, SCHEMA_JSON), "[]");
        assert_string_equal(errors_of(schema, cases[i].bad, SCHEMA_JSON), wanted);
        schema_free(schema);
    }
}

static void test_all_errors(void **state)
{
    struct schema *schema =
        compile("{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"minimum\":2}},"
                "\"required\":[\"c\",\"d\"],\"items\":false}");
    (void)state;
    assert_string_equal(errors_of(schema, "{\"a\":1,\"b\":1}", SCHEMA_JSON),
                        "[{\"path\":\"\",\"message\":\"`c` is missing\"},"
                        "{\"path\":\"\",\"message\":\"`d` is missing\"},"
                        "{\"path\":\"/a\",\"message\":\"must be a string, not a number\"},"
                        "{\"path\":\"/b\",\"message\":\"must be at least 2\"}]");
    char many[512] = "[0";
    for (int i = 0; i < 99; i++)
        strcat(many, ",0");
    strcat(many, "]");
    const char *text = errors_of(schema, many, SCHEMA_JSON);
    unsigned count = 0;
    while ((text = strstr(text, "\"path\"")) != NULL)
        count++, text++;
    assert_int_equal(count, LIMIT_SCHEMA_ERRORS);
    schema_free(schema);
}

static void test_no_schemas(void **state)
{
    static const struct {
        const char *schema, *path, *text;
    } cases[] = {
        {"1", "", "must be a schema"},
        {"{\"type\":\"objekt\"}", "/type", "not \"objekt\""},
        {"{\"properties\":{\"a\":{\"minimum\":\"1\"}}}", "/properties/a/minimum",
         "must be a number"},
        {"{\"properties\":[]}", "/properties", "must be a table of names"},
        {"{\"items\":[{}]}", "/items", "`prefixItems`"},
        {"{\"anyOf\":[]}", "/anyOf", "of one at least"},
        {"{\"allOf\":[true,{\"pattern\":\"(\"}]}", "/allOf/1/pattern",
         "'(' is no regular expression: missing closing parenthesis"},
        {"{\"pattern\":\"a++\"}", "/pattern", "nothing stands before this plus"},
        {"{\"pattern\":\"\\\\Q\"}", "/pattern", "means nothing"},
        {"{\"pattern\":\"(?R)\"}", "/pattern", "a group begins with"},
        {"{\"patternProperties\":{\"[\":true}}", "/patternProperties", "no regular expression"},
        {"{\"minLength\":-1}", "/minLength", "whole number of at least 0"},
        {"{\"minContains\":1.5}", "/minContains", "whole number of at least 0"},
        {"{\"multipleOf\":0}", "/multipleOf", "above 0"},
        {"{\"required\":\"a\"}", "/required", "list of names"},
        {"{\"exclusiveMaximum\":true}", "/exclusiveMaximum", "must be a number"},
        {"{\"$ref\":\"#/$defs/a\"}", "/$ref", "leads nowhere"},
        {"{\"$ref\":\"#/title\",\"title\":\"x\"}", "/$ref", "must be a schema"},
        {"{\"$ref\":\"other.json\"}", "/$ref", "others are not fetched"},
        {"{\"$id\":\"a#b\"}", "/$id", "must not have a fragment"},
        {"{\"$anchor\":\"1a\"}", "/$anchor", "must be a name"},
        {"{\"$defs\":{\"a\":{\"$id\":\"x\"},\"b\":{\"$id\":\"x\"}}}", "/$defs/b/$id",
         "another schema"},
        {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "/$schema",
         "another version"},
        {"{\"then\":1}", "/then", "must be a schema"},
        {"{\"if\":{},\"else\":1}", "/else", "must be a schema"},
        {"{\"description\":1}", "/description", "must be a text"},
        {"{\"$ref\":\"#\"}", "", "no check would end"},
        {"{\"allOf\":[{\"$ref\":\"#/$defs/a\"}],\"$defs\":{\"a\":{\"not\":{\"$ref\":\"#\"}}}}", "",
         "no check would end"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct schema_fault fault;
        json_t *source = parse(cases[i].schema);
        struct schema *schema = schema_new(source, &fault);
        if (schema != NULL)
            fail_msg("%s should be refused", cases[i].schema);
        assert_int_equal(errno, EINVAL);
        if (strcmp(cases[i].text, "no check would end") != 0)
            assert_string_equal(fault.path, cases[i].path);
        if (strstr(fault.text, cases[i].text) == NULL)
            fail_msg("%s: %s", cases[i].schema, fault.text);
        json_decref(source);
    }
}

/* Schemas that refer to themselves by going into the value end with it. */
static void test_recursion(void **state)
{
    struct schema *schema =
        compile("{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}},"
                "\"additionalProperties\":false}");
    (void)state;
    assert_string_equal(errors_of(schema, "{\"next\":{\"next\":{}}}", SCHEMA_JSON), "[]");
    assert_string_equal(errors_of(schema, "{\"next\":{\"next\":{\"nxt\":1}}}", SCHEMA_JSON),
                        "[{\"path\":\"/next/next/nxt\",\"message\":\"is not allowed here\"}]");
    schema_free(schema);
}

static void expect_too_much(const char *schema_text, const char *value)
{
    struct schema *schema = compile(schema_text);
    const char *text = errors_of(schema, value, SCHEMA_JSON);
    if (strstr(text, "cannot be checked") == NULL)
        fail_msg("%s: %s", schema_text, text);
    schema_free(schema);
}

/* What doubles at each level, a pattern that tries all ways, and a circle that shows only when a
 * value is checked: they end, and the value is not valid. */
static void test_costs(void **state)
{
    char nested[512] = "", backtrack[256];
    (void)state;
    for (int i = 0; i < 60; i++)
        strcat(nested, "[");
    for (int i = 0; i < 60; i++)
        strcat(nested, "]");
    expect_too_much("{\"anyOf\":[{\"items\":{\"$ref\":\"#\"},\"minItems\":1},"
                    "{\"items\":{\"$ref\":\"#\"},\"minItems\":1}]}",
                    nested);
    snprintf(backtrack, sizeof(backtrack), "\"%0100d1 \"", 0);
    expect_too_much("{\"pattern\":\"^(0*)*1$\"}", backtrack);
    expect_too_much("{\"patternProperties\":{\"^(0|00)*1$\":true}}",
                    "{\"0000000000000000000000000000000000000000000000000000000000001 \":1}");
    expect_too_much("{\"$dynamicAnchor\":\"a\",\"$dynamicRef\":\"#a\"}", "1");
}

/* A pattern that has to look at every place of a long text is no such case. */
static void test_long_text(void **state)
{
    size_t len = 200000;
    char *text = calloc(1, len + 8);
    struct schema *schema = compile("{\"pattern\":\"[xy]z\",\"maxLength\":300000}");
    (void)state;
    memset(text, 'a', len);
    text[0] = text[len + 3] = '"';
    memcpy(text + len, "xyz", 3);
    assert_string_equal(errors_of(schema, text, SCHEMA_JSON), "[]");
    schema_free(schema);
    free(text);
}

/* To Lua an empty table is an array and an object. */
static void test_empty(void **state)
{
    struct schema *array = compile("{\"type\":\"array\"}"),
                  *object = compile("{\"type\":\"object\"}");
    struct schema *filled = compile("{\"type\":\"array\",\"minItems\":1,\"required\":{}}");
    (void)state;
    assert_string_equal(errors_of(array, "{}", SCHEMA_LUA), "[]");
    assert_string_equal(errors_of(object, "{}", SCHEMA_LUA), "[]");
    assert_string_not_equal(errors_of(array, "{}", SCHEMA_JSON), "[]");
    assert_string_not_equal(errors_of(object, "[]", SCHEMA_LUA), "[]");
    assert_string_equal(errors_of(filled, "{}", SCHEMA_LUA),
                        "[{\"path\":\"\",\"message\":\"must have at least 1 element\"}]");
    assert_true(json_is_array(json_object_get(schema_source(filled), "required")));
    schema_free(array);
    schema_free(object);
    schema_free(filled);
}

static void test_texts(void **state)
{
    static const struct {
        const char *name, *text, *value;
    } cases[] = {
        {"limit", "10", "10"},      {"limit", "1e2", "100"},  {"limit", "x", "\"x\""},
        {"limit", "1.5", "1.5"},    {"limit", "", "\"\""},    {"limit", "0x10", "\"0x10\""},
        {"limit", " 1", "\" 1\""},  {"price", "1.50", "1.5"}, {"price", "NaN", "\"NaN\""},
        {"flag", "true", "true"},   {"flag", "1", "\"1\""},   {"text", "true", "\"true\""},
        {"either", "12", "\"12\""}, {"level", "2", "2"},      {"ids", "7", "[7]"},
        {"other", "3", "\"3\""},    {"x-1", "3", "3"},        {"far", "5", "5"},
    };
    struct schema *schema =
        compile("{\"properties\":{\"limit\":{\"type\":\"integer\"},\"price\":{\"type\":\"number\"},"
                "\"flag\":{\"type\":\"boolean\"},\"text\":{\"type\":\"string\"},"
                "\"either\":{\"type\":[\"integer\",\"string\"]},\"level\":{\"enum\":[1,2,3]},"
                "\"ids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/id\"}}},"
                "\"patternProperties\":{\"^x-\":{\"$ref\":\"#/$defs/id\"}},"
                "\"allOf\":[{\"properties\":{\"far\":{\"anyOf\":[{\"type\":\"integer\"}]}}}],"
                "\"$defs\":{\"id\":{\"type\":\"integer\"}}}");
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str text = str_from(cases[i].text);
        json_t *value = schema_read_texts(schema, str_from(cases[i].name), &text, 1);
        char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        assert_string_equal(shown, cases[i].value);
        free(shown);
        json_decref(value);
    }
    struct str two[] = {STR("1"), STR("b")};
    json_t *value = schema_read_texts(schema, STR("ids"), two, 2);
    assert_int_equal(json_integer_value(json_array_get(value, 0)), 1);
    assert_string_equal(json_string_value(json_array_get(value, 1)), "b");
    json_decref(value);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),   cmocka_unit_test(test_all_errors),
        cmocka_unit_test(test_no_schemas), cmocka_unit_test(test_recursion),
        cmocka_unit_test(test_costs),      cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
