/* Request targets: percent-decoding, the one normal form of paths, query strings. */
#include "http/target.h"

#include <endian.h>
#include <errno.h>

size_t target_percent_next(struct str s, size_t at, char *out)
{
    if (s.ptr[at] == '%' && s.len - at > 2) {
        int high = str_hex_value(s.ptr[at + 1]);
        int low = str_hex_value(s.ptr[at + 2]);
        if (high >= 0 && low >= 0) {
            *out = (char)(high << 4 | low);
            return 3;
        }
    }
    *out = s.ptr[at];
    return 1;
}

struct str target_percent_decode(struct arena *arena, struct str s, bool plus_is_space)
{
    char *out = arena_alloc(arena, s.len + 1);
    if (out == NULL)
        return (struct str){NULL, 0};
    size_t len = 0;
    for (size_t at = 0; at < s.len; len++) {
        size_t used = target_percent_next(s, at, &out[len]);
        if (plus_is_space && s.ptr[at] == '+')
            out[len] = ' ';
        at += used;
    }
    out[len] = '\0';
    return (struct str){out, len};
}

/* 1 for ".", 2 for "..", also where dots are written "%2e"; 0 for everything else. */
static int dot_segment(struct str segment)
{
    int dots = 0;
    for (size_t at = 0; at < segment.len; dots++) {
        char c;
        at += target_percent_next(segment, at, &c);
        if (c != '.' || dots == 2)
            return 0;
    }
    return dots;
}

bool target_hides_separator(struct str path)
{
    for (size_t at = 0; at < path.len;) {
        char c;
        size_t used = target_percent_next(path, at, &c);
        if (used > 1 && (c == '/' || c == '\\'))
            return true;
        at += used;
    }
    return false;
}

/* What nobody may be handed: the end of a C string, a raw '\', or a '%' that begins no escape (what
 * it stands for, everyone would guess differently). */
static bool has_forbidden(struct str path)
{
    for (size_t at = 0; at < path.len;) {
        char c;
        size_t used = target_percent_next(path, at, &c);
        if (c == '\0' || (used == 1 && (c == '\\' || c == '%')))
            return true;
        at += used;
    }
    return false;
}

/* Overlong forms are the old disguise of '.' and '/'. */
static int check_text(struct arena *arena, struct str path)
{
    struct str text = target_percent_decode(arena, path, false);
    if (text.ptr == NULL)
        return -ENOMEM;
    return str_is_utf8(text) ? 0 : -EINVAL;
}

/* Could a segment be "." or ".."? Most paths cannot, and need no copy. */
static bool may_have_dots(struct str path)
{
    for (size_t at = 0; at + 1 < path.len; at++) {
        if (path.ptr[at] == '/' && (path.ptr[at + 1] == '.' || path.ptr[at + 1] == '%'))
            return true;
    }
    return false;
}

/* Copies `path` to `out` (as long as `path`) without its dot segments. Returns the new length, or
 * -EINVAL when ".." would leave the root. */
static ptrdiff_t resolve_dots(struct str path, char *out)
{
    size_t len = 0;
    struct str rest = str_skip(path, 1);
    struct str segment;
    while (str_split_next(&rest, '/', &segment)) {
        bool last = rest.ptr == NULL;
        int dots = dot_segment(segment);
        if (dots == 2) {
            if (len == 0)
                return -EINVAL;
            while (out[--len] != '/')
                ;
        }
        if (dots == 0 || last)
            out[len++] = '/';
        if (dots == 0 && segment.len > 0) {
            memcpy(out + len, segment.ptr, segment.len);
            len += segment.len;
        }
    }
    return (ptrdiff_t)len;
}

/* The first of up to eight bytes that may have to be decoded, resolved or refused: an escape, '\\',
 * NUL, a dot, or not ASCII; 8: there is none. */
static size_t find_odd(struct str s)
{
    uint64_t word = STR_EACH_BYTE('/');
    if (s.len >= sizeof(word))
        memcpy(&word, s.ptr, sizeof(word));
    else
        memcpy(&word, s.ptr, s.len);
    word = le64toh(word);
    /* The highest bit of a byte is set where it is one of them, and maybe above the first that is.
     */
    uint64_t odd = word | (word - STR_EACH_BYTE(1)) |
                   ((word ^ STR_EACH_BYTE('%')) - STR_EACH_BYTE(1)) |
                   ((word ^ STR_EACH_BYTE('\\')) - STR_EACH_BYTE(1)) |
                   ((word ^ STR_EACH_BYTE('.')) - STR_EACH_BYTE(1));
    odd &= STR_EACH_BYTE(0x80);
    return odd != 0 ? (size_t)__builtin_ctzll(odd) / 8 : sizeof(word);
}

/* A dot counts only at the start of a segment. */
static bool is_dot_of_name(struct str path, size_t at)
{
    if (path.ptr[at] != '.')
        return false;
    char next = at + 1 < path.len ? path.ptr[at + 1] : '/';
    return path.ptr[at - 1] != '/' || (next != '/' && next != '.');
}

/* Nothing of that: nearly every path. */
static bool is_plain(struct str path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    for (size_t at = 0; at < path.len;) {
        size_t odd = find_odd(str_skip(path, at));
        at += odd;
        if (odd == sizeof(uint64_t))
            continue;
        if (!is_dot_of_name(path, at))
            return false;
        at++;
    }
    return true;
}

int target_normalize_path(struct arena *arena, struct str path, struct str *out)
{
    if (is_plain(path)) {
        *out = path;
        return 0;
    }
    if (path.len == 0 || path.ptr[0] != '/' || has_forbidden(path))
        return -EINVAL;
    int rc = check_text(arena, path);
    if (rc != 0)
        return rc;
    if (!may_have_dots(path)) {
        *out = path;
        return 0;
    }
    char *copy = arena_alloc(arena, path.len + 1);
    if (copy == NULL)
        return -ENOMEM;
    ptrdiff_t len = resolve_dots(path, copy);
    if (len < 0)
        return -EINVAL;
    copy[len] = '\0';
    *out = (struct str){copy, (size_t)len};
    return 0;
}

int target_parse_query(struct arena *arena, struct str query, struct query_pair **pairs)
{
    size_t most = str_count(query, '&') + 1;
    struct query_pair *list = arena_alloc(arena, most * sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    int count = 0;
    struct str piece;
    while (str_split_next(&query, '&', &piece)) {
        if (piece.len == 0)
            continue;
        size_t equals = str_find(piece, '=');
        size_t value_at = equals < piece.len ? equals + 1 : equals;
        struct query_pair *pair = &list[count++];
        pair->name = target_percent_decode(arena, (struct str){piece.ptr, equals}, true);
        pair->value = target_percent_decode(arena, str_skip(piece, value_at), true);
        if (pair->name.ptr == NULL || pair->value.ptr == NULL)
            return -ENOMEM;
    }
    *pairs = list;
    return count;
}

struct str target_authority_host(struct str authority)
{
    size_t bracket = str_find(authority, ']');
    size_t from = bracket < authority.len ? bracket : 0;
    authority.len = from + str_find(str_skip(authority, from), ':');
    return authority;
}
