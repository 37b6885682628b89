/* The chunked transfer coding (RFC 9112 7.1), decoded strictly.
 *
 * Chunk lines end with CR LF, sizes are hex digits, extensions and trailers are checked and
 * dropped. Bytes that carry no data are on a budget, so that a body of tiny chunks
 * or long extensions ends early; nothing of them is stored. */
#pragma once

#include "http/head_scan.h"

#define CHUNKED_MAX (UINT64_MAX / 4) /* the largest limit that can be counted to */

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_EXTENSION, /* behind ';' */
    CHUNKED_EXT_NAME,
    CHUNKED_EXT_NAME_BLANK,
    CHUNKED_EXT_EQUALS, /* behind '=' */
    CHUNKED_EXT_VALUE,
    CHUNKED_EXT_VALUE_BLANK,
    CHUNKED_EXT_QUOTED,
    CHUNKED_EXT_ESCAPED,
    CHUNKED_EXT_QUOTED_END,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILERS,
    CHUNKED_DONE
};

struct chunked {
    enum chunked_state state;
    unsigned digits;   /* of the size so far */
    uint64_t limit;    /* data bytes in all */
    uint64_t data;     /* data bytes announced so far, this chunk included */
    uint64_t left;     /* of this chunk */
    uint64_t overhead; /* bytes that are no data */
    struct head_scan trailers;
};

void chunked_init(struct chunked *chunked, uint64_t limit);

/* Takes bytes from the front of *input. *data is the piece of body that they hold, a slice of the
 * input; it may be empty while there is more input: call again until the input is used up or state
 * is CHUNKED_DONE. NULL, or why the body is refused. */
const struct http_fault *chunked_feed(struct chunked *chunked, struct str *input, struct str *data)
    __attribute__((warn_unused_result));
