/* multipart/form-data (RFC 7578, RFC 2046 section 5.1.1) of a body that is all there. Pure text:
 * nothing is copied or decoded. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* In quotes a quote is `\"`; browsers write it "%22", and a backslash as itself. Nothing of that is
 * decoded. */
struct multipart_part {
    struct str name;     /* as it stands there */
    struct str filename; /* ptr NULL: a field, no file */
    struct str type;     /* of its Content-Type; ptr NULL: none */
    struct str data;     /* any bytes */
};

/* The boundary that a Content-Type names: 1 to 70 bytes, in quotes or not. False: it names none, or
 * it is another type. */
bool multipart_boundary(struct str content_type, struct str *out);

/* Before the first part. False: the body has none. */
bool multipart_begin(struct str body, struct str boundary, struct str *rest);

/* The next part: 1; 0: there is none, the end was right; -EINVAL: what stands there is no part with
 * a name, or the end is missing. */
int multipart_next(struct str *rest, struct str boundary, struct multipart_part *out);
