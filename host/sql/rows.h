/* Rows that a statement gave: cells in one buffer, their bytes in another. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum sql_type { SQL_NULL, SQL_INTEGER, SQL_FLOAT, SQL_BOOLEAN, SQL_TEXT, SQL_BYTES, SQL_JSON };

struct sql_value {
    enum sql_type type;
    int64_t integer; /* also of a boolean: 0, 1 */
    double number;
    struct str text; /* TEXT, BYTES, JSON */
};

struct sql_rows {
    unsigned columns;
    size_t count;      /* rows */
    uint64_t affected; /* rows that were written, or given */
    size_t limit;      /* bytes in all */
    struct buf names;  /* of the columns, each NUL-terminated */
    struct buf cells;  /* struct sql_cell, row after row */
    struct buf bytes;
};

/* Empty again; the limit stays, and the memory where it is little. */
void sql_rows_clear(struct sql_rows *rows);
void sql_rows_free(struct sql_rows *rows);

/* All names come before the first cell; cells come row by row. The value's text is copied. False:
 * over the limit, or out of memory. */
bool sql_rows_add_name(struct sql_rows *rows, struct str name);
bool sql_rows_add(struct sql_rows *rows, const struct sql_value *value);
void sql_rows_end_row(struct sql_rows *rows);

/* Good until rows are added. */
struct sql_value sql_rows_get(const struct sql_rows *rows, size_t row, unsigned column);
