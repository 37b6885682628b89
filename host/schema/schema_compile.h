/* A schema being compiled: what the readers of keywords (schema_keywords.c) are given. */
#pragma once

#include "schema/schema_internal.h"

struct schema_reference;

struct schema_compiler {
    struct schema *schema;
    struct schema_fault *fault;
    const struct schema_keyword *keywords; /* the last has no name */
    const struct schema_place *place;      /* in the document, of what is being read */
    struct str path;                       /* the same, where there is no place: as text */
    struct schema_node *node;              /* whose keywords are being read */
    struct schema_resource *resource;      /* where it is */
    struct schema_reference *references;   /* that have not been followed */
    unsigned depth;
    int code; /* errno of the first fault; 0: none yet */
};

/* Compiles the document and what it refers to: 0, or an errno with *fault told. */
int schema_compile(struct schema *schema, const struct schema_keyword *keywords,
                   struct schema_fault *fault);

/* Tells what is wrong at the place where the compiler is. -1. */
int schema_compile_fault(struct schema_compiler *compiler, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int schema_compile_no_memory(struct schema_compiler *compiler);

/* Memory of the schema, cleared; NULL with the fault told. */
void *schema_compile_alloc(struct schema_compiler *compiler, size_t size);

/* The rule's argument is a schema; a list of them (at least one); names with schemas: its nodes. */
int schema_compile_one(struct schema_compiler *compiler, struct schema_rule *rule);
int schema_compile_list(struct schema_compiler *compiler, struct schema_rule *rule);
int schema_compile_members(struct schema_compiler *compiler, struct schema_rule *rule);

/* The member `name` of the schema that is being read, as one of `if`'s nodes; it may be absent. */
int schema_compile_beside(struct schema_compiler *compiler, const char *name,
                          struct schema_node **out);

/* `nodes[0]` of the rule will be what the reference leads to. */
int schema_compile_reference(struct schema_compiler *compiler, struct schema_rule *rule,
                             bool dynamic);

/* A pattern, checked. NULL with the fault told. */
struct schema_regex *schema_compile_pattern(struct schema_compiler *compiler, struct str pattern);
