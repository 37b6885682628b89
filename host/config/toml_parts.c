/* What the reader of lines and that of values share: nodes, faults, blanks, and texts in quotes, on
 * one line and on many, with their escapes. */
#include "config/toml_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/limits.h"
#include "json/text.h"

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

struct toml *toml_add_table(struct toml_reader *r, struct toml *parent, struct str key)
{
    struct toml *table = toml_node(r, TOML_TABLE);
    if (table != NULL) {
        table->key = key;
        toml_append(parent, table);
    }
    return table;
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
bool toml_end_line(struct toml_reader *r)
{
    toml_skip_blanks(r);
    if (toml_peek(r) == '#' && !skip_comment(r))
        return false;
    return take_line_end(r) || toml_fault(r, "text after the end of what this line says") != NULL;
}

/* ---- texts ---- */

/* \u and \U: after the letter. */
static bool add_unicode(struct toml_reader *r, unsigned digits, struct buf *out)
{
    uint32_t c = 0;
    for (unsigned i = 0; i < digits; i++) {
        int digit = r->rest.len > i ? str_hex_value(r->rest.ptr[i]) : -1;
        if (digit < 0)
            return toml_fault(r, "an escape needs %u hexadecimal digits", digits) != NULL;
        c = c << 4 | (uint32_t)digit;
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return toml_fault(r, "an escape that is no character") != NULL;
    toml_take(r, digits);
    char bytes[4];
    const char *end = json_text_put_utf8(bytes, c);
    buf_add(out, bytes, (size_t)(end - bytes));
    return true;
}

/* A backslash at the end of a line, in a text of several lines: blanks to the next word are
 * dropped.
 */
static bool skip_continuation(struct toml_reader *r)
{
    struct str rest = r->rest;
    while (rest.len > 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t'))
        rest = str_skip(rest, 1);
    if (!str_starts_with(rest, STR("\n")) && !str_starts_with(rest, STR("\r\n")))
        return false;
    while (r->rest.len > 0 && strchr(" \t\r\n", toml_peek(r)) != NULL) {
        r->line += toml_peek(r) == '\n';
        toml_take(r, 1);
    }
    return true;
}

/* After a backslash. */
static bool add_escape(struct toml_reader *r, bool many, struct buf *out)
{
    static const char letters[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
    if (many && skip_continuation(r))
        return true;
    char c = toml_peek(r);
    const char *known = c != '\0' ? strchr(letters, c) : NULL;
    if (known == NULL && c != 'u' && c != 'U')
        return toml_fault(r, "an unknown escape; write \\\\ for a backslash") != NULL;
    toml_take(r, 1);
    if (known == NULL)
        return add_unicode(r, c == 'u' ? 4 : 8, out);
    buf_add_char(out, values[known - letters]);
    return true;
}

/* Takes the quotes that end the text, if they are next: up to two more belong to the text itself.
 */
static bool take_end(struct toml_reader *r, char quote, bool many, struct buf *out)
{
    size_t run = 0;
    while (run < r->rest.len && run < 5 && r->rest.ptr[run] == quote)
        run++;
    if (run == 0 || (many && run < 3))
        return false;
    for (size_t i = 3; many && i < run; i++)
        buf_add_char(out, quote);
    toml_take(r, many ? run : 1);
    return true;
}

/* Up to the closing quotes, which are taken. */
static bool read_quoted(struct toml_reader *r, char quote, bool many, struct buf *out)
{
    while (!take_end(r, quote, many, out)) {
        char c = toml_peek(r);
        bool end = c == '\n' || str_starts_with(r->rest, STR("\r\n"));
        if (r->rest.len == 0 || (end && !many))
            return toml_fault(r, "the quote is never closed") != NULL;
        if (!end && ((c >= 0 && c < ' ' && c != '\t') || c == 0x7f))
            return toml_fault(r, "a control character in a text; write it as an escape") != NULL;
        toml_take(r, end && c == '\r' ? 2 : 1);
        if (end) { /* whatever the file's line ends are, a text has its own */
            r->line++;
            buf_add_char(out, '\n');
            continue;
        }
        if (c == '\\' && quote == '"') {
            if (!add_escape(r, many, out))
                return false;
            continue;
        }
        buf_add_char(out, c);
    }
    return true;
}

bool toml_read_text(struct toml_reader *r, bool may_span_lines, struct str *out)
{
    char quote = toml_peek(r);
    bool many = str_starts_with(r->rest, quote == '"' ? STR("\"\"\"") : STR("'''"));
    if (many && !may_span_lines)
        return toml_fault(r, "a key cannot span lines") != NULL;
    toml_take(r, many ? 3 : 1);
    if (many) { /* a line end right after the quotes is not part of it */
        size_t len = str_starts_with(r->rest, STR("\r\n")) ? 2 : toml_peek(r) == '\n' ? 1 : 0;
        toml_take(r, len);
        r->line += len > 0;
    }
    struct buf text = BUF_INIT;
    bool good = read_quoted(r, quote, many, &text);
    if (good) {
        *out = arena_copy(r->arena, buf_str(&text));
        good = (!buf_failed(&text) && out->ptr != NULL) || toml_fault(r, "out of memory") != NULL;
    }
    buf_free(&text);
    return good;
}
