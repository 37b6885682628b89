/* JSON of a provider about itself (OpenID configuration, key set), read as JavaScript reads it.
 *
 * The document is the provider's own and came over a connection that it answers for: nothing is
 * gained by refusing what every other client takes. So of a member that is there twice the last
 * counts (RFC 7517 section 4 allows that), a number beyond a float is a large one, and what is no
 * character (bytes that are not UTF-8, half of a surrogate pair), or is U+0000, reads as U+FFFD. A
 * byte order mark at the front is skipped. What says something of one token is read strictly
 * (json/strict.h). */
#pragma once

#include <jansson.h>

#include "base/str.h"

/* An object or array, at most LIMIT_TOKEN_JSON_DEPTH deep; else NULL with *why, a constant text,
 * and errno EINVAL or ENOMEM. New reference. */
json_t *provider_json_load(struct str text, const char **why) __attribute__((warn_unused_result));
