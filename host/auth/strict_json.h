/* JSON from the outside: key sets, token headers, claims.
 *
 * jansson, but with duplicate members refused (RFC 7515 section 10.12), nothing after the value,
 * and a limit on nesting that is checked before the parser recurses. */
#ifndef LUAFN_AUTH_STRICT_JSON_H
#define LUAFN_AUTH_STRICT_JSON_H

#include <jansson.h>

#include "base/str.h"

/* An object or array, at most LIMIT_TOKEN_JSON_DEPTH deep; NULL when the text is anything else or
 * memory is out. *why (may be NULL) is a constant text then, and errno ENOMEM
 * or EINVAL. New reference. */
json_t *strict_json_load(struct str text, const char **why) __attribute__((warn_unused_result));

#endif
