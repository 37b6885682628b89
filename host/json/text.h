/* What reading and writing JSON strings share: which bytes may be copied as they are. */
#pragma once

#include <stddef.h>

#include "base/str.h"

/* Bytes at the start of s that stand for themselves within a JSON string: ASCII but for quotes,
 * backslashes and control characters. */
size_t json_text_plain(struct str s);

/* Copies those bytes to `out`, which has room for all of s; returns how many they are. */
size_t json_text_copy(char *out, struct str s);

/* Length of the leading run of bytes over 0x7f; `*bad` is the offset of the first one that is not
 * part of well-formed UTF-8, or the length of the run. */
size_t json_text_wide(struct str s, size_t *bad);

/* Writes the character, up to four bytes; returns the end. */
char *json_text_put_utf8(char *out, unsigned c);
