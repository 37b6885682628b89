/* JSON from the outside. */
#include "auth/strict_json.h"

#include <errno.h>

#include "limits.h"

/* Brackets outside strings, counted before the recursive parser sees the text. */
static bool is_shallow(struct str text)
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

json_t *strict_json_load(struct str text, const char **why)
{
    const char *ignored;
    json_error_t error;
    json_t *value;
    if (why == NULL)
        why = &ignored;
    errno = EINVAL;
    *why = "it is nested too deeply";
    if (!is_shallow(text))
        return NULL;
    *why = "it is not valid JSON";
    if (text.len == 0)
        return NULL;
    value = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL && json_error_code(&error) == json_error_duplicate_key)
        *why = "a member is there twice";
    if (value == NULL && json_error_code(&error) == json_error_out_of_memory) {
        *why = "out of memory";
        errno = ENOMEM;
    }
    return value;
}
