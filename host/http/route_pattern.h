/* Patterns of routes: "/shows/:id", "/shows/:id?". For router.c, and for who compares routes. */
#pragma once

#include "base/str.h"

enum { ROUTE_SEGMENTS_MAX = 32 }; /* of a pattern; a message names it */

enum segment_kind { SEGMENT_LITERAL, SEGMENT_PARAM, SEGMENT_OPTIONAL, SEGMENT_REST };

struct segment {
    enum segment_kind kind;
    struct str text; /* the literal, or the name; in the pattern */
};

/* Splits a pattern (without its final '/') into segments, ROUTE_SEGMENTS_MAX at most; returns what
 * is wrong, or NULL. */
const char *route_pattern_parse(struct str pattern, struct segment *segments, unsigned *count);
