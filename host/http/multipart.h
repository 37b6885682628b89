/* multipart/form-data (RFC 7578, RFC 2046 section 5.1.1), as it comes: fed piece by piece, cut
 * anywhere, in memory of one size. What is there of a part's data is handed on as it stands in the
 * piece; held back is but what may be the beginning of a boundary's line. */
#pragma once

#include <stdbool.h>

#include "base/limits.h"
#include "base/str.h"
#include "http/fault.h"

enum {
    MULTIPART_BOUNDARY_MAX = 70, /* RFC 2046 */
    MULTIPART_PADDING_MAX = 64,  /* blanks behind a boundary; with more of them it is data */
    MULTIPART_LINE_MAX = 4 + MULTIPART_BOUNDARY_MAX + MULTIPART_PADDING_MAX + 2
};

/* In quotes a quote is `\"`; browsers write it "%22", and a backslash as itself. Nothing of that is
 * decoded. */
struct multipart_part {
    struct str name;     /* as it stands there */
    struct str filename; /* ptr NULL: a field, no file */
    struct str type;     /* of its Content-Type; ptr NULL: none */
};

enum multipart_event {
    MULTIPART_MORE,  /* all that was given is used */
    MULTIPART_PART,  /* a part begins: `part` */
    MULTIPART_DATA,  /* bytes of it: `data` */
    MULTIPART_END,   /* no part follows, whatever does */
    MULTIPART_FAULT, /* it is no form: `fault`; nothing more can be read */
};

enum multipart_state {
    MULTIPART_IN_PREAMBLE,
    MULTIPART_IN_HEAD,
    MULTIPART_IN_DATA,
    MULTIPART_OVER
};

struct multipart_reader {
    enum multipart_state state;
    enum multipart_event due; /* what comes with the next call; MULTIPART_MORE: nothing */
    struct str line;          /* CR LF, two dashes, the boundary; in line_text */
    char line_text[4 + MULTIPART_BOUNDARY_MAX];
    char held[MULTIPART_LINE_MAX]; /* may be the beginning of such a line */
    size_t held_len, held_virtual; /* the first of these were not in the body */
    char out[MULTIPART_LINE_MAX];  /* what was held, and is data */
    char head[LIMIT_FORM_PART_HEAD];
    size_t head_len;
    unsigned parts; /* that have begun */

    /* what an event brings; good until the next call */
    struct multipart_part part;
    struct str data;
    const struct http_fault *fault; /* static */
};

extern const struct http_fault multipart_bad_part;  /* 400: no part with a name stands there */
extern const struct http_fault multipart_long_head; /* 413 */
extern const struct http_fault multipart_too_many;  /* 413 */

/* The boundary that a Content-Type names: 1 to 70 bytes, in quotes or not. False: it names none, or
 * it is another type. */
bool multipart_boundary(struct str content_type, struct str *out);

/* `boundary` is copied. */
void multipart_init(struct multipart_reader *reader, struct str boundary);

/* What comes next in `bytes`, which are taken off as they are used. A body that ends before
 * MULTIPART_END was not whole. Of a part that lies in `bytes` whole, the data is one piece. */
enum multipart_event multipart_feed(struct multipart_reader *reader, struct str *bytes);
