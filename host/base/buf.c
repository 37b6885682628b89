/* A growing byte buffer with a sticky failure. */
#include "base/buf.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int buf_grow(struct buf *buf, size_t extra)
{
    if (buf->failed)
        return -ENOMEM;
    size_t cap = buf->cap < 256 ? 256 : buf->cap;
    while (cap - buf->len < extra) {
        if (cap > SIZE_MAX / 4) {
            buf->failed = true;
            return -ENOMEM;
        }
        cap *= 2;
    }
    char *data = realloc(buf->data, cap);
    if (data == NULL) {
        buf->failed = true;
        return -ENOMEM;
    }
    buf->data = data;
    buf->cap = cap;
    return 0;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        buf->failed = true;
        return;
    }
    if (buf_reserve(buf, (size_t)len + 1) != 0)
        return;
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

void buf_add_decimal(struct buf *buf, bool negative, uint64_t value, int decimals)
{
    char text[32];
    char *end = text + sizeof(text);
    char *p = end;
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
        if (--decimals == 0)
            *--p = '.';
    } while (value > 0 || decimals >= 0);
    if (negative)
        *--p = '-';
    buf_add(buf, p, (size_t)(end - p));
}

void buf_add_integer(struct buf *buf, int64_t value)
{
    uint64_t magnitude = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
    buf_add_decimal(buf, value < 0, magnitude, 0);
}

/* Numbers of at most 15 digits and few decimals, which is nearly all: `digits` and the power of ten
 * are exact, so their quotient is the double that the text stands for. */
static bool add_short_float(struct buf *out, double value)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    double magnitude = fabs(value);
    for (int decimals = 1; decimals <= 6; decimals++) {
        double digits = rint(magnitude * powers[decimals]);
        if (digits >= 1e15)
            return false;
        if (digits / powers[decimals] == magnitude) {
            buf_add_decimal(out, value < 0, (uint64_t)digits, decimals);
            return true;
        }
    }
    return false;
}

void buf_add_float(struct buf *out, double value)
{
    bool negative_zero = value == 0 && signbit(value);
    if (fabs(value) < 9007199254740992.0 && floor(value) == value && !negative_zero) {
        buf_add_integer(out, (int64_t)value);
        return;
    }
    if (!negative_zero && add_short_float(out, value))
        return;
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_add_str(out, str_from(text));
}

void buf_add_json_escape(struct buf *buf, unsigned char c)
{
    static const char names[] = "btn?fr"; /* 0x08 to 0x0d; \v has no short form in JSON */
    if (c == '"' || c == '\\') {
        buf_add(buf, (const char[]){'\\', (char)c}, 2);
    } else if (c >= 0x08 && c <= 0x0d && c != 0x0b) {
        buf_add(buf, (const char[]){'\\', names[c - 0x08]}, 2);
    } else {
        static const char hex[] = "0123456789abcdef";
        buf_add(buf, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
}

void buf_add_json(struct buf *buf, struct str s)
{
    buf_add_char(buf, '"');
    while (s.len > 0) {
        size_t plain = 0;
        while (plain < s.len) {
            unsigned char c = (unsigned char)s.ptr[plain];
            if (c < 0x20 || c == '"' || c == '\\' || c >= 0x7f)
                break;
            plain++;
        }
        buf_add(buf, s.ptr, plain);
        s = str_skip(s, plain);
        if (s.len == 0)
            break;
        unsigned char c = (unsigned char)s.ptr[0];
        size_t used = 1;
        if (c < 0x80) {
            buf_add_json_escape(buf, c);
        } else if ((used = str_utf8_length(s)) > 0) {
            buf_add(buf, s.ptr, used);
        } else {
            used = 1;
            buf_add(buf, "\xef\xbf\xbd", 3);
        }
        s = str_skip(s, used);
    }
    buf_add_char(buf, '"');
}

void buf_consume(struct buf *buf, size_t count)
{
    buf->len -= count;
    if (buf->len > 0 && count > 0)
        memmove(buf->data, buf->data + count, buf->len);
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = BUF_INIT;
}
