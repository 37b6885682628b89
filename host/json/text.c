/* What reading and writing JSON strings share: which bytes may be copied as they are. */
#include "json/text.h"

#include <stdint.h>
#include <string.h>

#include "json/block.h"

static bool is_special(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\' || (unsigned char)c >= 0x80;
}

size_t json_text_plain(struct str s)
{
    size_t i = 0;
    while (s.len - i >= BLOCK) {
        uint64_t marks = block_special(s.ptr + i);
        if (marks != 0)
            return i + block_first(marks);
        i += BLOCK;
    }
    while (i < s.len && !is_special(s.ptr[i]))
        i++;
    return i;
}

/* A block at a time; the last one begins within the one before. */
static size_t copy_long(char *out, struct str s)
{
    for (size_t i = 0;; i = i + 2 * BLOCK > s.len ? s.len - BLOCK : i + BLOCK) {
        uint64_t marks = block_special(s.ptr + i);
        memcpy(out + i, s.ptr + i, BLOCK);
        if (marks != 0)
            return i + block_first(marks);
        if (i + BLOCK == s.len)
            return s.len;
    }
}

/* 8 bytes up to a block, as two words that overlap. */
static size_t copy_words(char *out, struct str s)
{
    for (size_t i = 0;; i = s.len - 8) {
        uint64_t marks = block_special_word(block_word(s.ptr + i));
        memcpy(out + i, s.ptr + i, 8);
        if (marks != 0)
            return i + (size_t)__builtin_ctzll(marks) / 8;
        if (i + 8 == s.len)
            return s.len;
    }
}

/* 4 to 7 bytes, all of them plain: copies them, as two halves that overlap. */
static bool copy_short(char *out, struct str s)
{
    uint32_t low, high;
    memcpy(&low, s.ptr, 4);
    memcpy(&high, s.ptr + s.len - 4, 4);
    if (block_special_word((uint64_t)high << 32 | low) != 0)
        return false;
    memcpy(out, &low, 4);
    memcpy(out + s.len - 4, &high, 4);
    return true;
}

size_t json_text_copy(char *out, struct str s)
{
    size_t i = 0;
    if (s.len >= BLOCK)
        return copy_long(out, s);
    if (s.len >= 8)
        return copy_words(out, s);
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
