/* The first look at the bytes of a head: strict, incremental, without memory of its own.
 *
 * Every byte of a request line and its header fields passes here before anything else sees it, so
 * that what a lenient parser would mend is refused instead (RFC 9112 sections 2.2, 3 and 5): bare
 * CR or LF, folded lines, control characters, empty or spaced names, a second space in the request
 * line, unknown methods and versions, and whatever exceeds a limit. The verdict depends on the
 * bytes alone, never on how they were cut, and comes with the first wrong byte. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "http/fault.h"
#include "http/request.h"

enum head_state {
    HEAD_START, /* nothing but empty lines so far */
    HEAD_START_LF,
    HEAD_METHOD,
    HEAD_TARGET,
    HEAD_VERSION,
    HEAD_VERSION_LF,
    HEAD_LINE, /* at the beginning of a field line, or of the empty line */
    HEAD_NAME,
    HEAD_VALUE,
    HEAD_VALUE_LF,
    HEAD_END_LF,
    HEAD_DONE
};

struct head_scan {
    enum head_state state;
    bool trailers;           /* a trailer section: no request line */
    size_t limit;            /* bytes in all */
    size_t bytes;            /* seen so far, without the skipped ones */
    size_t skipped;          /* bytes of empty lines before the request line */
    size_t target_len;       /* of the request target */
    unsigned lines;          /* field lines */
    unsigned at;             /* bytes of the method or the version so far */
    char word[8];            /* the method, then the version's digits */
    enum http_method method; /* METHOD_COUNT while unknown */
    int version_minor;
    size_t credential, credential_len; /* inside of a long one that came in one piece; from the
                                          request line's start */
};

/* For a request head of at most `limit` bytes. */
void head_scan_init(struct head_scan *scan, size_t limit);

/* For the trailer section of a chunked body. */
void head_scan_init_trailers(struct head_scan *scan, size_t limit);

/* Looks at `input` up to the end of the head; *used is how much of it that was. NULL, or why the
 * request is refused: the scan is over then. The head is complete when state is HEAD_DONE. */
const struct http_fault *head_scan_feed(struct head_scan *scan, struct str input, size_t *used)
    __attribute__((warn_unused_result));
