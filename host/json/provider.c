/* A provider's JSON: what jansson would not take is put into words that it does, then it reads. */
#include "json/provider.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "json/strict.h"
#include "base/buf.h"

static const struct str REPLACEMENT = {"\xef\xbf\xbd", 3};

/* The four digits of an escape \uXXXX at the front, or -1. */
static int escaped_unit(struct str s)
{
    int unit = 0;
    if (!str_starts_with(s, STR("\\u")) || s.len < 6)
        return -1;
    for (size_t i = 2; i < 6; i++) {
        int digit = str_hex_value(s.ptr[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_low_surrogate(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* An escape; returns how much of `s` it took. What is no escape is left for the parser to refuse.
 */
static size_t copy_escape(struct str s, struct buf *out)
{
    int unit = escaped_unit(s);
    size_t len = unit >= 0 ? 6 : s.len < 2 ? s.len : 2;
    bool pair =
        unit >= 0xd800 && unit <= 0xdbff && is_low_surrogate(escaped_unit(str_skip(s, len)));
    if (unit == 0 || (!pair && unit >= 0xd800 && unit <= 0xdfff)) {
        buf_add_str(out, REPLACEMENT);
        return len;
    }
    len = pair ? 2 * len : len;
    buf_add(out, s.ptr, len);
    return len;
}

/* A character of a string. */
static size_t copy_character(struct str s, struct buf *out)
{
    if (*s.ptr == '\\')
        return copy_escape(s, out);
    size_t len = str_utf8_length(s);
    buf_add_str(out, len > 0 ? (struct str){s.ptr, len} : REPLACEMENT);
    return len > 0 ? len : 1;
}

/* What may belong to a number, from a digit on. */
static size_t copy_number(struct str s, struct buf *out)
{
    static const char largest[] = "1e308";
    size_t len = 1, start = out->len;
    while (len < s.len && ((s.ptr[len] >= '0' && s.ptr[len] <= '9') ||
                           (s.ptr[len] != '\0' && strchr(".eE+-", s.ptr[len]) != NULL)))
        len++;
    buf_add(out, s.ptr, len);
    buf_add_char(out, '\0');
    if (buf_failed(out))
        return len;
    char *end;
    double value = strtod(out->data + start, &end);
    bool beyond = isinf(value) && *end == '\0';
    out->len = start + (beyond ? 0 : len);
    if (beyond)
        buf_add_str(out, STR(largest));
    return len;
}

static void mend(struct str text, struct buf *out)
{
    bool quoted = false;
    while (text.len > 0) {
        char c = *text.ptr;
        size_t taken = 1;
        if (c == '"')
            quoted = !quoted;
        if (c != '"' && quoted)
            taken = copy_character(text, out);
        else if (c >= '0' && c <= '9' && !quoted)
            taken = copy_number(text, out);
        else
            buf_add_char(out, c);
        text = str_skip(text, taken);
    }
}

json_t *provider_json_load(struct str text, const char **why)
{
    static const struct str mark = {"\xef\xbb\xbf", 3};
    struct buf mended = BUF_INIT;
    mend(str_starts_with(text, mark) ? str_skip(text, mark.len) : text, &mended);
    bool failed = buf_failed(&mended);
    if (failed)
        *why = "out of memory";
    json_t *value = failed ? NULL : strict_json_load_wide(buf_str(&mended), 0, why);
    int code = failed ? ENOMEM : errno;
    buf_free(&mended);
    errno = code;
    return value;
}
