/* TOML as a tree: lines and tables. Keys and values are in toml_value.c. */
#include "config/toml_internal.h"

#include "base/limits.h"

/* ---- [headers] ---- */

/* A step of a header before its last key. */
static struct toml *step_header(struct toml_reader *r, struct toml *table, struct str key)
{
    struct toml *found = toml_get(table, key);
    if (found == NULL)
        return toml_add_table(r, table, key);
    if (found->type == TOML_ARRAY && found->is_list)
        return found->last;
    if (found->type != TOML_TABLE || found->is_closed)
        return toml_fault(r, "'%.*s' is not a table that can be added to", STR_ARG(key));
    return found;
}

/* [table] */
static struct toml *open_table(struct toml_reader *r, struct toml *parent, struct str key)
{
    struct toml *found = toml_get(parent, key);
    if (found == NULL)
        found = toml_add_table(r, parent, key);
    else if (found->type != TOML_TABLE || found->is_closed || found->is_header || found->is_dotted)
        return toml_fault(r, "'%.*s' is given twice", STR_ARG(key));
    if (found != NULL) {
        found->is_header = true;
        found->line = r->line;
    }
    return found;
}

/* [[table]] */
static struct toml *open_item(struct toml_reader *r, struct toml *parent, struct str key)
{
    struct toml *list = toml_get(parent, key);
    if (list != NULL && !list->is_list)
        return toml_fault(r, "'%.*s' is given twice", STR_ARG(key));
    if (list == NULL) {
        list = toml_node(r, TOML_ARRAY);
        if (list == NULL)
            return NULL;
        list->key = key;
        list->is_list = true;
        toml_append(parent, list);
    }
    struct toml *item = toml_node(r, TOML_TABLE);
    if (item != NULL) {
        item->is_header = true;
        toml_append(list, item);
    }
    return item;
}

/* At '['. The table that the lines below belong to. */
static struct toml *read_header(struct toml_reader *r, struct toml *table)
{
    bool item = str_starts_with(r->rest, STR("[["));
    struct str key = {NULL, 0};
    toml_take(r, item ? 2 : 1);
    for (unsigned depth = 0;; depth++) {
        toml_skip_blanks(r);
        if (depth > LIMIT_TOML_DEPTH)
            return toml_fault(r, "too many dots in a table's name");
        if (!toml_read_key(r, &key))
            return NULL;
        toml_skip_blanks(r);
        if (toml_peek(r) != '.')
            break;
        toml_take(r, 1);
        table = step_header(r, table, key);
        if (table == NULL)
            return NULL;
    }
    if (!str_starts_with(r->rest, item ? STR("]]") : STR("]")))
        return toml_fault(r, "'%s' was expected after the table's name", item ? "]]" : "]");
    toml_take(r, item ? 2 : 1);
    return item ? open_item(r, table, key) : open_table(r, table, key);
}

struct toml *toml_parse(struct arena *arena, struct str text, struct err *err)
{
    struct toml_reader r = {.arena = arena, .rest = text, .line = 1, .err = err};
    if (str_starts_with(r.rest, STR("\xEF\xBB\xBF")))
        toml_take(&r, 3);
    if (!str_is_utf8(text))
        return toml_fault(&r, "the file is not UTF-8");
    struct toml *root = toml_node(&r, TOML_TABLE), *table = root;
    while (table != NULL) {
        if (!toml_skip_lines(&r))
            return NULL;
        if (r.rest.len == 0)
            return root;
        if (toml_peek(&r) == '[')
            table = read_header(&r, root);
        else if (!toml_read_pair(&r, table))
            return NULL;
        if (table != NULL && !toml_end_line(&r))
            return NULL;
    }
    return NULL;
}
