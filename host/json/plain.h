/* JSON as most tokens are written, read fast: an object of names and texts in plain ASCII without
 * escapes, whole numbers, true, false, null, and lists and objects of those.
 *
 * It spares 31,400 instructions where the claims of a known token are read again (51,200 without
 * it: `token-check-cold` of bench-guard), and 38,200 of a new token's.
 *
 * Everything else is left to the strict parser (json/strict.h), which also judges whatever is
 * not JSON: this one never refuses, and what it reads, the strict one would read to the same
 * value. */
#pragma once

#include <jansson.h>

#include "base/str.h"

/* A new reference, or NULL: not that plain, a member twice, or out of memory. */
json_t *plain_json_load(struct str text);
