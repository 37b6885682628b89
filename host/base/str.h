/* Slices: a pointer and a length, never NUL-terminated by contract.
 *
 * A `struct str` borrows its bytes; the struct that holds one says from whom and until when. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

/* A slice of a string literal. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* Arguments for printf's "%.*s". */
#define STR_ARG(s)   (int)(s).len, ((s).ptr != NULL ? (s).ptr : "")

static inline struct str str_from(const char *text)
{
    return (struct str){text, text != NULL ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_starts_with(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline struct str str_skip(struct str s, size_t count)
{
    return (struct str){s.ptr + count, s.len - count};
}

/* Copies the first `size` bytes to `out`, and skips them. False: there are fewer. */
static inline bool str_take(struct str *s, void *out, size_t size)
{
    if (s->len < size)
        return false;
    memcpy(out, s->ptr, size);
    *s = str_skip(*s, size);
    return true;
}

/* That byte in each of the eight of a uint64_t. */
#define STR_EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Equal without regard to the case of ASCII letters. Most others are told by their length. */
bool str_same_nocase(const char *a, const char *b, size_t len);

static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || str_same_nocase(a.ptr, b.ptr, a.len));
}

bool str_ends_with(struct str s, struct str suffix);

/* Index of the first `c`, or s.len. */
size_t str_find(struct str s, char c);

/* Index of the first `text`, or s.len; an empty one is nowhere. */
size_t str_find_text(struct str s, struct str text);

/* The order of bytes; a beginning comes before what it is the beginning of. */
bool str_is_before(struct str a, struct str b);

/* Without spaces and tabs at both ends. */
struct str str_trim(struct str s);

/* Takes the part before the next `separator` off the front of *rest. False when *rest was already
 * used up (its ptr is NULL then): "a,,b" gives "a", "", "b". */
bool str_split_next(struct str *rest, char separator, struct str *part);

/* How often `c` stands in it. */
size_t str_count(struct str s, char c);

/* `*` stands for any run of characters; everything else for itself. */
bool str_glob(struct str pattern, struct str text);

/* Decimal digits only, no sign, no overflow past `max`. 0, or -EINVAL / -ERANGE. */
int str_to_u64(struct str s, uint64_t max, uint64_t *out);

/* Sizes: digits, optionally followed by B, KB, MB or GB (1024-based, any case). 0 or -EINVAL. */
int str_to_size(struct str s, uint64_t *out);

/* Durations in text: "1h", "-10m", "30s", "250ms", or bare seconds with a fraction. Result in
 * seconds. 0 or -EINVAL. */
int str_to_seconds(struct str s, double *out);

/* 64-bit FNV-1a: for tables, not for secrets. */
uint64_t str_hash(struct str s);

/* Edit distance, for "did you mean"; inputs over 64 bytes count as far apart. */
unsigned str_distance(struct str a, struct str b);

/* Makes ASCII's letters small, in place. */
void str_lower(char *p, size_t len);

/* ASCII's letters and digits, whatever the locale. */
static inline bool str_is_alnum(char c)
{
    char lower = (char)(c | 0x20);
    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z');
}

/* Two hexadecimal digits a byte, and a NUL: `out` has room for 2 * len + 1. */
void str_write_hex(const unsigned char *bytes, size_t len, char *out);

/* A copy with a NUL behind it, to be freed; ptr NULL: out of memory. */
struct str str_copy(struct str s);

/* The value of a hexadecimal digit, or -1. */
static inline int str_hex_value(char c)
{
    char lower = (char)(c | 0x20);
    if (c >= '0' && c <= '9')
        return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Is this well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)? */
bool str_is_utf8(struct str s);
/* Bytes of the well-formed character at the front; 0: there is none. */
size_t str_utf8_length(struct str s);
/* Where there is none: the bytes that one U+FFFD stands for, at least 1 (WHATWG Encoding, as in
 * Node and browsers: as many as begin a character, else one). */
size_t str_utf8_broken(struct str s);
