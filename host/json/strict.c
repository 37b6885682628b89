/* JSON from the outside. */
#include "json/strict.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"

/* Brackets outside strings, counted before the recursive parser sees the text. */
bool strict_json_is_shallow(struct str text)
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
        if (depth > LIMIT_TOKEN_JSON_DEPTH)
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

json_t *strict_json_load(struct str text, const char **why)
{
    const char *ignored;
    json_error_t error;
    json_t *value;
    if (why == NULL)
        why = &ignored;
    errno = EINVAL;
    *why = "it is nested too deeply";
    if (!strict_json_is_shallow(text))
        return NULL;
    *why = "it is not valid JSON";
    value = strict_json_watched(text, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL && errno == ENOMEM)
        *why = "out of memory";
    else if (value == NULL && json_error_code(&error) == json_error_duplicate_key)
        *why = "a member is there twice";
    return value;
}
