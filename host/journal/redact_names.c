/* See redact_names.h. */
#include "journal/redact_names.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json/strict.h"

enum { NEST_MAX = 8, NAME_MAX_BYTES = 128 };

struct redact_names *redact_names_new(const struct str *list, unsigned count)
{
    struct redact_names *names = calloc(1, sizeof(*names));
    if (names == NULL)
        return NULL;
    names->refs = 1;
    names->list = calloc(count + 1, sizeof(*names->list));
    while (names->list != NULL && names->count < count) {
        names->list[names->count] = str_copy(list[names->count]);
        if (names->list[names->count].ptr == NULL)
            break;
        names->count++;
    }
    if (names->list != NULL && names->count == count)
        return names;
    redact_names_unref(names);
    return NULL;
}

struct redact_names *redact_names_ref(struct redact_names *names)
{
    if (names != NULL)
        names->refs++;
    return names;
}

void redact_names_unref(struct redact_names *names)
{
    if (names == NULL || --names->refs > 0)
        return;
    for (unsigned i = 0; i < names->count; i++)
        free((void *)(uintptr_t)names->list[i].ptr);
    free(names->list);
    free(names);
}

bool redact_names_have(const struct redact_names *names, struct str name)
{
    for (unsigned i = 0; names != NULL && i < names->count; i++) {
        if (str_eq_nocase(names->list[i], name))
            return true;
    }
    return false;
}

/* ---- in texts ---- */

struct walk {
    const struct redact_names *names;
    struct str text;
    size_t at;
    struct buf *out;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(struct str text, size_t at)
{
    while (at < text.len && is_space(text.ptr[at]))
        at++;
    return at;
}

/* Past the JSON string whose quote is at `at`, or to the end. */
static size_t string_end(struct str text, size_t at)
{
    for (at++; at < text.len; at++) {
        if (text.ptr[at] == '\\')
            at++;
        else if (text.ptr[at] == '"')
            return at + 1;
    }
    return text.len;
}

/* Past the object or list that begins at `at`. */
static size_t nested_end(struct str text, size_t at)
{
    size_t depth = 0;
    while (at < text.len) {
        char c = text.ptr[at];
        at = c == '"' ? string_end(text, at) : at + 1;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (depth == 0)
            break;
    }
    return at;
}

/* Past the JSON value at `at`, or what is there of it. */
static size_t value_end(struct str text, size_t at)
{
    if (at >= text.len)
        return text.len;
    if (text.ptr[at] == '"')
        return string_end(text, at);
    if (text.ptr[at] == '{' || text.ptr[at] == '[')
        return nested_end(text, at);
    while (at < text.len && !is_space(text.ptr[at]) && strchr(",]}\"", text.ptr[at]) == NULL)
        at++;
    return at;
}

/* A name as it is meant: escapes of JSON (\u0061) or of forms (%61) undone. 0: it is too long to be
 * one that functions.lua gives. */
static size_t decode_name(struct str name, bool json, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        int high = 0, low = 0;
        if (len == NAME_MAX_BYTES)
            return 0;
        if (json && c == '\\' && i + 5 < name.len && name.ptr[i + 1] == 'u') {
            high = str_hex_value(name.ptr[i + 4]);
            low = str_hex_value(name.ptr[i + 5]);
            c = high < 0 || low < 0 ? '?' : (char)(high * 16 + low);
            i += 5;
        } else if (json && c == '\\' && i + 1 < name.len) {
            c = name.ptr[++i];
        } else if (!json && c == '%' && i + 2 < name.len) {
            high = str_hex_value(name.ptr[i + 1]);
            low = str_hex_value(name.ptr[i + 2]);
            c = high < 0 || low < 0 ? '?' : (char)(high * 16 + low);
            i += 2;
        } else if (!json && c == '+') {
            c = ' ';
        }
        out[len++] = c;
    }
    return len;
}

static bool names_secret(const struct walk *w, struct str name, bool json)
{
    char text[NAME_MAX_BYTES];
    struct str decoded = {text, decode_name(name, json, text)};
    return decoded.len > 0 && redact_names_have(w->names, decoded);
}

static bool may_be_in_name(char c)
{
    return str_is_alnum(c) || (c != '\0' && strchr("_-.%+[]$~!*", c) != NULL);
}

/* At `w->at` begins what may be the name of a field: "name=value". True: it was taken. */
static bool take_field(struct walk *w)
{
    size_t end = w->text.len;
    size_t stop = w->at;
    while (stop < end && may_be_in_name(w->text.ptr[stop]))
        stop++;
    if (stop == w->at)
        return false;
    bool secret = stop < end && w->text.ptr[stop] == '=' &&
                  names_secret(w, (struct str){w->text.ptr + w->at, stop - w->at}, false);
    if (!secret) {
        buf_add(w->out, w->text.ptr + w->at, stop - w->at);
        w->at = stop;
        return true;
    }
    buf_add(w->out, w->text.ptr + w->at, stop + 1 - w->at);
    for (w->at = stop + 1; w->at < end; w->at++) {
        char c = w->text.ptr[w->at];
        if (is_space(c) || strchr("&;\"'<>\\", c) != NULL)
            break;
    }
    buf_add_str(w->out, STR(REDACT_TEXT));
    return true;
}

static void walk_text(struct walk *w, unsigned depth);

/* What stands in a JSON string may be JSON itself: it is unwrapped, walked, and wrapped again where
 * something was replaced in it. */
static bool walk_wrapped(struct walk *w, size_t end, unsigned depth)
{
    struct str token = {w->text.ptr + w->at, end - w->at};
    if (depth >= NEST_MAX || str_find_text(token, STR("\\\"")) == token.len)
        return false;
    json_t *value = strict_json_watched(token, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!json_is_string(value)) {
        json_decref(value);
        return false;
    }
    struct str plain = {json_string_value(value), json_string_length(value)};
    struct buf walked = BUF_INIT;
    struct walk nested = {w->names, plain, 0, &walked};
    walk_text(&nested, depth + 1);
    bool changed = buf_failed(&walked) || !str_eq(plain, buf_str(&walked));
    if (changed) {
        buf_add_json(w->out, buf_failed(&walked) ? STR(REDACT_TEXT) : buf_str(&walked));
        w->at = end;
    }
    buf_free(&walked);
    json_decref(value);
    return changed;
}

/* A quote: a member's name, with its value if that is a secret; or that of another string. Each is
 * tried: in what is not JSON as a whole nobody knows which of them begin a string. */
static void take_quote(struct walk *w, unsigned depth)
{
    size_t end = string_end(w->text, w->at);
    bool whole = end > w->at + 1 && w->text.ptr[end - 1] == '"';
    size_t colon = skip_space(w->text, end);
    bool is_name = whole && colon < w->text.len && w->text.ptr[colon] == ':';
    if (is_name && names_secret(w, (struct str){w->text.ptr + w->at + 1, end - w->at - 2}, true)) {
        size_t value = skip_space(w->text, colon + 1);
        buf_add(w->out, w->text.ptr + w->at, value - w->at);
        w->at = value_end(w->text, value);
        buf_add_str(w->out, STR("\"" REDACT_TEXT "\""));
    } else if (!whole || is_name || !walk_wrapped(w, end, depth)) {
        buf_add_char(w->out, w->text.ptr[w->at++]);
    }
}

/* name="password" of multipart/form-data: its value stands below an empty line. */
static bool take_part(struct walk *w)
{
    static const struct str mark = {"name=\"", 6};
    struct str rest = str_skip(w->text, w->at);
    if (!str_starts_with(rest, mark))
        return false;
    size_t quote_end = string_end(w->text, w->at + mark.len - 1);
    struct str name = {w->text.ptr + w->at + mark.len, quote_end - w->at - mark.len};
    name.len -= name.len > 0;
    struct str after = str_skip(w->text, quote_end);
    size_t blank = str_find_text(after, STR("\r\n\r\n"));
    if (blank == after.len || !names_secret(w, name, true))
        return false;
    struct str value = str_skip(after, blank + 4);
    size_t end = str_find_text(value, STR("\r\n--"));
    buf_add(w->out, rest.ptr, (size_t)(value.ptr - rest.ptr));
    buf_add_str(w->out, STR(REDACT_TEXT));
    w->at = (size_t)(value.ptr - w->text.ptr) + end;
    return true;
}

static void walk_text(struct walk *w, unsigned depth)
{
    while (w->at < w->text.len) {
        if (w->text.ptr[w->at] == '"')
            take_quote(w, depth);
        else if (!take_part(w) && !take_field(w))
            buf_add_char(w->out, w->text.ptr[w->at++]);
    }
}

void redact_names_clean(const struct redact_names *names, struct str text, struct buf *out)
{
    struct walk w = {names, text, 0, out};
    walk_text(&w, 0);
}
