/* Plain JSON, in one pass. Where in doubt, NULL. */
#include "json/plain.h"

#include <stdbool.h>

/* Well below LIMIT_TOKEN_JSON_DEPTH; numbers that surely fit into 64 bits. */
enum { DEPTH = 8, DIGITS = 18 };

struct scan {
    const char *at, *end;
};

static json_t *read_value(struct scan *s, unsigned depth);

static void skip_blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* Takes that character, and blanks before and after it. */
static bool take(struct scan *s, char c)
{
    skip_blanks(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    skip_blanks(s);
    return true;
}

static bool take_text(struct scan *s, struct str *out)
{
    if (s->at == s->end || *s->at != '"')
        return false;
    const char *p = s->at + 1;
    while (p < s->end && *p >= ' ' && *p <= '~' && *p != '"' && *p != '\\')
        p++;
    if (p == s->end || *p != '"')
        return false;
    *out = (struct str){s->at + 1, (size_t)(p - s->at) - 1};
    s->at = p + 1;
    return true;
}

static json_t *read_text(struct scan *s)
{
    struct str text;
    return take_text(s, &text) ? json_stringn_nocheck(text.ptr, text.len) : NULL;
}

/* No leading zero, no -0, and neither fraction nor exponent follows. */
static json_t *read_integer(struct scan *s)
{
    bool negative = *s->at == '-';
    const char *p = s->at + negative, *first = p;
    json_int_t value = 0;
    for (; p < s->end && *p >= '0' && *p <= '9' && p - first < DIGITS; p++)
        value = value * 10 + (*p - '0');
    bool goes_on = p < s->end && ((*p >= '0' && *p <= '9') || *p == '.' || *p == 'e' || *p == 'E');
    if (p == first || goes_on || (*first == '0' && (p - first > 1 || negative)))
        return NULL;
    s->at = p;
    return json_integer(negative ? -value : value);
}

static json_t *read_word(struct scan *s)
{
    struct str rest = {s->at, (size_t)(s->end - s->at)};
    if (str_starts_with(rest, STR("true")))
        return s->at += 4, json_true();
    if (str_starts_with(rest, STR("false")))
        return s->at += 5, json_false();
    if (str_starts_with(rest, STR("null")))
        return s->at += 4, json_null();
    return NULL;
}

static bool read_items(struct scan *s, unsigned depth, json_t *list)
{
    if (take(s, ']'))
        return true;
    do {
        if (json_array_append_new(list, read_value(s, depth)) != 0)
            return false;
    } while (take(s, ','));
    return take(s, ']');
}

static bool read_members(struct scan *s, unsigned depth, json_t *object)
{
    size_t count = 0;
    struct str name;
    if (take(s, '}'))
        return true;
    do {
        if (!take_text(s, &name) || !take(s, ':') ||
            json_object_setn_new_nocheck(object, name.ptr, name.len, read_value(s, depth)) != 0)
            return false;
        count++;
    } while (take(s, ','));
    return take(s, '}') && json_object_size(object) == count; /* else one was there twice */
}

/* The bracket has been seen. */
static json_t *read_many(struct scan *s, unsigned depth)
{
    bool is_object = *s->at == '{';
    json_t *many = depth == 0 ? NULL : is_object ? json_object() : json_array();
    if (many == NULL)
        return NULL;
    s->at++;
    skip_blanks(s);
    if (is_object ? read_members(s, depth - 1, many) : read_items(s, depth - 1, many))
        return many;
    json_decref(many);
    return NULL;
}

/* Blanks before the value have been taken. */
static json_t *read_value(struct scan *s, unsigned depth)
{
    if (s->at == s->end)
        return NULL;
    switch (*s->at) {
    case '"':
        return read_text(s);
    case '{':
    case '[':
        return read_many(s, depth);
    case 't':
    case 'f':
    case 'n':
        return read_word(s);
    default:
        return read_integer(s);
    }
}

json_t *plain_json_load(struct str text)
{
    struct scan s = {text.ptr, text.ptr + text.len};
    if (text.len == 0 || *text.ptr != '{')
        return NULL;
    json_t *value = read_value(&s, DEPTH);
    if (value == NULL || s.at == s.end)
        return value;
    json_decref(value);
    return NULL;
}
