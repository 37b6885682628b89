/* JSON from the outside: token headers, claims, answers about one token.
 *
 * jansson, but with duplicate members refused (RFC 7515 section 10.12), nothing after the value,
 * and a limit on nesting that is checked before the parser recurses. */
#pragma once

#include <jansson.h>

#include "base/str.h"

/* An object or array, at most LIMIT_TOKEN_JSON_DEPTH deep; NULL when the text is anything else or
 * memory is out. *why (may be NULL) is a constant text then, and errno ENOMEM
 * or EINVAL. New reference. */
json_t *strict_json_load(struct str text, const char **why) __attribute__((warn_unused_result));

/* The same with flags of jansson's in place of JSON_REJECT_DUPLICATES, and with integers beyond 64
 * bits, which become the nearest double. */
json_t *strict_json_load_wide(struct str text, size_t flags, const char **why)
    __attribute__((warn_unused_result));

/* json_loadb() without two faults of jansson 2.14; NULL then, errno ENOMEM or EINVAL. Where memory
 * runs out it goes on without the characters that it had none for, and returns a value that nobody
 * wrote (json_dumps() does the same: see dump.h). And a NUL behind a number is left out:
 * a text with a NUL anywhere is refused, as RFC 8259 has none. */
json_t *strict_json_watched(struct str text, size_t flags, json_error_t *error)
    __attribute__((warn_unused_result));

/* A text that a script would read as JSON: any value, at most LIMIT_JSON_DEPTH deep, the last of
 * members of one name, integers beyond 64 bits as doubles. NULL as above; so a name with U+0000,
 * too. */
json_t *strict_json_load_any(struct str text, const char **why) __attribute__((warn_unused_result));
