/* Schemas and values: a text of JSON, a line end, a text of JSON. Whatever they are, a schema is
 * compiled or its fault told, a check ends, and who is told of errors is told of one at least. */
#include "fuzz.h"

#include <errno.h>

#include "json/strict.h"
#include "schema/schema.h"

static void check(const struct schema *schema, const json_t *value)
{
    for (int kind = SCHEMA_JSON; kind <= SCHEMA_LUA; kind++) {
        struct schema_errors errors, again;
        struct arena arena;
        struct buf out = BUF_INIT;
        arena_init(&arena);
        int rc = schema_check(schema, value, (enum schema_kind)kind, &arena, &errors);
        require(rc == 0 ? errors.count == 0 : rc == -EINVAL && errors.count > 0, "a reason");
        require(schema_check(schema, value, (enum schema_kind)kind, &arena, &again) == rc &&
                    again.count == errors.count,
                "the same again");
        schema_write_errors(&out, &errors);
        const char *why = NULL;
        json_t *list = strict_json_load_any(buf_str(&out), &why);
        require(json_array_size(list) == errors.count, "JSON");
        json_decref(list);
        buf_free(&out);
        arena_free(&arena);
    }
}

static void read_texts(const struct schema *schema, const json_t *value)
{
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        struct str text = {json_string_value(member), json_string_length(member)};
        json_t *read =
            json_is_string(member) ? schema_read_texts(schema, str_from(name), &text, 1) : NULL;
        require(read != NULL || !json_is_string(member), "a value");
        json_decref(read);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = whole_input(data, size);
    size_t line = str_find(input, '\n');
    struct str rest = line < input.len ? str_skip(input, line + 1) : STR("null");
    const char *why = NULL;
    struct schema_fault fault;
    json_t *source = strict_json_load_any((struct str){input.ptr, line}, &why);
    json_t *value = strict_json_load_any(rest, &why);
    struct schema *schema = source != NULL ? schema_new(source, &fault) : NULL;
    require(source == NULL || schema != NULL || fault.text[0] != '\0', "a fault is told");
    if (schema != NULL && value != NULL) {
        struct buf out = BUF_INIT;
        check(schema, value);
        read_texts(schema, value);
        schema_write_within(&out, schema, STR("#/x"));
        buf_free(&out);
    }
    schema_free(schema);
    json_decref(source);
    json_decref(value);
    return 0;
}
