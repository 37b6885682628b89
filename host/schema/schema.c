/* JSON Schema 2020-12: what others see of it. */
#include "schema/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "json/dump.h"
#include "schema/schema_compile.h"
#include "schema/schema_keywords.h"

/* ---- the document ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *copy(const json_t *source);

static json_t *copy_array(const json_t *source)
{
    json_t *array = json_array();
    for (size_t i = 0; i < json_array_size(source); i++) {
        if (json_array_append_new(array, copy(json_array_get(source, i))) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *copy_object(const json_t *source)
{
    size_t count = 0;
    json_t *object = json_object();
    const char **names = calloc(json_object_size(source) + 1, sizeof(const char *));
    for (void *it = schema_first(source); names != NULL && it != NULL; it = schema_next(source, it))
        names[count++] = json_object_iter_key(it);
    if (names != NULL)
        qsort(names, count, sizeof(const char *), compare_names);
    bool failed = names == NULL;
    for (size_t i = 0; i < count && !failed; i++)
        failed = json_object_set_new_nocheck(object, names[i],
                                             copy(json_object_get(source, names[i]))) != 0;
    free(names);
    if (!failed)
        return object;
    json_decref(object);
    return NULL;
}

/* NULL: out of memory. Names end at a NUL. */
static json_t *copy(const json_t *source)
{
    if (json_is_object(source))
        return copy_object(source);
    return json_is_array(source) ? copy_array(source) : json_deep_copy(source);
}

struct schema *schema_new(const json_t *source, struct schema_fault *fault)
{
    struct schema *schema = calloc(1, sizeof(*schema));
    int code = ENOMEM;
    *fault = (struct schema_fault){.text = "out of memory"};
    if (schema != NULL) {
        arena_init(&schema->arena);
        schema->source = copy(source);
    }
    if (schema != NULL && schema->source != NULL &&
        getrandom(schema->key, sizeof(schema->key), 0) == (ssize_t)sizeof(schema->key))
        code = schema_compile(schema, schema_keywords, fault);
    if (code == 0)
        return schema;
    schema_free(schema);
    errno = code;
    return NULL;
}

void schema_free(struct schema *schema)
{
    if (schema == NULL)
        return;
    arena_free(&schema->arena);
    json_decref(schema->source);
    json_decref(schema->meta);
    free(schema);
}

static int move(json_t *part, struct str place);

static int move_reference(json_t *part, const char *keyword, struct str place)
{
    struct str text = schema_string(json_object_get(part, keyword));
    if (text.len == 0 || text.ptr[0] != '#')
        return 0;
    json_t *moved = json_sprintf("%.*s%s", STR_ARG(place), text.ptr + 1);
    return json_object_set_new(part, keyword, moved);
}

static int move_members(json_t *part, struct str place)
{
    static const char *const values[] = {"const", "enum", "default", "examples"};
    int rc = 0;
    for (void *it = schema_first(part); rc == 0 && it != NULL; it = schema_next(part, it)) {
        bool is_value = false;
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
            is_value = is_value || strcmp(json_object_iter_key(it), values[i]) == 0;
        rc = is_value ? 0 : move(json_object_iter_value(it), place);
    }
    return rc;
}

/* What has an $id is a document of its own, wherever it stands. */
static int move(json_t *part, struct str place)
{
    int rc = 0;
    if (json_is_object(part) && !json_is_string(json_object_get(part, "$id")))
        rc = move_reference(part, "$ref", place) != 0 ||
                     move_reference(part, "$dynamicRef", place) != 0
                 ? -1
                 : move_members(part, place);
    for (size_t i = 0; rc == 0 && json_is_array(part) && i < json_array_size(part); i++)
        rc = move(json_array_get(part, i), place);
    return rc;
}

void schema_write_within(struct buf *out, const struct schema *schema, struct str place)
{
    json_t *moved = json_deep_copy(schema->source);
    if (moved == NULL || move(moved, place) != 0)
        out->failed = true;
    else
        dump_json(out, moved, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(moved);
}

/* ---- checks ---- */

const json_t *schema_source(const struct schema *schema)
{
    return schema->source;
}

size_t schema_size(const struct schema *schema)
{
    return sizeof(*schema) + schema->arena.total + schema->pattern_bytes;
}

static void say_too_much(struct schema_check *check)
{
    static const struct schema_error too_much = {
        {"", 0}, {"cannot be checked: that needs more steps than a check may take", 61}};
    if (check->rc == -E2BIG)
        check->errors[check->count < LIMIT_SCHEMA_ERRORS ? check->count++ : 0] = too_much;
}

int schema_check(const struct schema *schema, const json_t *value, enum schema_kind kind,
                 struct arena *arena, struct schema_errors *errors)
{
    struct schema_place top = {NULL, {NULL, 0}, 0};
    struct schema_check check = {.kind = kind,
                                 .schema = schema,
                                 .arena = arena,
                                 .errors = errors->list,
                                 .room = LIMIT_SCHEMA_ERRORS,
                                 .steps = LIMIT_SCHEMA_STEPS,
                                 .place = &top};
    bool fits = schema_eval(&check, schema->root, value, NULL);
    say_too_much(&check);
    errors->count = check.count;
    if (check.rc == -ENOMEM)
        return -ENOMEM;
    return fits && check.rc == 0 ? 0 : -EINVAL;
}

void schema_write_errors(struct buf *out, const struct schema_errors *errors)
{
    buf_add_char(out, '[');
    for (unsigned i = 0; i < errors->count; i++) {
        buf_add_str(out, i > 0 ? STR(",{\"path\":") : STR("{\"path\":"));
        buf_add_json(out, errors->list[i].path);
        buf_add_str(out, STR(",\"message\":"));
        buf_add_json(out, errors->list[i].message);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}
