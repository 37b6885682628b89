/* What a byte may be part of, by the grammars of RFC 9110 and RFC 9112. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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
