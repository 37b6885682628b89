/* Conditional requests and ranges (RFC 9110 13 and 14): what a request asks of a representation
 * that is known by its validators, before a byte of it is read. */
#pragma once

#include "http/request.h"

struct validators {
    struct str etag;  /* with its quotes, and W/ where it is weak */
    int64_t modified; /* Last-Modified, in seconds; -1: it has none */
    bool dated;       /* bytes of that date are the same bytes: it is a strong validator */
};

enum condition {
    CONDITION_MET,
    CONDITION_UNCHANGED, /* 304 */
    CONDITION_FAILED     /* 412 */
};

/* If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since, in the order of 13.2.2, of a
 * GET or HEAD. Dates that are none count as not sent. */
enum condition condition_judge(const struct request *req, const struct validators *validators);

enum range {
    RANGE_NONE, /* all of it */
    RANGE_PART,
    RANGE_BAD /* 416 */
};

/* One range of bytes of a GET, where If-Range holds (14.2, 13.1.5): *first and *len, which is more
 * than nothing. What is not understood, and several ranges, mean all of it. */
enum range condition_range(const struct request *req, const struct validators *validators,
                           uint64_t size, uint64_t *first, uint64_t *len);
