/* JSON Schema 2020-12: compiled once, then values are checked against it.
 *
 * All keywords of the core, applicator, unevaluated, validation and meta-data vocabularies; formats
 * and contents are annotations. References stay within the schema, or lead to the meta-schema of
 * 2020-12: there are no others. What a check may cost is bounded (LIMIT_SCHEMA_*): a value that
 * needs more is not valid. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"

struct schema;

/* What is wrong with a schema, and where in it. */
struct schema_fault {
    char path[256]; /* JSON Pointer; empty: the schema as a whole */
    char text[512]; /* "must be a number" */
};

/* Compiles a copy of `source`, with its names in order (a table of Lua has none). NULL: *fault says
 * why, and errno EINVAL or ENOMEM. In a schema that was a table of Lua an empty object stands for
 * an empty list, too. */
struct schema *schema_new(const json_t *source, struct schema_fault *fault)
    __attribute__((warn_unused_result));

/* NULL is fine. */
void schema_free(struct schema *schema);

/* The schema itself; borrowed. */
const json_t *schema_source(const struct schema *schema);

/* Appends it as JSON for a document in which it stands at `place` ("#/components/schemas/a"): where
 * it refers to itself, it refers there. */
void schema_write_within(struct buf *out, const struct schema *schema, struct str place);

/* Bytes of memory that it takes, roughly. */
size_t schema_size(const struct schema *schema);

struct schema_error {
    struct str path; /* JSON Pointer into the value; empty: the value as a whole */
    struct str message;
};

struct schema_errors {
    unsigned count; /* what is past the limit is not looked for */
    struct schema_error list[LIMIT_SCHEMA_ERRORS];
};

enum schema_kind {
    SCHEMA_JSON, /* the value was JSON */
    SCHEMA_LUA,  /* it was a table of Lua: an empty object may be an empty array as well */
};

/* 0: the value is valid. -EINVAL: it is not; *errors has at least one. -ENOMEM. The errors' texts
 * are in `arena`. */
int schema_check(const struct schema *schema, const json_t *value, enum schema_kind kind,
                 struct arena *arena, struct schema_errors *errors)
    __attribute__((warn_unused_result));

/* Appends them as JSON: [{"path":"/age","message":"must be an integer, not a string"}] */
void schema_write_errors(struct buf *out, const struct schema_errors *errors);

/* A member of a query or form as the schema, an object's, wants it: texts become numbers, true or
 * false, or null, where it asks for those and not for a text, and a list where it asks for a list.
 * What cannot be made one stays a text. New reference; NULL: out of memory. */
json_t *schema_read_texts(const struct schema *schema, struct str name, const struct str *texts,
                          unsigned count);
