/* Base64, strictly. */
#include "base/base64.h"

#include <errno.h>

static const char characters[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

#define COMMON_VALUES                                                                              \
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,        \
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, \
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23,            \
    ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,            \
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37,            \
    ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,            \
    ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51,            \
    ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58,            \
    ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62

/* Value of each character, plus one: 0 means none. */
static const unsigned char values[2][256] = {
    {COMMON_VALUES, ['+'] = 63, ['/'] = 64},
    {COMMON_VALUES, ['-'] = 63, ['_'] = 64},
};

size_t base64_encode(struct str bytes, enum base64_alphabet alphabet, char *out)
{
    const char *letters = characters[alphabet];
    const char *start = out;
    const unsigned char *in = (const unsigned char *)bytes.ptr;
    uint32_t bits = 0;
    unsigned filled = 0;
    size_t i = 0;
    for (; bytes.len - i >= 3; i += 3) { /* whole groups; what is left goes bit by bit */
        uint32_t group = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *out++ = letters[group >> 18];
        *out++ = letters[group >> 12 & 63];
        *out++ = letters[group >> 6 & 63];
        *out++ = letters[group & 63];
    }
    for (; i < bytes.len; i++) {
        bits = bits << 8 | in[i];
        for (filled += 8; filled >= 6;) {
            filled -= 6;
            *out++ = letters[bits >> filled & 63];
        }
        bits &= (1u << filled) - 1;
    }
    if (filled > 0)
        *out++ = letters[bits << (6 - filled) & 63];
    while (alphabet == BASE64_STANDARD && (out - start) % 4 != 0)
        *out++ = '=';
    return (size_t)(out - start);
}

/* Takes the padding off. False when it does not fit the length. */
static bool strip_padding(struct str *text)
{
    size_t padding = 0;
    while (padding < 2 && padding < text->len && text->ptr[text->len - 1 - padding] == '=')
        padding++;
    if (padding > 0 && text->len % 4 != 0)
        return false;
    text->len -= padding;
    return true;
}

/* Four characters as three bytes. False when one of them is none of the alphabet's. */
static inline bool decode_group(const unsigned char *in, const unsigned char *value, char *out)
{
    /* 0 - 1 sets all high bits, which no other value reaches. */
    uint32_t a = value[in[0]] - 1u, b = value[in[1]] - 1u;
    uint32_t c = value[in[2]] - 1u, d = value[in[3]] - 1u;
    if ((a | b | c | d) > 63)
        return false;
    uint32_t group = a << 18 | b << 12 | c << 6 | d;
    out[0] = (char)(group >> 16);
    out[1] = (char)(group >> 8 & 0xff);
    out[2] = (char)(group & 0xff);
    return true;
}

/* Bits that have been read, and not yet written. */
struct rest {
    uint32_t bits;
    unsigned filled;
};

/* Six more of them; writes a byte when one is whole. Gives where the next goes. */
static char *add_six(struct rest *rest, unsigned value, char *out)
{
    rest->bits = rest->bits << 6 | value;
    rest->filled += 6;
    if (rest->filled >= 8) {
        rest->filled -= 8;
        *out++ = (char)(rest->bits >> rest->filled & 0xff);
        rest->bits &= (1u << rest->filled) - 1;
    }
    return out;
}

static ptrdiff_t decode(struct str text, const unsigned char *value, char *out, size_t *bad)
{
    const char *start = out;
    const unsigned char *in = (const unsigned char *)text.ptr;
    struct rest rest = {0, 0};
    size_t i = 0;
    for (; text.len - i >= 4 && decode_group(in + i, value, out); i += 4)
        out += 3;
    for (; i < text.len; i++) {
        *bad = i;
        if (value[in[i]] == 0)
            return -EINVAL;
        out = add_six(&rest, value[in[i]] - 1u, out);
    }
    return rest.bits == 0 && text.len % 4 != 1 ? out - start : -EINVAL;
}

ptrdiff_t base64_decode(struct str text, enum base64_alphabet alphabet, char *out, size_t *bad)
{
    size_t ignored = 0;
    bad = bad != NULL ? bad : &ignored;
    *bad = text.len > 0 ? text.len - 1 : 0;
    if (alphabet == BASE64_STANDARD && !strip_padding(&text))
        return -EINVAL;
    return decode(text, values[alphabet], out, bad);
}

size_t base64_decode_loosely(struct str text, char *out)
{
    ptrdiff_t len = base64_decode(text, BASE64_STANDARD, out, NULL);
    if (len >= 0)
        return (size_t)len;
    const char *start = out;
    struct rest rest = {0, 0};
    for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        unsigned value = values[BASE64_STANDARD][c];
        value = value != 0 ? value : values[BASE64_URL][c];
        if (value != 0)
            out = add_six(&rest, value - 1, out);
    }
    return (size_t)(out - start);
}
