/* Base64, strictly. */
#include "base/base64.h"

#include <errno.h>

static const char characters[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* Value of each character that both alphabets have, plus one: 0 means none. */
static const unsigned char values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62,
};

size_t base64_encode(struct str bytes, enum base64_alphabet alphabet, char *out)
{
    const char *letters = characters[alphabet];
    const char *start = out;
    const unsigned char *in = (const unsigned char *)bytes.ptr;
    uint32_t bits = 0;
    unsigned filled = 0;
    for (size_t i = 0; i < bytes.len; i++) {
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

static unsigned value_of(char c, enum base64_alphabet alphabet)
{
    unsigned value = values[(unsigned char)c];
    if (value != 0)
        return value;
    if (c == characters[alphabet][62])
        return 63;
    return c == characters[alphabet][63] ? 64 : 0;
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

static ptrdiff_t decode(struct str text, enum base64_alphabet alphabet, char *out, size_t *bad)
{
    const char *start = out;
    uint32_t bits = 0;
    unsigned filled = 0;
    for (size_t i = 0; i < text.len; i++) {
        *bad = i;
        unsigned value = value_of(text.ptr[i], alphabet);
        if (value == 0)
            return -EINVAL;
        bits = bits << 6 | (value - 1);
        filled += 6;
        if (filled >= 8) {
            filled -= 8;
            *out++ = (char)(bits >> filled & 0xff);
            bits &= (1u << filled) - 1;
        }
    }
    return bits == 0 && text.len % 4 != 1 ? out - start : -EINVAL;
}

ptrdiff_t base64_decode(struct str text, enum base64_alphabet alphabet, char *out, size_t *bad)
{
    size_t ignored = 0;
    bad = bad != NULL ? bad : &ignored;
    *bad = text.len > 0 ? text.len - 1 : 0;
    if (alphabet == BASE64_STANDARD && !strip_padding(&text))
        return -EINVAL;
    return decode(text, alphabet, out, bad);
}
