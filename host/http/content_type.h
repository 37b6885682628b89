/* Media types: of files, and which of them are text. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* By the ending of a name, in any case; application/octet-stream when unknown. Static. */
struct str content_type_of(struct str name);

/* Is this value of a Content-Type that of JSON: application/json, text/json, or ...+json?
 * Parameters and case do not matter. A browser's form can send none of them without asking first.
 */
bool content_type_is_json(struct str value);

/* Is this value of a Content-Type that of text: text/..., ...+json, ...+xml, an application's type
 * that is known for it, or one of `also` (NULL-terminated)? Parameters and case do not matter. */
bool content_type_is_text(struct str value, const char *const *also);
