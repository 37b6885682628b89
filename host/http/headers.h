/* A list of header fields, in the order of the wire. Names and values are borrowed slices, usually
 * in the exchange's arena. Request names are lower case; response names are written as given. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct header {
    struct str name;
    struct str value;
};

struct headers {
    struct header *items; /* in the arena given to headers_add */
    uint32_t len;
    uint32_t cap;
};

/* Appends a field; the slices must outlive the list. 0 or -ENOMEM. */
int headers_add(struct headers *headers, struct arena *arena, struct str name, struct str value)
    __attribute__((warn_unused_result));

/* Replaces every field of that name (any case) by this one, or appends it. 0 or -ENOMEM. */
int headers_set(struct headers *headers, struct arena *arena, struct str name, struct str value)
    __attribute__((warn_unused_result));

/* The value of the first field of that name (any case), or NULL. */
const struct str *headers_get(const struct headers *headers, struct str name);

/* The same where only one field has that name. With several *many is true, and NULL. */
const struct str *headers_get_single(const struct headers *headers, struct str name, bool *many);

/* How many fields have that name (any case). */
uint32_t headers_count(const struct headers *headers, struct str name);

/* RFC 9110 5.6.2: a non-empty run of token characters. */
bool header_name_is_valid(struct str name);
/* RFC 9110 5.5: no CR, LF, NUL or other control character but HTAB. */
bool header_value_is_valid(struct str value);
