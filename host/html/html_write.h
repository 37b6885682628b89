/* Values as they are written into a page. All append; a buf's failure is the caller's to see. */
#pragma once

#include "base/buf.h"
#include "html/html_context.h"

/* The text as that sink wants it; of HTML_JSON and HTML_JSON_ATTR a text of JSON. A URL with
 * another scheme than http, https, mailto and tel becomes "about:invalid", what a style could take
 * for more than a word or a number "unset". */
void html_write(struct buf *out, enum html_sink sink, struct str text);
