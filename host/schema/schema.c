/* JSON Schema 2020-12: what others see of it. */
#include "schema/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "schema/schema_compile.h"
#include "schema/schema_keywords.h"

struct schema *schema_new(const json_t *source, struct schema_fault *fault)
{
    struct schema *schema = calloc(1, sizeof(*schema));
    int code = ENOMEM;
    *fault = (struct schema_fault){.text = "out of memory"};
    if (schema != NULL) {
        arena_init(&schema->arena);
        schema->source = json_deep_copy(source);
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
