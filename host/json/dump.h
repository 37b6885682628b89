/* Values of jansson as text, without a fault of its json_dumps(): where memory runs out, that one
 * goes on without the characters that it had none for, and gives the text of another value. */
#pragma once

#include <jansson.h>

#include "base/buf.h"

/* Appends the value; where that cannot be done, the buffer has failed. `flags` are jansson's. */
void dump_json(struct buf *out, const json_t *value, size_t flags);

/* The same as a text that the caller frees; NULL where it cannot be had. */
char *dump_json_text(const json_t *value, size_t flags) __attribute__((warn_unused_result));
