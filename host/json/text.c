/* What reading and writing JSON strings share: which bytes may be copied as they are. */
#include "json/text.h"

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

static uint64_t word_at(const char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return le64toh(word); /* the first byte of the text is the lowest */
}

static bool is_special(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\' || (unsigned char)c >= 0x80;
}

size_t json_text_plain(struct str s)
{
    size_t i = 0;
    while (s.len - i >= 8) {
        uint64_t marks = special_bytes(word_at(s.ptr + i));
        if (marks != 0)
            return i + (size_t)__builtin_ctzll(marks) / 8;
        i += 8;
    }
    while (i < s.len && !is_special(s.ptr[i]))
        i++;
    return i;
}

/* 4 to 7 bytes, all of them plain: copies them, as two halves that overlap. */
static bool copy_short(char *out, struct str s)
{
    uint32_t low, high;
    memcpy(&low, s.ptr, 4);
    memcpy(&high, s.ptr + s.len - 4, 4);
    if (special_bytes((uint64_t)high << 32 | low) != 0)
        return false;
    memcpy(out, &low, 4);
    memcpy(out + s.len - 4, &high, 4);
    return true;
}

/* A word at a time; the last one begins within the one before. */
static size_t copy_long(char *out, struct str s)
{
    for (size_t i = 0;; i = i + 16 > s.len ? s.len - 8 : i + 8) {
        uint64_t marks = special_bytes(word_at(s.ptr + i));
        memcpy(out + i, s.ptr + i, 8);
        if (marks != 0)
            return i + (size_t)__builtin_ctzll(marks) / 8;
        if (i + 8 == s.len)
            return s.len;
    }
}

size_t json_text_copy(char *out, struct str s)
{
    size_t i = 0;
    if (s.len >= 8)
        return copy_long(out, s);
    if (s.len >= 4 && copy_short(out, s))
        return s.len;
    for (; i < s.len && !is_special(s.ptr[i]); i++)
        out[i] = s.ptr[i];
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
