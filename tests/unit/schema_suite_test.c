/* The official suite of JSON Schema 2020-12, where it is: ../shared/vectors/json-schema-2020-12 (it
 * is no part of the project). Every case but those that are named here must come out as it says. */
#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "json/strict.h"
#include "schema/schema.h"

static const char folder[] = "../shared/vectors/json-schema-2020-12";

/* File and description of those that need schemas which are elsewhere. */
static const struct {
    const char *file, *group;
} elsewhere[] = {
    {"refRemote.json", NULL},
    {"vocabulary.json", NULL},
    {"dynamicRef.json", "strict-tree schema, guards against misspelled properties"},
    {"dynamicRef.json", "tests for implementation dynamic anchor and reference link"},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first"},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first"},
    {"dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor"},
};

static unsigned passed, left_out, failed;

static bool is_elsewhere(const char *file, const char *group)
{
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        if (strcmp(file, elsewhere[i].file) == 0 &&
            (elsewhere[i].group == NULL || strcmp(group, elsewhere[i].group) == 0))
            return true;
    }
    return false;
}

static void run_case(const struct schema *schema, const json_t *test, const char *file,
                     const char *group)
{
    struct arena arena;
    struct schema_errors errors;
    arena_init(&arena);
    bool wanted = json_is_true(json_object_get(test, "valid"));
    int rc = schema_check(schema, json_object_get(test, "data"), SCHEMA_JSON, &arena, &errors);
    bool right = (rc == 0) == wanted && (rc == 0) == (errors.count == 0);
    passed += right;
    failed += !right;
    if (!right)
        print_error("%s: %s: %s: should be %s\n", file, group,
                    json_string_value(json_object_get(test, "description")),
                    wanted ? "valid" : "invalid");
    arena_free(&arena);
}

static void run_group(const json_t *group, const char *file)
{
    const char *description = json_string_value(json_object_get(group, "description"));
    const json_t *tests = json_object_get(group, "tests");
    struct schema_fault fault;
    if (is_elsewhere(file, description)) {
        left_out += (unsigned)json_array_size(tests);
        return;
    }
    struct schema *schema = schema_new(json_object_get(group, "schema"), &fault);
    if (schema == NULL) {
        failed += (unsigned)json_array_size(tests);
        print_error("%s: %s: %s: %s\n", file, description, fault.path, fault.text);
        return;
    }
    for (size_t i = 0; i < json_array_size(tests); i++)
        run_case(schema, json_array_get(tests, i), file, description);
    schema_free(schema);
}

static void run_file(const char *below, const char *file)
{
    char path[512];
    const char *why = NULL;
    struct buf text = BUF_INIT;
    snprintf(path, sizeof(path), "%s%s/%s", folder, below, file);
    assert_int_equal(file_read_all(path, 0, 1 << 20, &text), 0);
    json_t *groups = strict_json_load_any(buf_str(&text), &why);
    buf_free(&text);
    if (groups == NULL)
        fail_msg("%s: %s", path, why);
    for (size_t i = 0; i < json_array_size(groups); i++)
        run_group(json_array_get(groups, i), file);
    json_decref(groups);
}

static void test_required(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        skip();
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0)
            run_file("", entry->d_name);
    }
    closedir(dir);
    print_message("%u as the suite says, %u refer to schemas elsewhere, %u otherwise\n", passed,
                  left_out, failed);
    assert_int_equal(failed, 0);
    assert_true(passed > 1000);
}

/* Of what the suite calls optional: patterns and numbers. */
static void test_optional(void **state)
{
    static const char *const files[] = {
        "bignum.json",        "ecmascript-regex.json", "float-overflow.json",
        "non-bmp-regex.json", "anchor.json",           "id.json",
        "no-schema.json",     "unknownKeyword.json",   "refOfUnknownKeyword.json",
        "dynamicRef.json"};
    (void)state;
    if (access(folder, R_OK) != 0)
        skip();
    failed = 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        run_file("/optional", files[i]);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_required),
                                       cmocka_unit_test(test_optional)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
