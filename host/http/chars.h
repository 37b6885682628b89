/* What a byte may be part of, by the grammars of RFC 9110 and RFC 9112. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

enum {
    CHAR_TOKEN = 1,  /* field names, methods (RFC 9110 5.6.2) */
    CHAR_TARGET = 2, /* visible ASCII but '#': a fragment is never sent (RFC 9112 3.2) */
    CHAR_VALUE = 4,  /* field values: visible, space, tab, and bytes from 0x80 (RFC 9110 5.5) */
    CHAR_HOST = 8    /* names and IPv4 addresses: unreserved of RFC 3986; nobody needs the rest */
};

extern const uint8_t http_chars[256];

static inline bool http_char_is(char c, unsigned kind)
{
    return (http_chars[(unsigned char)c] & kind) != 0;
}

/* Eight bytes at once: true when all are surely of this kind; false decides nothing. In each sum
 * the highest bit of a byte comes up where that byte is out of its range. */
static inline bool http_char_is_eight(uint64_t w, unsigned kind)
{
    uint64_t lowest = kind == CHAR_TARGET ? STR_EACH_BYTE(0x21) : STR_EACH_BYTE(0x20);
    uint64_t odd =
        ((w - lowest) & ~w) | w | (w + STR_EACH_BYTE(0x01)); /* too low; from 0x80; 0x7f */
    if (kind == CHAR_TARGET) {
        uint64_t hash = w ^ STR_EACH_BYTE('#');
        odd |= (hash - STR_EACH_BYTE(0x01)) & ~hash;
    }
    return (odd & STR_EACH_BYTE(0x80)) == 0;
}

/* How many of the first bytes are of this kind. */
static inline size_t http_char_run(const char *p, const char *end, unsigned kind)
{
    const char *from = p;
    while (kind != CHAR_TOKEN && end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        if (!http_char_is_eight(word, kind))
            break;
        p += 8;
    }
    while (p < end && http_char_is(*p, kind))
        p++;
    return (size_t)(p - from);
}
