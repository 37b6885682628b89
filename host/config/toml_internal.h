/* Shared by the parts of the TOML reader: structure (toml.c), keys and values (toml_value.c), and
 * what both stand on (toml_parts.c). */
#pragma once

#include "config/toml.h"

struct toml_reader {
    struct arena *arena;
    struct str rest;
    unsigned line;
    unsigned depth;
    unsigned nodes;
    struct err *err;
};

/* Fills err and returns NULL. */
struct toml *toml_fault(struct toml_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next character, or '\0' at the end; it is not taken. */
static inline char toml_peek(const struct toml_reader *r)
{
    return r->rest.len > 0 ? r->rest.ptr[0] : '\0';
}

static inline void toml_take(struct toml_reader *r, size_t count)
{
    r->rest = str_skip(r->rest, count);
}

/* Spaces and tabs. */
void toml_skip_blanks(struct toml_reader *r);
/* The same with line ends and comments. False: a fault. */
bool toml_skip_lines(struct toml_reader *r);
/* The rest of a line after what it says. False: a fault. */
bool toml_end_line(struct toml_reader *r);

/* A new node, or NULL with the reason. */
struct toml *toml_node(struct toml_reader *r, enum toml_type type);
void toml_append(struct toml *parent, struct toml *child);
/* A new table in `parent`, or NULL with the reason. */
struct toml *toml_add_table(struct toml_reader *r, struct toml *parent, struct str key);

/* One key of a dotted one: bare or quoted. False: a fault. */
bool toml_read_key(struct toml_reader *r, struct str *key);
/* "key = value" into a table. False: a fault. */
bool toml_read_pair(struct toml_reader *r, struct toml *table);
/* A value, or NULL. */
struct toml *toml_read_value(struct toml_reader *r);
/* A text in quotes: at one of them. False: a fault. */
bool toml_read_text(struct toml_reader *r, bool may_span_lines, struct str *out);
