/* A growing byte buffer with a sticky failure.
 *
 * Appends need no check each: after the first one that cannot be done the buffer ignores the rest,
 * and buf_failed() tells once at the end. Limits on growth belong to the caller. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
    char *data; /* owned; NULL while nothing was added */
    size_t len;
    size_t cap;
    bool failed;
};

#define BUF_INIT ((struct buf){0})

static inline bool buf_failed(const struct buf *buf)
{
    return buf->failed;
}

static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->data, buf->len};
}

/* Makes room for `extra` more bytes, however little there is. */
int buf_grow(struct buf *buf, size_t extra);

/* Makes room for `extra` more bytes. 0 or -ENOMEM (the buffer has failed then). */
static inline int buf_reserve(struct buf *buf, size_t extra)
{
    return !buf->failed && extra <= buf->cap - buf->len ? 0 : buf_grow(buf, extra);
}

static inline void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0 || buf_reserve(buf, len) != 0)
        return;
    memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
}

static inline void buf_add_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.ptr, s.len);
}

static inline void buf_add_char(struct buf *buf, char c)
{
    if (buf_reserve(buf, 1) == 0)
        buf->data[buf->len++] = c;
}

void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The number that is `value` over ten to the `decimals`, with so many digits behind a point; none:
 * a whole number. */
void buf_add_decimal(struct buf *buf, bool negative, uint64_t value, int decimals);
void buf_add_integer(struct buf *buf, int64_t value);
/* The shortest form that reads back the same; `value` must be finite. Whole numbers below 2^53 have
 * no fraction, as in JavaScript; minus zero is "-0". */
void buf_add_float(struct buf *buf, double value);

/* The text as a JSON string in quotes: control characters, quotes and backslashes escaped, bytes
 * that are not UTF-8 replaced by U+FFFD. Safe to put into any JSON document. */
void buf_add_json(struct buf *buf, struct str s);
/* One character below 0x80 as it is escaped in such a string. */
void buf_add_json_escape(struct buf *buf, unsigned char c);

/* Drops the first `count` bytes. */
void buf_consume(struct buf *buf, size_t count);

/* Empty again; keeps the memory. */
static inline void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

void buf_free(struct buf *buf);
