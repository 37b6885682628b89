/* Patterns: regular expressions of ECMA-262, in its Unicode mode, by PCRE2.
 *
 * A pattern is rewritten: what both write differently is written as PCRE2 does, and what only PCRE2
 * knows is refused. A match may look at a part of the text as often as it has steps. */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct schema_regex;

/* NULL: *why says what is wrong with it, and errno EINVAL or ENOMEM. Well-formed UTF-8. */
struct schema_regex *schema_regex_new(struct str pattern, char *why, size_t why_size);
void schema_regex_free(struct schema_regex *regex);

/* Bytes that it takes. */
size_t schema_regex_size(const struct schema_regex *regex);

/* Does it match somewhere in the text, which is well-formed UTF-8? 1 or 0; -E2BIG: that needs more
 * than *steps, of which what was used is taken; -ENOMEM. */
int schema_regex_match(const struct schema_regex *regex, struct str text, size_t *steps);
