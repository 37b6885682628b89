/* Routes: patterns over paths, compiled once, matched without allocation.
 *
 * A pattern is a literal path ("/api/shows"), with `:name` for one segment ("/api/shows/:id"),
 * `:name?` for an optional last segment, and a final `*` for any rest, also none ("/api/" and a
 * star also matches "/api"; the rest is the parameter "splat"). A trailing slash of pattern and
 * request is ignored, but for what a splat catches. Literal segments are compared with their case,
 * as sent (percent-encoded). Among several matches for the method the one with the longest literal
 * beginning wins, and a pattern without parameters before all others; then the one added first. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "http/request.h"

struct router;

enum { ROUTE_PARAMS_MAX = 16 }; /* a message names it */

struct route_param {
    struct str name;  /* borrowed from the router */
    struct str value; /* a slice of the path, percent-encoded as sent */
};

struct route_match {
    void *target;       /* as given to router_add; borrowed */
    struct str pattern; /* as given; borrowed from the router */
    unsigned methods;   /* bits; for 405: all methods that this path exists under */
    unsigned param_count;
    struct route_param params[ROUTE_PARAMS_MAX];
};

enum route_result { ROUTE_FOUND, ROUTE_WRONG_METHOD, ROUTE_NONE };

/* NULL when out of memory. */
struct router *router_new(void);
void router_free(struct router *router);

/* Adds a pattern. -EINVAL for a bad pattern, -EEXIST when the same pattern is taken for one of
 * these methods; `err` then says so, and router_taken_by gives the other's target. The pattern's
 * text is copied. */
int router_add(struct router *router, struct str pattern, unsigned methods, void *target,
               struct err *err) __attribute__((warn_unused_result));

void *router_taken_by(const struct router *router);

/* Paths that match `pattern` do not match any route of that target, of those that are there
 * already. -EINVAL or -ENOMEM. */
int router_exclude(struct router *router, struct str pattern, const void *target, struct err *err)
    __attribute__((warn_unused_result));

enum route_result router_match(const struct router *router, enum http_method method,
                               struct str path, struct route_match *match);
