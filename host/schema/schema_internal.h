/* What the files of this room share: a compiled schema, and a check under way. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "schema/schema.h"

struct schema_regex;

/* Types of values, as bits. A whole number is an integer and a number. */
enum {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_INTEGER = 4,
    SCHEMA_NUMBER = 8,
    SCHEMA_STRING = 16,
    SCHEMA_ARRAY = 32,
    SCHEMA_OBJECT = 64,
    SCHEMA_ANY = 127,
};

/* Where one is, in a value or a schema; on the stack of whoever goes there. */
struct schema_place {
    const struct schema_place *up; /* NULL: at the top, which has no name */
    struct str name;               /* ptr NULL: an element */
    size_t index;
};

/* ---- a compiled schema: all of it in one arena ---- */

/* A part of the document with a base URI of its own. */
struct schema_resource {
    struct str uri; /* without a fragment; empty: it has none */
    struct schema_node *root;
    struct schema_anchor *anchors;
    struct schema_resource *next;
};

struct schema_anchor {
    struct str name;
    bool dynamic;
    struct schema_node *node;
    struct schema_anchor *next;
};

/* A schema within the document. */
struct schema_node {
    const json_t *source;
    struct str path; /* JSON Pointer, in its document */
    struct schema_resource *resource;
    struct schema_rule *rules; /* in the order in which they are looked at */
    unsigned rule_count;
    bool unevaluated; /* one of them asks what the others have looked at */
    bool walked;      /* of the search for circles */
    bool walking;
    struct schema_node *next; /* of all */
};

/* A keyword with its argument. */
struct schema_rule {
    const struct schema_keyword *keyword;
    const json_t *arg;
    struct schema_node **nodes; /* its subschemas; some of `if` may be NULL */
    unsigned count;
    unsigned types;                   /* of `type` */
    size_t low, high;                 /* of lengths and counts */
    struct schema_regex **patterns;   /* one a node, or one */
    const struct schema_rule *beside; /* the rule before it that it leaves something to: */
    const struct schema_rule *patterns_beside;
    struct str anchor; /* of `$dynamicRef`: empty where it is a plain `$ref` */
};

struct schema_check;
struct schema_seen;
struct schema_compiler;

struct schema_keyword {
    const char *name;
    /* Reads rule->arg. 0, or -1 with the fault told. */
    int (*read)(struct schema_compiler *compiler, struct schema_rule *rule);
    /* Is the value as the rule wants it? NULL: it says nothing about values. */
    bool (*check)(struct schema_check *check, const struct schema_rule *rule, const json_t *value,
                  struct schema_seen *seen);
    unsigned types; /* of the values that it speaks about */
    bool in_place;  /* its subschemas are about the value itself */
};

struct schema {
    struct arena arena;
    json_t *source; /* owned */
    json_t *meta;   /* owned: the meta-schema, where something refers to it; else NULL */
    struct schema_node *root;
    struct schema_node *nodes;
    struct schema_resource *resources;
    unsigned node_count;
    size_t pattern_bytes;
    uint64_t key[2]; /* of hashes */
};

/* ---- a check ---- */

/* What was looked at of an object or array, by rules that it fits. */
struct schema_seen {
    json_t *names; /* owned: a set, as an object */
    char *items;   /* owned: one a byte */
    bool all_names, all_items;
};

/* The resources on the way to where we are, which `$dynamicRef` looks at. */
struct schema_scope {
    const struct schema_resource *resource;
    const struct schema_scope *outer;
};

struct schema_check {
    enum schema_kind kind;
    const struct schema *schema;
    struct arena *arena;
    struct schema_error *errors;
    unsigned count, room; /* of errors; no room: nobody asks for reasons */
    size_t steps;         /* that are left */
    unsigned depth;
    const struct schema_place *place;
    const struct schema_scope *scope;
    int rc; /* -ENOMEM, or -E2BIG: past a limit; then nothing is valid */
};

/* Is the value as the node wants it? What it looked at is added to *seen (may be NULL). */
bool schema_eval(struct schema_check *check, const struct schema_node *node, const json_t *value,
                 struct schema_seen *seen);
/* The same for a member or an element of the value. */
bool schema_eval_member(struct schema_check *check, const struct schema_node *node,
                        const json_t *value, struct str name);
bool schema_eval_element(struct schema_check *check, const struct schema_node *node,
                         const json_t *value, size_t index);
/* The same, and nobody asks why not. */
bool schema_eval_quietly(struct schema_check *check, const struct schema_node *node,
                         const json_t *value, struct schema_seen *seen);
/* Why the value, which does not fit, does not: "must be a number"; in the check's arena. */
struct str schema_reason(struct schema_check *check, const struct schema_node *node,
                         const json_t *value);

/* Says what is wrong at the place where the check is. False. */
bool schema_wrong(struct schema_check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Is one reason enough, or wanted at all? Then who has found one may stop. */
bool schema_is_enough(const struct schema_check *check);
/* Uses up steps; false: there are none left, and the check has failed. */
bool schema_spend(struct schema_check *check, size_t steps);

/* Bits of the value's types. */
unsigned schema_types(const struct schema_check *check, const json_t *value);
/* "a string, an integer or null" */
struct str schema_types_text(struct arena *arena, unsigned types);

void schema_see_name(struct schema_check *check, struct schema_seen *seen, struct str name);
void schema_see_item(struct schema_check *check, struct schema_seen *seen, size_t index,
                     size_t count);
bool schema_saw_name(const struct schema_seen *seen, struct str name);
bool schema_saw_item(const struct schema_seen *seen, size_t index);

/* The members of an object, in their order: for (it = schema_first(o); it; it = schema_next(o, it))
 */
static inline void *schema_first(const json_t *object)
{
    return json_object_iter((json_t *)(uintptr_t)object); /* jansson's iterators take no const */
}

static inline void *schema_next(const json_t *object, void *it)
{
    return json_object_iter_next((json_t *)(uintptr_t)object, it);
}

static inline struct str schema_key(void *it)
{
    return (struct str){json_object_iter_key(it), json_object_iter_key_len(it)};
}

static inline struct str schema_string(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* Writes the place as a JSON Pointer (RFC 6901). */
void schema_write_place(struct buf *out, const struct schema_place *place);

/* The rule of that keyword, or NULL. */
const struct schema_rule *schema_rule_of(const struct schema_node *node, const char *keyword);
