/* What reading and writing JSON strings share: which bytes may be copied as they are. */
#include "bindings/json_text.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define EVERY(byte) (UINT64_C(0x0101010101010101) * (byte))

/* High bits mark the bytes of a word that end a plain run. A mark above the lowest one may be wrong
 * (a borrow runs upwards). */
static uint64_t special_bytes(uint64_t word)
{
    uint64_t quote = word ^ EVERY(0x22);
    uint64_t slash = word ^ EVERY(0x5c);
    return (word | (word - EVERY(0x20)) | (quote - EVERY(0x01)) | (slash - EVERY(0x01))) &
           EVERY(0x80);
}

size_t json_text_plain(struct str s)
{
    size_t i = 0;
    while (s.len - i >= 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, 8);
        uint64_t marks =
            special_bytes(le64toh(word)); /* the first byte of the text is the lowest */
        if (marks != 0)
            return i + (size_t)__builtin_ctzll(marks) / 8;
        i += 8;
    }
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80)
            break;
        i++;
    }
    return i;
}

/* A run of wide bytes is well-formed exactly when the whole text's part is: ASCII ends every
 * sequence. */
size_t json_text_wide(struct str s, size_t *bad)
{
    size_t run = 0;
    while (run < s.len && (unsigned char)s.ptr[run] >= 0x80)
        run++;
    *bad = run;
    if (str_is_utf8((struct str){s.ptr, run}))
        return run;
    size_t good = 0;
    for (size_t len = 2; len <= 4 && good + len <= run;) {
        if (str_is_utf8((struct str){s.ptr + good, len})) {
            good += len;
            len = 2;
        } else {
            len++;
        }
    }
    *bad = good;
    return run;
}

char *json_text_put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (c & 0x3f));
    return out;
}
