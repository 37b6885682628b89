/* Strict base64url. */
#include "auth/base64url.h"

#include <errno.h>

/* Value of each character plus one, so that 0 means: not in the alphabet. */
static const unsigned char values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int base64url_decode(struct str text, void *out, size_t *out_len)
{
    unsigned char *bytes = out;
    size_t count = 0;
    uint32_t bits = 0;
    unsigned filled = 0;
    if (text.len % 4 == 1)
        return -EINVAL;
    for (size_t i = 0; i < text.len; i++) {
        unsigned value = values[(unsigned char)text.ptr[i]];
        if (value == 0)
            return -EINVAL;
        bits = bits << 6 | (value - 1);
        filled += 6;
        if (filled >= 8) {
            filled -= 8;
            bytes[count++] = (unsigned char)(bits >> filled);
            bits &= (1u << filled) - 1;
        }
    }
    if (bits != 0)
        return -EINVAL;
    *out_len = count;
    return 0;
}

void base64url_encode(const void *bytes, size_t len, struct buf *out)
{
    const unsigned char *in = bytes;
    uint32_t bits = 0;
    unsigned filled = 0;
    if (len > SIZE_MAX / 2 || buf_reserve(out, len / 3 * 4 + 4) != 0) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (filled += 8; filled >= 6;) {
            filled -= 6;
            out->data[out->len++] = alphabet[bits >> filled & 63];
        }
        bits &= (1u << filled) - 1;
    }
    if (filled > 0)
        out->data[out->len++] = alphabet[bits << (6 - filled) & 63];
}
