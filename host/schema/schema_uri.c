/* Names of schemas. */
#include "schema/schema_uri.h"

struct parts {
    struct str scheme, authority, path, query; /* with ':', "//" and '?'; empty: it has none */
};

static size_t scheme_length(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == ':')
            return i > 0 ? i + 1 : 0;
        if (!str_is_alnum(c) && c != '+' && c != '-' && c != '.')
            return 0;
    }
    return 0;
}

static struct str take(struct str *rest, size_t len)
{
    struct str part = {rest->ptr, len};
    *rest = str_skip(*rest, len);
    return part;
}

static struct parts split(struct str uri)
{
    struct parts p = {.scheme = take(&uri, scheme_length(uri))};
    if (str_starts_with(uri, STR("//"))) {
        size_t len = 2;
        while (len < uri.len && uri.ptr[len] != '/' && uri.ptr[len] != '?')
            len++;
        p.authority = take(&uri, len);
    }
    p.path = take(&uri, str_find(uri, '?'));
    p.query = uri;
    return p;
}

/* Takes "." and ".." out of the path, in place (section 5.2.4). */
static struct str without_dots(char *path, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        size_t end = at + 1;
        while (end < len && path[end] != '/')
            end++;
        bool rooted = path[at] == '/';
        struct str name = {path + at + rooted, end - at - rooted};
        bool up = str_eq(name, STR("..")), dot = str_eq(name, STR("."));
        while (up && out > 0 && path[--out] != '/')
            ;
        if (!up && !dot) {
            memmove(path + out, path + at, end - at);
            out += end - at;
        } else if (end == len && rooted) {
            path[out++] = '/';
        }
        at = end;
    }
    return (struct str){path, out};
}

static struct str merge(struct arena *arena, const struct parts *base, struct str path)
{
    size_t folder = base->path.len;
    while (folder > 0 && base->path.ptr[folder - 1] != '/')
        folder--;
    bool rooted = path.ptr[0] == '/';
    struct str merged =
        rooted
            ? arena_copy(arena, path)
            : arena_printf(arena, "%s%.*s%.*s",
                           base->authority.len > 0 && base->path.len == 0 ? "/" : "", (int)folder,
                           base->path.ptr != NULL ? base->path.ptr : "", STR_ARG(path));
    return merged.ptr != NULL ? without_dots((char *)merged.ptr, merged.len) : merged;
}

struct str schema_uri_resolve(struct arena *arena, struct str base, struct str reference,
                              struct str *fragment)
{
    size_t hash = str_find(reference, '#');
    *fragment = hash < reference.len ? str_skip(reference, hash + 1) : (struct str){NULL, 0};
    reference.len = hash;
    struct parts r = split(reference), b = split(base);
    if (r.scheme.len > 0 || reference.len == 0)
        return arena_copy(arena, reference.len > 0 ? reference : base);
    r.scheme = b.scheme;
    if (r.authority.len == 0) {
        r.authority = b.authority;
        if (r.path.len == 0)
            r.path = b.path;
        else
            r.path = merge(arena, &b, r.path);
    }
    if (r.path.ptr == NULL && r.path.len == 0)
        r.path = STR("");
    return arena_printf(arena, "%.*s%.*s%.*s%.*s", STR_ARG(r.scheme), STR_ARG(r.authority),
                        STR_ARG(r.path), STR_ARG(r.query));
}

struct str schema_uri_decode(struct arena *arena, struct str fragment)
{
    struct str copy = arena_copy(arena, fragment);
    char *out = (char *)copy.ptr;
    if (out == NULL)
        return copy;
    for (size_t i = 0; i < fragment.len; i++) {
        char c = fragment.ptr[i];
        int high = c == '%' && i + 2 < fragment.len ? str_hex_value(fragment.ptr[i + 1]) : -1;
        int low = high >= 0 ? str_hex_value(fragment.ptr[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        }
        *out++ = c;
    }
    copy.len = (size_t)(out - copy.ptr);
    return copy;
}
