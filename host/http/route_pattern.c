/* The segments of a route's pattern. */
#include "http/route_pattern.h"

#include <string.h>

#include "http/router.h"

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!str_is_alnum(c) && c != '_')
            return false;
    }
    return s.len > 0;
}

/* Literals stand as they are sent, so they hold what a request target may hold. */
static const char *literal_fault(struct str s)
{
    if (s.len == 0)
        return "two slashes in a row never match: leave one out";
    if (str_eq(s, STR(".")) || str_eq(s, STR("..")))
        return "'.' and '..' never match";
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
            return "write spaces and characters beyond ASCII percent-encoded";
        if (strchr("*?#\\", s.ptr[i]) != NULL)
            return "'*' must be the whole last segment; '?', '#' and '\\' have no place";
    }
    return NULL;
}

/* Fills *out; returns what is wrong, or NULL. */
static const char *segment_parse(struct str text, bool last, struct segment *out)
{
    *out = (struct segment){SEGMENT_LITERAL, text};
    if (str_eq(text, STR("*"))) {
        out->kind = SEGMENT_REST;
        out->text = STR("splat");
        return last ? NULL : "'*' must be the last segment";
    }
    if (text.len == 0 || text.ptr[0] != ':')
        return literal_fault(text);
    out->kind = SEGMENT_PARAM;
    out->text = str_skip(text, 1);
    if (text.ptr[text.len - 1] == '?') {
        out->kind = SEGMENT_OPTIONAL;
        out->text.len--;
        if (!last)
            return "only the last segment can be optional";
    }
    return is_name(out->text) ? NULL : "a parameter's name is letters, digits and '_'";
}

static const char *names_fault(const struct segment *segments, unsigned count)
{
    unsigned names = 0;
    for (unsigned i = 0; i < count; i++) {
        if (segments[i].kind == SEGMENT_LITERAL)
            continue;
        if (++names > ROUTE_PARAMS_MAX)
            return "more than 16 parameters";
        for (unsigned j = 0; j < i; j++) {
            if (segments[j].kind != SEGMENT_LITERAL && str_eq(segments[i].text, segments[j].text))
                return "two parameters of the same name";
        }
    }
    return NULL;
}

const char *route_pattern_parse(struct str pattern, struct segment *segments, unsigned *count)
{
    *count = 0;
    if (pattern.len == 0)
        return NULL;
    struct str rest = str_skip(pattern, 1);
    struct str text;
    while (str_split_next(&rest, '/', &text)) {
        if (*count == ROUTE_SEGMENTS_MAX)
            return "more than 32 segments";
        const char *fault = segment_parse(text, rest.ptr == NULL, &segments[*count]);
        if (fault != NULL)
            return fault;
        (*count)++;
    }
    return names_fault(segments, *count);
}
