/* What stands under the names that redact.h is given, wherever they are in a text: as members of
 * JSON, however deep, as fields of forms and queries, as parts of multipart/form-data. */
#pragma once

#include "journal/redact.h"

/* Is it one of them, in any case? `names` may be NULL. */
bool redact_names_have(const struct redact_names *names, struct str name);

/* Appends the text with REDACT_TEXT in place of what stands under a name. */
void redact_names_clean(const struct redact_names *names, struct str text, struct buf *out);
