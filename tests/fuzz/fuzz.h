/* What the targets share: a promise that holds for every input, and input in lines. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "http/headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static inline struct str whole_input(const uint8_t *data, size_t size)
{
    return (struct str){(const char *)data, size};
}

/* The next line, without its end; empty when there is none. */
static inline struct str next_line(struct str *rest)
{
    struct str line;
    return str_split_next(rest, '\n', &line) ? line : (struct str){"", 0};
}

/* Can all of these fields be sent? */
static inline void require_sendable(const struct headers *headers)
{
    for (uint32_t i = 0; i < headers->len; i++) {
        require(header_name_is_valid(headers->items[i].name), "a field name that can be sent");
        require(header_value_is_valid(headers->items[i].value), "a field value that can be sent");
    }
}
