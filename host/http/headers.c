/* Header lists: small, in order, searched from the front. */
#include "http/headers.h"

#include <errno.h>

#include "http/chars.h"

enum { FIRST_CAPACITY = 4 };

static int grow(struct headers *headers, struct arena *arena)
{
    uint32_t cap = headers->cap == 0 ? FIRST_CAPACITY : headers->cap * 2;
    if (cap < headers->cap)
        return -ENOMEM;
    struct header *items = arena_alloc(arena, cap * sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    if (headers->len > 0)
        memcpy(items, headers->items, headers->len * sizeof(*items));
    headers->items = items;
    headers->cap = cap;
    return 0;
}

int headers_add(struct headers *headers, struct arena *arena, struct str name, struct str value)
{
    if (headers->len == headers->cap && grow(headers, arena) != 0)
        return -ENOMEM;
    headers->items[headers->len++] = (struct header){name, value};
    return 0;
}

int headers_set(struct headers *headers, struct arena *arena, struct str name, struct str value)
{
    uint32_t kept = 0;
    bool placed = false;
    for (uint32_t i = 0; i < headers->len; i++) {
        struct header h = headers->items[i];
        if (str_eq_nocase(h.name, name)) {
            if (placed)
                continue;
            h = (struct header){name, value};
            placed = true;
        }
        headers->items[kept++] = h;
    }
    headers->len = kept;
    return placed ? 0 : headers_add(headers, arena, name, value);
}

const struct str *headers_get(const struct headers *headers, struct str name)
{
    for (uint32_t i = 0; i < headers->len; i++) {
        if (str_eq_nocase(headers->items[i].name, name))
            return &headers->items[i].value;
    }
    return NULL;
}

const struct str *headers_get_single(const struct headers *headers, struct str name, bool *many)
{
    const struct str *found = NULL;
    *many = false;
    for (uint32_t i = 0; i < headers->len && !*many; i++) {
        if (!str_eq_nocase(headers->items[i].name, name))
            continue;
        *many = found != NULL;
        found = &headers->items[i].value;
    }
    return *many ? NULL : found;
}

uint32_t headers_count(const struct headers *headers, struct str name)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < headers->len; i++)
        count += str_eq_nocase(headers->items[i].name, name);
    return count;
}

static bool all_are(struct str s, unsigned kind)
{
    return s.len == 0 || http_char_run(s.ptr, s.ptr + s.len, kind) == s.len;
}

bool header_name_is_valid(struct str name)
{
    return name.len > 0 && all_are(name, CHAR_TOKEN);
}

bool header_value_is_valid(struct str value)
{
    return all_are(value, CHAR_VALUE);
}
