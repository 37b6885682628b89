/* Slices: comparison, splitting, numbers. Nothing but str_copy allocates. */
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The letters among eight bytes are those whose sum comes up to 0x80 from 'A' on, but not from
 * behind 'Z' on. */
static uint64_t lower_eight(uint64_t w)
{
    uint64_t low = w & STR_EACH_BYTE(0x7f);
    uint64_t from_a = low + STR_EACH_BYTE(0x80 - 'A'), behind_z = low + STR_EACH_BYTE(0x7f - 'Z');
    return w | ((from_a ^ behind_z) & ~w & STR_EACH_BYTE(0x80)) >> 2;
}

/* Eight bytes of each. */
static bool same_eight_nocase(const char *a, const char *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x == y || lower_eight(x) == lower_eight(y);
}

bool str_same_nocase(const char *a, const char *b, size_t len)
{
    /* letters differ in this bit alone: most other texts are told by their first byte */
    if (((a[0] ^ b[0]) & ~0x20) != 0)
        return false;
    if (len < sizeof(uint64_t))
        return memcmp(a, b, len) == 0 || strncasecmp(a, b, len) == 0;
    size_t last = len - sizeof(uint64_t); /* which may have been looked at in part */
    for (size_t at = 0; at < last; at += sizeof(uint64_t)) {
        if (!same_eight_nocase(a + at, b + at))
            return false;
    }
    return same_eight_nocase(a + last, b + last);
}

bool str_ends_with(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_skip(s, s.len - suffix.len), suffix);
}

size_t str_find(struct str s, char c)
{
    const char *hit = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;
    return hit != NULL ? (size_t)(hit - s.ptr) : s.len;
}

size_t str_find_text(struct str s, struct str text)
{
    const char *hit = text.len > 0 && s.len > 0 ? memmem(s.ptr, s.len, text.ptr, text.len) : NULL;
    return hit != NULL ? (size_t)(hit - s.ptr) : s.len;
}

bool str_is_before(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared > 0 ? memcmp(a.ptr, b.ptr, shared) : 0;
    return order < 0 || (order == 0 && a.len < b.len);
}

void str_lower(char *p, size_t len)
{
    uint64_t word;
    for (size_t i = 0; len >= sizeof(word);) {
        memcpy(&word, p + i, sizeof(word));
        word = lower_eight(word);
        memcpy(p + i, &word, sizeof(word));
        if (i + sizeof(word) == len)
            return;
        /* The last eight begin within the ones before. */
        i = i + 2 * sizeof(word) > len ? len - sizeof(word) : i + sizeof(word);
    }
    for (size_t i = 0; i < len; i++) {
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] | 0x20);
    }
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = str_skip(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

bool str_split_next(struct str *rest, char separator, struct str *part)
{
    if (rest->ptr == NULL)
        return false;
    size_t at = str_find(*rest, separator);
    *part = (struct str){rest->ptr, at};
    *rest = at < rest->len ? str_skip(*rest, at + 1) : (struct str){NULL, 0};
    return true;
}

size_t str_count(struct str s, char c)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += s.ptr[i] == c;
    return count;
}

bool str_glob(struct str pattern, struct str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    if (s.len == 0)
        return -EINVAL;
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return -EINVAL;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (value > (max - digit) / 10 || digit > max)
            return -ERANGE;
        value = value * 10 + digit;
    }
    *out = value;
    return 0;
}

int str_to_size(struct str s, uint64_t *out)
{
    static const struct {
        struct str name;
        unsigned shift;
    } units[] = {{{"kb", 2}, 10}, {{"mb", 2}, 20}, {{"gb", 2}, 30}, {{"b", 1}, 0}};
    unsigned shift = 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct str name = units[i].name;
        if (s.len > name.len && str_eq_nocase(str_skip(s, s.len - name.len), name)) {
            shift = units[i].shift;
            s = str_trim((struct str){s.ptr, s.len - name.len});
            break;
        }
    }
    uint64_t count;
    if (str_to_u64(s, UINT64_MAX >> (shift + 1), &count) != 0)
        return -EINVAL;
    *out = count << shift;
    return 0;
}

int str_to_seconds(struct str s, double *out)
{
    char text[64];
    if (s.len == 0 || s.len >= sizeof(text))
        return -EINVAL;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    /* strtod would also take "inf", "nan" and hexadecimal. */
    if (strspn(text, "+-.0123456789") == 0)
        return -EINVAL;
    char *end;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value))
        return -EINVAL;
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].name) == 0) {
            *out = value * units[i].factor;
            return 0;
        }
    }
    return -EINVAL;
}

uint64_t str_hash(struct str s)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
    return h;
}

unsigned str_distance(struct str a, struct str b)
{
    enum { MAX = 64 };
    if (a.len > MAX || b.len > MAX)
        return MAX;
    unsigned row[MAX + 1];
    for (unsigned j = 0; j <= b.len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned change = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            unsigned shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < shift ? change : shift;
        }
    }
    return row[b.len];
}

/* Table 3-7 of the Unicode standard. */
/* Bytes at the front that begin a well-formed character, and how many it would have: 1, 2, 3 or 4;
 * 0 of 0 where none begins. */
static size_t utf8_prefix(struct str s, size_t *whole)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    *whole = 0;
    if (s.len == 0)
        return 0;
    if (p[0] < 0x80)
        *whole = 1;
    else if (p[0] >= 0xc2 && p[0] <= 0xdf)
        *whole = 2;
    else if ((p[0] & 0xf0) == 0xe0)
        *whole = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        *whole = 4;
    unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    size_t len = *whole > 0;
    while (len > 0 && len < *whole && len < s.len && p[len] >= low && p[len] <= high) {
        len++;
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

size_t str_utf8_length(struct str s)
{
    size_t whole;
    return utf8_prefix(s, &whole) == whole ? whole : 0;
}

size_t str_utf8_broken(struct str s)
{
    size_t whole, len = utf8_prefix(s, &whole);
    return len > 0 ? len : 1;
}

/* Eight at a time: most text is ASCII. */
static size_t ascii_beginning(struct str s)
{
    size_t at = 0;
    for (uint64_t eight; s.len - at >= sizeof(eight); at += sizeof(eight)) {
        memcpy(&eight, s.ptr + at, sizeof(eight));
        if ((eight & 0x8080808080808080u) != 0)
            break;
    }
    while (at < s.len && (unsigned char)s.ptr[at] < 0x80)
        at++;
    return at;
}

void str_write_hex(const unsigned char *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

struct str str_copy(struct str s)
{
    char *copy = malloc(s.len + 1);
    if (copy == NULL)
        return (struct str){NULL, 0};
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return (struct str){copy, s.len};
}

bool str_is_utf8(struct str s)
{
    for (size_t i = ascii_beginning(s); i < s.len; i += ascii_beginning(str_skip(s, i))) {
        size_t step = str_utf8_length(str_skip(s, i));
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}
