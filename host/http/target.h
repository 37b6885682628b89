/* Request targets: splitting, percent-decoding, one normalisation of paths, query strings. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

/* Percent-decodes. With `plus_is_space`, '+' becomes a space (query strings). A '%' that is not
 * followed by two hex digits stays as it is. ptr NULL when out of memory. */
struct str target_percent_decode(struct arena *arena, struct str s, bool plus_is_space);

/* One character of `s` at `at`, decoded where it is percent-encoded; returns how many bytes it
 * takes (3 or 1). For walks that need no copy. */
size_t target_percent_next(struct str s, size_t at, char *out);

/* The path that routing and static files see: "." and ".." segments resolved (RFC 3986 5.2.4) also
 * where they are percent-encoded, runs of '/' kept (so that "//x" is not "/x"). -EINVAL for a path
 * that leaves the root, holds an encoded NUL, a raw '\', a '%' that begins no escape, or text that
 * is not UTF-8; -ENOMEM. Everything else stays percent-encoded as sent, "%2F" too: it is part of
 * its segment, and only files refuse it (target_hides_separator). *out may be `path` itself. */
int target_normalize_path(struct arena *arena, struct str path, struct str *out)
    __attribute__((warn_unused_result));

/* Does it hold a '/' or '\' in disguise? Then no file is meant. */
bool target_hides_separator(struct str path);

/* One name=value of a query string, decoded. */
struct query_pair {
    struct str name;
    struct str value;
};

/* All pairs in order; "?c" gives an empty value; brackets are part of the name. Returns the count
 * and *pairs in the arena, or -ENOMEM. */
int target_parse_query(struct arena *arena, struct str query, struct query_pair **pairs);

/* "host:8080" -> "host", "[::1]:8080" -> "[::1]". */
struct str target_authority_host(struct str authority);
