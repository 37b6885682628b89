/* Trees of jansson, compared. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* A whole number may have been written as a float. */
static inline bool json_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b) || json_array_size(a) != json_array_size(b) ||
        json_object_size(a) != json_object_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++) {
        if (!json_same(json_array_get(a, i), json_array_get(b, i)))
            return false;
    }
    const char *name;
    size_t len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)a, name, len, value)
    {
        const json_t *other = json_object_getn(b, name, len);
        if (other == NULL || !json_same(value, other))
            return false;
    }
    return json_is_array(a) || json_is_object(a) || json_equal(a, b);
}
