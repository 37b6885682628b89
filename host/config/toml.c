/* TOML as a tree: lines, keys, tables. Values are in toml_value.c. */
#include "config/toml_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"

const char *toml_type_name(enum toml_type type)
{
    static const char *const names[] = {"table",  "list",    "text", "integer",
                                        "number", "boolean", "date"};
    return names[type];
}

struct toml *toml_fault(struct toml_reader *r, const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    (void)!err_set(r->err, -EINVAL, "%u: %s", r->line, message);
    return NULL;
}

struct toml *toml_node(struct toml_reader *r, enum toml_type type)
{
    if (++r->nodes > LIMIT_TOML_NODES)
        return toml_fault(r, "more than %d values", LIMIT_TOML_NODES);
    struct toml *node = arena_zalloc(r->arena, sizeof(*node));
    if (node == NULL)
        return toml_fault(r, "out of memory");
    node->type = type;
    node->line = r->line;
    return node;
}

void toml_append(struct toml *parent, struct toml *child)
{
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

struct toml *toml_get(const struct toml *table, struct str key)
{
    if (table == NULL || table->type != TOML_TABLE)
        return NULL;
    for (struct toml *node = table->first; node != NULL; node = node->next) {
        if (str_eq(node->key, key))
            return node;
    }
    return NULL;
}

/* ---- lines ---- */

void toml_skip_blanks(struct toml_reader *r)
{
    while (toml_peek(r) == ' ' || toml_peek(r) == '\t')
        toml_take(r, 1);
}

/* At a line end or the end of the text: takes it. False: there is something else. */
static bool take_line_end(struct toml_reader *r)
{
    if (r->rest.len == 0)
        return true;
    size_t len = str_starts_with(r->rest, STR("\r\n")) ? 2 : 1;
    if (r->rest.ptr[len - 1] != '\n')
        return false;
    toml_take(r, len);
    r->line++;
    return true;
}

static bool skip_comment(struct toml_reader *r)
{
    while (r->rest.len > 0 && toml_peek(r) != '\n' && !str_starts_with(r->rest, STR("\r\n"))) {
        char c = toml_peek(r);
        if ((c >= 0 && c < ' ' && c != '\t') || c == 0x7f)
            return toml_fault(r, "a control character in a comment") != NULL;
        toml_take(r, 1);
    }
    return true;
}

bool toml_skip_lines(struct toml_reader *r)
{
    for (;;) {
        toml_skip_blanks(r);
        if (toml_peek(r) == '#') {
            if (!skip_comment(r))
                return false;
        }
        if (r->rest.len == 0 || !take_line_end(r))
            return true;
    }
}

/* The rest of a line after what it says. */
static bool end_line(struct toml_reader *r)
{
    toml_skip_blanks(r);
    if (toml_peek(r) == '#' && !skip_comment(r))
        return false;
    return take_line_end(r) || toml_fault(r, "text after the end of what this line says") != NULL;
}

/* ---- keys ---- */

bool toml_read_key(struct toml_reader *r, struct str *key)
{
    if (toml_peek(r) == '"' || toml_peek(r) == '\'')
        return toml_read_text(r, false, key);
    size_t len = 0;
    while (len < r->rest.len) {
        char c = r->rest.ptr[len];
        if (!str_is_alnum(c) && c != '_' && c != '-')
            break;
        len++;
    }
    if (len == 0)
        return toml_fault(
                   r, "a key was expected: letters, digits, '_', '-', or a text in quotes") != NULL;
    *key = arena_copy(r->arena, (struct str){r->rest.ptr, len});
    toml_take(r, len);
    return key->ptr != NULL || toml_fault(r, "out of memory") != NULL;
}

static struct toml *add_table(struct toml_reader *r, struct toml *parent, struct str key)
{
    struct toml *table = toml_node(r, TOML_TABLE);
    if (table != NULL) {
        table->key = key;
        toml_append(parent, table);
    }
    return table;
}

/* A step of a dotted key before "=": only tables that were made that way, in this very place, can
 * be gone into. */
static struct toml *step_dotted(struct toml_reader *r, struct toml *table, struct str key)
{
    struct toml *found = toml_get(table, key);
    if (found == NULL) {
        found = add_table(r, table, key);
        if (found != NULL)
            found->is_dotted = true;
        return found;
    }
    if (found->type != TOML_TABLE || found->is_closed || !found->is_dotted)
        return toml_fault(r, "'%.*s' cannot be added to here", STR_ARG(key));
    return found;
}

bool toml_read_pair(struct toml_reader *r, struct toml *table)
{
    struct str key = {NULL, 0};
    for (unsigned depth = 0;; depth++) {
        if (depth > LIMIT_TOML_DEPTH)
            return toml_fault(r, "too many dots in a key") != NULL;
        if (!toml_read_key(r, &key))
            return false;
        toml_skip_blanks(r);
        if (toml_peek(r) != '.')
            break;
        toml_take(r, 1);
        toml_skip_blanks(r);
        table = step_dotted(r, table, key);
        if (table == NULL)
            return false;
    }
    if (toml_peek(r) != '=')
        return toml_fault(r, "'=' was expected after the key '%.*s'", STR_ARG(key)) != NULL;
    if (toml_get(table, key) != NULL)
        return toml_fault(r, "the key '%.*s' is given twice", STR_ARG(key)) != NULL;
    toml_take(r, 1);
    toml_skip_blanks(r);
    struct toml *value = toml_read_value(r);
    if (value == NULL)
        return false;
    value->key = key;
    toml_append(table, value);
    return true;
}

/* ---- [headers] ---- */

/* A step of a header before its last key. */
static struct toml *step_header(struct toml_reader *r, struct toml *table, struct str key)
{
    struct toml *found = toml_get(table, key);
    if (found == NULL)
        return add_table(r, table, key);
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
        found = add_table(r, parent, key);
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
        if (table != NULL && !end_line(&r))
            return NULL;
    }
    return NULL;
}
