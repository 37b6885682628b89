#include "sql/rows.h"

#include <string.h>

#include "base/limits.h"

struct sql_cell {
    enum sql_type type;
    union {
        int64_t integer;
        double number;
        size_t at; /* of its text in `bytes` */
    } as;
    size_t len;
};

static void empty(struct buf *buf)
{
    if (buf->cap > LIMIT_SQL_SPARE_BYTES)
        buf_free(buf);
    buf_clear(buf);
}

void sql_rows_clear(struct sql_rows *rows)
{
    empty(&rows->names);
    empty(&rows->cells);
    empty(&rows->bytes);
    rows->columns = 0;
    rows->count = 0;
    rows->affected = 0;
}

void sql_rows_free(struct sql_rows *rows)
{
    buf_free(&rows->names);
    buf_free(&rows->cells);
    buf_free(&rows->bytes);
    *rows = (struct sql_rows){0};
}

static bool fits(const struct sql_rows *rows)
{
    return !buf_failed(&rows->names) && !buf_failed(&rows->cells) && !buf_failed(&rows->bytes) &&
           rows->names.len + rows->cells.len + rows->bytes.len <= rows->limit;
}

bool sql_rows_add_name(struct sql_rows *rows, struct str name)
{
    rows->columns++;
    buf_add_str(&rows->names, name);
    buf_add_char(&rows->names, '\0');
    return fits(rows);
}

bool sql_rows_add(struct sql_rows *rows, const struct sql_value *value)
{
    struct sql_cell cell = {.type = value->type, .len = value->text.len};
    if (value->type == SQL_FLOAT)
        cell.as.number = value->number;
    else if (value->type == SQL_INTEGER || value->type == SQL_BOOLEAN)
        cell.as.integer = value->integer;
    else
        cell.as.at = rows->bytes.len;
    if (value->type >= SQL_TEXT)
        buf_add_str(&rows->bytes, value->text);
    buf_add(&rows->cells, &cell, sizeof(cell));
    return fits(rows);
}

void sql_rows_end_row(struct sql_rows *rows)
{
    rows->count++;
}

struct sql_value sql_rows_get(const struct sql_rows *rows, size_t row, unsigned column)
{
    struct sql_cell cell;
    struct sql_value value = {0};
    memcpy(&cell, rows->cells.data + (row * rows->columns + column) * sizeof(cell), sizeof(cell));
    value.type = cell.type;
    if (cell.type == SQL_FLOAT)
        value.number = cell.as.number;
    else if (cell.type == SQL_INTEGER || cell.type == SQL_BOOLEAN)
        value.integer = cell.as.integer;
    else if (cell.type >= SQL_TEXT)
        value.text = (struct str){cell.len > 0 ? rows->bytes.data + cell.as.at : "", cell.len};
    return value;
}
