/* Base64 with the standard alphabet. */
#include "base/base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct str in, char *out)
{
    const unsigned char *p = (const unsigned char *)in.ptr;
    for (; in.len >= 3; in.len -= 3, p += 3) {
        *out++ = alphabet[p[0] >> 2];
        *out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *out++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        *out++ = alphabet[p[2] & 63];
    }
    if (in.len == 0)
        return;
    unsigned second = in.len == 2 ? p[1] : 0;
    *out++ = alphabet[p[0] >> 2];
    *out++ = alphabet[(p[0] & 3u) << 4 | second >> 4];
    *out++ = in.len == 2 ? alphabet[(second & 15) << 2] : '=';
    *out = '=';
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

long base64_decode(struct str in, char *out)
{
    size_t padding = 0;
    while (padding < 2 && in.len > padding && in.ptr[in.len - 1 - padding] == '=')
        padding++;
    if (padding > 0 && in.len % 4 != 0)
        return -EINVAL;
    in.len -= padding;
    if (in.len % 4 == 1)
        return -EINVAL;
    uint32_t bits = 0;
    unsigned count = 0;
    char *start = out;
    for (size_t i = 0; i < in.len; i++) {
        int value = value_of(in.ptr[i]);
        if (value < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *out++ = (char)(bits >> count & 0xff);
        }
    }
    return (bits & ((1u << count) - 1)) == 0 ? (long)(out - start) : -EINVAL;
}
