/* TOML 1.0 as a tree: what netlify.toml is read with (share/toml.lua).
 *
 * Strict: a key given twice, a table that is opened twice, bad escapes, bare carriage returns, text
 * that is not UTF-8 and the like are refused, with the line. Everything lives in the arena. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum toml_type {
    TOML_TABLE,
    TOML_ARRAY,
    TOML_TEXT,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOLEAN,
    TOML_DATE /* kept as text; its shape is checked, and that the numbers are possible */
};

struct toml {
    enum toml_type type;
    unsigned line;             /* where it was written; a table's: its header, or its first key */
    struct str key;            /* in its table; empty in an array */
    struct toml *next;         /* the one after it in its table or array */
    struct toml *first, *last; /* of a table or an array */
    struct str text;           /* of a text or a date; NUL-terminated */
    int64_t integer;
    double number; /* of a float; of an integer, too */
    bool boolean;
};

/* The root table, or NULL with "LINE: what is wrong" (err->text begins with the number). */
struct toml *toml_parse(struct arena *arena, struct str text, struct err *err);

/* The member of a table, or NULL: not there, or `table` is NULL or no table. */
struct toml *toml_get(const struct toml *table, struct str key);
