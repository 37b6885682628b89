/* Routes: a hash table from the literal beginning of a pattern to the routes that share it.
 *
 * A match looks the path up, then its beginnings up to each '/', from the longest to the shortest;
 * none is longer than the longest that a route has. The cost depends on the depth of the path, not
 * on the number of routes; only routes with the same literal beginning are compared one by one. */
#include "http/router.h"

#include <errno.h>
#include <stdlib.h>

#include "http/route_pattern.h"

enum { TABLE_MIN = 16 }; /* a power of two */

/* What a target does not want. */
struct exclusion {
    struct exclusion *next;
    const void *target;
    struct router *patterns; /* owned */
};

struct route {
    struct route *next; /* same beginning; entirely literal ones first, then as added */
    void *target;       /* borrowed */
    unsigned methods;
    const struct router
        *excluded;       /* paths that are not meant; borrowed from the router. NULL: none */
    struct str pattern;  /* owned */
    struct str prefix;   /* the literal beginning: a part of `pattern`, without a final '/' */
    unsigned tail_count; /* segments after the literal beginning */
    struct segment tail[];
};

struct group {
    uint64_t hash;
    struct route *routes; /* owned; NULL: a free place */
};

struct router {
    struct group *table; /* owned; open addressing */
    size_t size;         /* a power of two */
    size_t used;
    size_t longest; /* bytes of the longest literal beginning */
    void *taken_by; /* borrowed: the target in the way of the last addition that failed */
    struct exclusion *exclusions; /* owned */
};

/* Eight bytes at a time. What is looked up was configured, so nobody can choose what collides. */
static uint64_t hash_prefix(struct str prefix)
{
    static const uint64_t multiplier = 0x9e3779b97f4a7c15u;
    uint64_t hash = prefix.len, word;
    for (; prefix.len >= sizeof(word); prefix = str_skip(prefix, sizeof(word))) {
        memcpy(&word, prefix.ptr, sizeof(word));
        hash = (hash ^ word) * multiplier;
    }
    word = 0;
    if (prefix.len > 0)
        memcpy(&word, prefix.ptr, prefix.len);
    hash = (hash ^ word) * multiplier;
    return hash ^ hash >> 32;
}

struct router *router_new(void)
{
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return NULL;
    router->table = calloc(TABLE_MIN, sizeof(*router->table));
    router->size = TABLE_MIN;
    if (router->table == NULL) {
        free(router);
        return NULL;
    }
    return router;
}

static void route_free(struct route *route)
{
    if (route == NULL)
        return;
    free((char *)route->pattern.ptr);
    free(route);
}

void router_free(struct router *router)
{
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->size; i++) {
        for (struct route *route = router->table[i].routes; route != NULL;) {
            struct route *next = route->next;
            route_free(route);
            route = next;
        }
    }
    for (struct exclusion *one = router->exclusions; one != NULL;) {
        struct exclusion *next = one->next;
        router_free(one->patterns);
        free(one);
        one = next;
    }
    free(router->table);
    free(router);
}

/* The group of that beginning, or the free place where it would be. */
static struct group *group_find(const struct router *router, uint64_t hash, struct str prefix)
{
    for (size_t at = (size_t)hash;; at++) {
        struct group *group = &router->table[at & (router->size - 1)];
        if (group->routes == NULL || (group->hash == hash && str_eq(group->routes->prefix, prefix)))
            return group;
    }
}

/* Keeps the table at most half full. */
static int table_reserve(struct router *router)
{
    if ((router->used + 1) * 2 <= router->size)
        return 0;
    struct router bigger = *router;
    bigger.size *= 2;
    bigger.table = calloc(bigger.size, sizeof(*bigger.table));
    if (bigger.table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < router->size; i++) {
        struct group *old = &router->table[i];
        if (old->routes != NULL)
            *group_find(&bigger, old->hash, old->routes->prefix) = *old;
    }
    free(router->table);
    *router = bigger;
    return 0;
}

/* ---- patterns ------------------------------------------------------------------------------- */

static struct str without_final_slash(struct str path)
{
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

/* Reads `pattern` into a new route. 0, -EINVAL or -ENOMEM. */
static int route_new(struct str pattern, struct route **out, struct err *err)
{
    struct segment segments[ROUTE_SEGMENTS_MAX];
    unsigned count = 0;
    char *copy = malloc(pattern.len + 1);
    if (copy == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (pattern.len > 0)
        memcpy(copy, pattern.ptr, pattern.len);
    copy[pattern.len] = '\0';
    struct str owned = {copy, pattern.len};
    const char *fault = pattern.len == 0 || pattern.ptr[0] != '/'
                            ? "a path begins with '/'"
                            : route_pattern_parse(without_final_slash(owned), segments, &count);
    if (fault != NULL) {
        free(copy);
        return err_set(err, -EINVAL, "path '%.*s': %s", STR_ARG(pattern), fault);
    }
    unsigned literal = 0;
    struct str prefix = {copy, 0};
    while (literal < count && segments[literal].kind == SEGMENT_LITERAL)
        prefix.len += segments[literal++].text.len + 1;
    size_t tail = (count - literal) * sizeof(struct segment);
    struct route *route = calloc(1, sizeof(*route) + tail);
    if (route == NULL) {
        free(copy);
        return err_set(err, -ENOMEM, "out of memory");
    }
    route->pattern = owned;
    route->prefix = prefix;
    route->tail_count = count - literal;
    if (tail > 0)
        memcpy(route->tail, segments + literal, tail);
    *out = route;
    return 0;
}

/* Do both match the same paths? Names of parameters make no difference. */
static bool same_shape(const struct route *a, const struct route *b)
{
    if (a->tail_count != b->tail_count)
        return false;
    for (unsigned i = 0; i < a->tail_count; i++) {
        if (a->tail[i].kind != b->tail[i].kind)
            return false;
        if (a->tail[i].kind == SEGMENT_LITERAL && !str_eq(a->tail[i].text, b->tail[i].text))
            return false;
    }
    return true;
}

int router_add(struct router *router, struct str pattern, unsigned methods, void *target,
               struct err *err)
{
    struct route *route;
    int rc = route_new(pattern, &route, err);
    if (rc != 0)
        return rc;
    route->methods = methods;
    route->target = target;
    if (table_reserve(router) != 0) {
        route_free(route);
        return err_set(err, -ENOMEM, "out of memory");
    }
    uint64_t hash = hash_prefix(route->prefix);
    struct group *group = group_find(router, hash, route->prefix);
    struct route **place = &group->routes;
    for (struct route *other = group->routes; other != NULL; other = other->next) {
        if ((other->methods & methods) != 0 && same_shape(other, route)) {
            router->taken_by = other->target;
            rc = err_set(err, -EEXIST, "path '%.*s' is taken by '%.*s'", STR_ARG(pattern),
                         STR_ARG(other->pattern));
            route_free(route);
            return rc;
        }
        if (route->tail_count > 0 || other->tail_count == 0)
            place = &other->next;
    }
    router->used += group->routes == NULL;
    if (route->prefix.len > router->longest)
        router->longest = route->prefix.len;
    group->hash = hash;
    route->next = *place;
    *place = route;
    return 0;
}

void *router_taken_by(const struct router *router)
{
    return router->taken_by;
}

/* The patterns that the target excludes, none at first; NULL when out of memory. */
static struct router *exclusion_of(struct router *router, const void *target)
{
    for (struct exclusion *one = router->exclusions; one != NULL; one = one->next) {
        if (one->target == target)
            return one->patterns;
    }
    struct exclusion *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return NULL;
    *one = (struct exclusion){router->exclusions, target, router_new()};
    if (one->patterns == NULL) {
        free(one);
        return NULL;
    }
    router->exclusions = one;
    return one->patterns;
}

int router_exclude(struct router *router, struct str pattern, const void *target, struct err *err)
{
    struct router *excluded = exclusion_of(router, target);
    if (excluded == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    int rc = router_add(excluded, pattern, METHOD_ALL, NULL, err);
    if (rc != 0)
        return rc == -EEXIST ? 0 : rc; /* twice is no harm */
    for (size_t i = 0; i < router->size; i++) {
        for (struct route *route = router->table[i].routes; route != NULL; route = route->next) {
            if (route->target == target)
                route->excluded = excluded;
        }
    }
    return 0;
}

/* ---- matching ------------------------------------------------------------------------------- */

static void add_param(struct route_match *match, struct str name, struct str value)
{
    match->params[match->param_count].name = name;
    match->params[match->param_count].value = value;
    match->param_count++;
}

/* What follows the literal beginning of a path: "" or "/a/b". */
struct rest {
    struct str text;
    bool slash; /* one more stands behind it, which only a splat keeps */
};

/* Fills match->params. */
static bool tail_matches(const struct route *route, struct rest tail, struct route_match *match)
{
    struct str rest = tail.text;
    match->param_count = 0;
    for (unsigned i = 0; i < route->tail_count; i++) {
        const struct segment *segment = &route->tail[i];
        if (segment->kind == SEGMENT_REST) {
            struct str splat = rest.len > 0 ? str_skip(rest, 1) : rest;
            splat.len += rest.len > 0 && tail.slash;
            add_param(match, segment->text, splat);
            return true;
        }
        if (rest.len == 0)
            return segment->kind == SEGMENT_OPTIONAL;
        rest = str_skip(rest, 1);
        struct str part = {rest.ptr, str_find(rest, '/')};
        rest = str_skip(rest, part.len);
        if (segment->kind == SEGMENT_LITERAL) {
            if (!str_eq(part, segment->text))
                return false;
        } else if (part.len == 0) {
            return false;
        } else {
            add_param(match, segment->text, part);
        }
    }
    return rest.len == 0;
}

static bool is_excluded(const struct route *route, struct str path)
{
    struct route_match ignored;
    return route->excluded != NULL &&
           router_match(route->excluded, METHOD_GET, path, &ignored) == ROUTE_FOUND;
}

/* The best route of the group for this method, or NULL; methods of all that match are noted. */
static const struct route *group_match(const struct group *group, enum http_method method,
                                       struct str path, struct rest rest, struct route_match *match)
{
    for (const struct route *route = group->routes; route != NULL; route = route->next) {
        if (!tail_matches(route, rest, match) || is_excluded(route, path))
            continue;
        match->methods |= route->methods;
        if ((route->methods & METHOD_BIT(method)) != 0)
            return route;
    }
    return NULL;
}

/* To what stands before its last '/'; false: there is none. */
static bool shorten(struct str *prefix)
{
    while (prefix->len > 0) {
        if (prefix->ptr[--prefix->len] == '/')
            return true;
    }
    return false;
}

enum route_result router_match(const struct router *router, enum http_method method,
                               struct str path, struct route_match *match)
{
    struct str whole = path;
    path = without_final_slash(path);
    struct str prefix = path;
    match->methods = 0;
    bool more = true;
    if (prefix.len > router->longest) {
        prefix.len = router->longest + 1;
        more = shorten(&prefix);
    }
    for (; more; more = shorten(&prefix)) {
        const struct group *group = group_find(router, hash_prefix(prefix), prefix);
        struct rest rest = {str_skip(path, prefix.len), whole.len > path.len};
        const struct route *route = group_match(group, method, path, rest, match);
        if (route != NULL) {
            match->target = route->target;
            match->pattern = route->pattern;
            match->methods = route->methods;
            return ROUTE_FOUND;
        }
    }
    match->target = NULL;
    match->pattern = (struct str){NULL, 0};
    match->param_count = 0;
    return match->methods != 0 ? ROUTE_WRONG_METHOD : ROUTE_NONE;
}
