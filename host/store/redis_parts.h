/* The parts of a command, one behind the other in a buffer until all are there. */
#pragma once

#include "base/buf.h"

enum { REDIS_PARTS = 16 };

struct redis_parts {
    struct buf *text;
    size_t ends[REDIS_PARTS];
    unsigned count;
};

/* What was added to `text` since the last part is one. */
static inline void redis_parts_end(struct redis_parts *parts)
{
    parts->ends[parts->count++] = parts->text->len;
}

static inline void redis_parts_add(struct redis_parts *parts, struct str part)
{
    buf_add_str(parts->text, part);
    redis_parts_end(parts);
}

static inline void redis_parts_add_number(struct redis_parts *parts, int64_t value)
{
    buf_add_integer(parts->text, value);
    redis_parts_end(parts);
}
