/* Conditions and ranges: see condition.h. */
#include "http/condition.h"

#include "http/date.h"

static bool is_weak(struct str tag)
{
    return str_starts_with(tag, STR("W/"));
}

/* Does the list name the tag, or any? Strongly, weak tags are not the same as anything, themselves
 * included; else their W/ does not count (RFC 9110 8.8.3.2). */
static bool names_tag(struct str list, struct str own, bool strongly)
{
    struct str tag;
    while (str_split_next(&list, ',', &tag)) {
        tag = str_trim(tag);
        if (str_eq(tag, STR("*")))
            return true;
        if (strongly ? str_eq(tag, own) && !is_weak(own)
                     : str_eq(is_weak(tag) ? str_skip(tag, 2) : tag,
                              is_weak(own) ? str_skip(own, 2) : own))
            return true;
    }
    return false;
}

/* The date of that field; -1 without one, or where there is nothing to compare it with. */
static int64_t date_of(const struct request *req, const struct validators *v, struct str name)
{
    const struct str *header = v->modified >= 0 ? headers_get(&req->headers, name) : NULL;
    return header != NULL ? date_parse(*header) : -1;
}

enum condition condition_judge(const struct request *req, const struct validators *v)
{
    const struct str *match = headers_get(&req->headers, STR("if-match"));
    const struct str *none_match = headers_get(&req->headers, STR("if-none-match"));
    int64_t date;
    if (match != NULL) {
        if (!names_tag(*match, v->etag, true))
            return CONDITION_FAILED;
    } else if ((date = date_of(req, v, STR("if-unmodified-since"))) >= 0 && v->modified > date) {
        return CONDITION_FAILED;
    }
    if (none_match != NULL)
        return names_tag(*none_match, v->etag, false) ? CONDITION_UNCHANGED : CONDITION_MET;
    date = date_of(req, v, STR("if-modified-since"));
    return date >= 0 && v->modified <= date ? CONDITION_UNCHANGED : CONDITION_MET;
}

/* If-Range compares strongly: a part of other bytes would spoil what the client has. */
static bool holds(const struct request *req, const struct validators *v)
{
    const struct str *header = headers_get(&req->headers, STR("if-range"));
    if (header == NULL)
        return true;
    struct str value = str_trim(*header);
    if (str_starts_with(value, STR("\"")) || is_weak(value))
        return str_eq(value, v->etag) && !is_weak(value);
    return v->dated && v->modified >= 0 && date_parse(value) == v->modified;
}

/* "5-9", "5-", "-5" as two numbers; false for what is none of these. */
static bool read_spec(struct str spec, bool *last_ones, uint64_t *start, uint64_t *end)
{
    size_t dash = str_find(spec, '-');
    if (dash == spec.len)
        return false;
    struct str from = {spec.ptr, dash}, to = str_skip(spec, dash + 1);
    *last_ones = from.len == 0;
    *start = 0;
    *end = UINT64_MAX;
    if ((from.len == 0 && to.len == 0) ||
        (from.len > 0 && str_to_u64(from, UINT64_MAX, start) != 0) ||
        (to.len > 0 && str_to_u64(to, UINT64_MAX, end) != 0))
        return false;
    return *last_ones || *end >= *start;
}

enum range condition_range(const struct request *req, const struct validators *v, uint64_t size,
                           uint64_t *first, uint64_t *len)
{
    const struct str *header = headers_get(&req->headers, STR("range"));
    bool last_ones;
    uint64_t start, end;
    if (header == NULL || req->method != METHOD_GET || !str_starts_with(*header, STR("bytes=")) ||
        !holds(req, v) || !read_spec(str_trim(str_skip(*header, 6)), &last_ones, &start, &end))
        return RANGE_NONE;
    if (last_ones) {
        if (end == 0)
            return RANGE_BAD;
        start = end < size ? size - end : 0;
        end = UINT64_MAX;
    }
    if (start >= size)
        return RANGE_BAD;
    *first = start;
    *len = (end >= size ? size - 1 : end) - start + 1;
    return RANGE_PART;
}
