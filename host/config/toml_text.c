/* TOML's texts in quotes, on one line and on many, with their escapes. */
#include "base/buf.h"
#include "config/toml_internal.h"

static void add_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_add_char(out, (char)c);
    } else if (c < 0x800) {
        buf_add_char(out, (char)(0xC0 | (c >> 6)));
        buf_add_char(out, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_add_char(out, (char)(0xE0 | (c >> 12)));
        buf_add_char(out, (char)(0x80 | ((c >> 6) & 0x3F)));
        buf_add_char(out, (char)(0x80 | (c & 0x3F)));
    } else {
        buf_add_char(out, (char)(0xF0 | (c >> 18)));
        buf_add_char(out, (char)(0x80 | ((c >> 12) & 0x3F)));
        buf_add_char(out, (char)(0x80 | ((c >> 6) & 0x3F)));
        buf_add_char(out, (char)(0x80 | (c & 0x3F)));
    }
}

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
    add_utf8(out, c);
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
        toml_take(r, 1);
        if (c == '\\' && quote == '"') {
            if (!add_escape(r, many, out))
                return false;
            continue;
        }
        r->line += c == '\n';
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
