/* JSON from the outside. */
#include "json/strict.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"

/* An integer that cannot fit into 64 bits has at least this many digits. */
enum { WIDE_DIGITS = 19 };

/* At most so many levels, brackets outside strings? The text need not be valid.
 * jansson's own limit is 2048, and what is parsed is later walked by functions that have none. */
static bool is_shallow(struct str text, unsigned most)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' && quoted)
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > most)
            return false;
    }
    return true;
}

static _Thread_local bool out_of_memory;
static json_malloc_t plain_malloc;

static void *watched_malloc(size_t size)
{
    void *memory = plain_malloc(size);
    out_of_memory = out_of_memory || memory == NULL;
    return memory;
}

json_t *strict_json_watched(struct str text, size_t flags, json_error_t *error)
{
    json_free_t plain_free;
    json_t *value;
    if (text.len == 0 || memchr(text.ptr, '\0', text.len) != NULL)
        text = STR("");
    json_get_alloc_funcs(&plain_malloc, &plain_free);
    out_of_memory = false;
    json_set_alloc_funcs(watched_malloc, plain_free);
    value = json_loadb(text.ptr, text.len, flags, error);
    json_set_alloc_funcs(plain_malloc, plain_free);
    if (out_of_memory) {
        json_decref(value);
        value = NULL;
    }
    errno = out_of_memory ? ENOMEM : EINVAL;
    return value;
}

/* ---- integers beyond 64 bits ---- */

/* The index after the string that begins with the quote at `i`; text.len when it does not end. */
static size_t skip_string(struct str text, size_t i)
{
    for (i++; i < text.len; i++) {
        if (text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '"')
            return i + 1;
    }
    return text.len;
}

/* Length of the run of digits at the front. */
static size_t digits(struct str s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        n++;
    return n;
}

/* Copies the text with "e0" after each integer that may not fit into 64 bits, which makes it a
 * double of the same value. A number's fraction or exponent is not mistaken for an integer, because
 * '.', 'e' and the sign are copied together with the digits that follow. */
static void mark_wide_integers(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len;) {
        size_t run = text.ptr[i] == '"' ? skip_string(text, i) - i : digits(str_skip(text, i));
        size_t step = run > 0 ? run : 1;
        bool after = i > 0 && strchr(".eE+", text.ptr[i - 1]) != NULL;
        char next = i + step < text.len ? text.ptr[i + step] : ' ';
        buf_add(out, text.ptr + i, step);
        if (text.ptr[i] != '"' && run >= WIDE_DIGITS && !after && strchr(".eE", next) == NULL)
            buf_add(out, "e0", 2);
        i += step;
    }
}

static json_t *parse_wide(struct str text, size_t flags, json_error_t *error)
{
    struct buf marked = BUF_INIT;
    mark_wide_integers(text, &marked);
    bool failed = buf_failed(&marked);
    json_t *value = failed ? NULL : strict_json_watched(buf_str(&marked), flags, error);
    int code = failed ? ENOMEM : errno;
    buf_free(&marked);
    errno = code;
    return value;
}

/* ---- all of it ---- */

static const char *describe(struct str text, const json_error_t *error)
{
    if (errno == ENOMEM)
        return "out of memory";
    if (str_starts_with(text, STR("\xef\xbb\xbf")))
        return "it begins with a byte order mark";
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return "a member is there twice";
    case json_error_invalid_utf8:
        return "it is not UTF-8";
    case json_error_null_character:
        return "it has the character U+0000";
    case json_error_numeric_overflow:
        return "a number is beyond what a float holds";
    default:
        return strstr(error->text, "invalid Unicode") != NULL ? "it has half of a surrogate pair"
                                                              : "it is not valid JSON";
    }
}

static json_t *load(struct str text, size_t flags, unsigned depth, bool wide, const char **why)
{
    json_error_t error;
    if (!is_shallow(text, depth)) {
        *why = "it is nested too deeply";
        errno = EINVAL;
        return NULL;
    }
    json_t *value = strict_json_watched(text, flags, &error);
    if (value == NULL && wide && errno == EINVAL &&
        json_error_code(&error) == json_error_numeric_overflow)
        value = parse_wide(text, flags, &error);
    if (value == NULL)
        *why = describe(text, &error);
    return value;
}

json_t *strict_json_load(struct str text, const char **why)
{
    const char *ignored;
    return load(text, JSON_REJECT_DUPLICATES, LIMIT_TOKEN_JSON_DEPTH, false,
                why != NULL ? why : &ignored);
}

json_t *strict_json_load_wide(struct str text, size_t flags, const char **why)
{
    const char *ignored;
    return load(text, flags, LIMIT_TOKEN_JSON_DEPTH, true, why != NULL ? why : &ignored);
}

json_t *strict_json_load_any(struct str text, const char **why)
{
    return load(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, LIMIT_JSON_DEPTH, true, why);
}
