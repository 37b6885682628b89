/* Routes: a hash table from the literal beginning of a pattern to the routes that share it.
 *
 * A match hashes the path once, noting the hash at every '/', and looks the beginnings up from the
 * longest to the shortest. The cost depends on the depth of the path, not on the number of routes;
 * only routes with the same literal beginning are compared one by one. */
#include "http/router.h"

#include <errno.h>
#include <stdlib.h>

enum {
    SEGMENTS_MAX = 32, /* of a pattern */
    TABLE_MIN = 16,    /* a power of two */
};

enum segment_kind { SEGMENT_LITERAL, SEGMENT_PARAM, SEGMENT_OPTIONAL, SEGMENT_REST };

struct segment {
    enum segment_kind kind;
    struct str text; /* the literal, or the name; in the route's pattern */
};

struct route {
    struct route *next; /* same beginning; entirely literal ones first, then as added */
    void *target;       /* borrowed */
    unsigned methods;
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
    unsigned depth; /* segments of the longest literal beginning */
};

/* FNV-1a in steps, so that one walk over a path gives the hash of each of its beginnings. */
static const uint64_t HASH_START = 1469598103934665603u;

static uint64_t hash_step(uint64_t hash, char c)
{
    return (hash ^ (unsigned char)c) * 1099511628211u;
}

static uint64_t hash_prefix(struct str prefix)
{
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < prefix.len; i++)
        hash = hash_step(hash, prefix.ptr[i]);
    return hash;
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

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_'))
            return false;
    }
    return s.len > 0;
}

/* Literals stand as they are sent, so they hold what a request target may hold. */
static const char *literal_fault(struct str s)
{
    if (s.len == 0)
        return "empty segment";
    if (str_eq(s, STR(".")) || str_eq(s, STR("..")))
        return "'.' and '..' never match";
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
            return "write spaces and characters beyond ASCII percent-encoded";
        if (strchr("*?#\\", s.ptr[i]) != NULL)
            return "'*' must be the whole last segment; '?', '#' and '\\' have no place";
    }
    return NULL;
}

/* Fills *out; returns what is wrong, or NULL. */
static const char *segment_parse(struct str text, bool last, struct segment *out)
{
    *out = (struct segment){SEGMENT_LITERAL, text};
    if (str_eq(text, STR("*"))) {
        out->kind = SEGMENT_REST;
        out->text = STR("splat");
        return last ? NULL : "'*' must be the last segment";
    }
    if (text.len == 0 || text.ptr[0] != ':')
        return literal_fault(text);
    out->kind = SEGMENT_PARAM;
    out->text = str_skip(text, 1);
    if (text.ptr[text.len - 1] == '?') {
        out->kind = SEGMENT_OPTIONAL;
        out->text.len--;
        if (!last)
            return "only the last segment can be optional";
    }
    return is_name(out->text) ? NULL : "a parameter's name is letters, digits and '_'";
}

static const char *names_fault(const struct segment *segments, unsigned count)
{
    unsigned names = 0;
    for (unsigned i = 0; i < count; i++) {
        if (segments[i].kind == SEGMENT_LITERAL)
            continue;
        if (++names > ROUTE_PARAMS_MAX)
            return "too many parameters";
        for (unsigned j = 0; j < i; j++) {
            if (segments[j].kind != SEGMENT_LITERAL && str_eq(segments[i].text, segments[j].text))
                return "two parameters of the same name";
        }
    }
    return NULL;
}

/* Splits a pattern (without its final '/') into segments; returns what is wrong, or NULL. */
static const char *pattern_parse(struct str pattern, struct segment *segments, unsigned *count)
{
    *count = 0;
    if (pattern.len == 0)
        return NULL;
    struct str rest = str_skip(pattern, 1);
    struct str text;
    while (str_split_next(&rest, '/', &text)) {
        if (*count == SEGMENTS_MAX)
            return "too many segments";
        const char *fault = segment_parse(text, rest.ptr == NULL, &segments[*count]);
        if (fault != NULL)
            return fault;
        (*count)++;
    }
    return names_fault(segments, *count);
}

static struct str without_final_slash(struct str path)
{
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

/* Reads `pattern` into a new route. 0, -EINVAL or -ENOMEM. */
static int route_new(struct str pattern, struct route **out, unsigned *depth, struct err *err)
{
    struct segment segments[SEGMENTS_MAX];
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
                            : pattern_parse(without_final_slash(owned), segments, &count);
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
    *depth = literal;
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
    unsigned depth;
    int rc = route_new(pattern, &route, &depth, err);
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
            rc = err_set(err, -EEXIST, "path '%.*s' is taken by '%.*s'", STR_ARG(pattern),
                         STR_ARG(other->pattern));
            route_free(route);
            return rc;
        }
        if (route->tail_count > 0 || other->tail_count == 0)
            place = &other->next;
    }
    router->used += group->routes == NULL;
    router->depth = depth > router->depth ? depth : router->depth;
    group->hash = hash;
    route->next = *place;
    *place = route;
    return 0;
}

/* ---- matching ------------------------------------------------------------------------------- */

static void add_param(struct route_match *match, struct str name, struct str value)
{
    match->params[match->param_count].name = name;
    match->params[match->param_count].value = value;
    match->param_count++;
}

/* Matches what follows the literal beginning: "" or "/a/b". Fills match->params. */
static bool tail_matches(const struct route *route, struct str rest, struct route_match *match)
{
    match->param_count = 0;
    for (unsigned i = 0; i < route->tail_count; i++) {
        const struct segment *segment = &route->tail[i];
        if (segment->kind == SEGMENT_REST) {
            add_param(match, segment->text, rest.len > 0 ? str_skip(rest, 1) : rest);
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

/* The best route of the group for this method, or NULL; methods of all that match are noted. */
static const struct route *group_match(const struct group *group, enum http_method method,
                                       struct str rest, struct route_match *match)
{
    for (const struct route *route = group->routes; route != NULL; route = route->next) {
        if (!tail_matches(route, rest, match))
            continue;
        match->methods |= route->methods;
        if ((route->methods & METHOD_BIT(method)) != 0)
            return route;
    }
    return NULL;
}

enum route_result router_match(const struct router *router, enum http_method method,
                               struct str path, struct route_match *match)
{
    struct {
        uint64_t hash;
        size_t len;
    } prefixes[SEGMENTS_MAX + 1];
    unsigned count = 0;
    uint64_t hash = HASH_START;
    path = without_final_slash(path);
    match->methods = 0;
    for (size_t i = 0; i <= path.len && count <= router->depth; i++) {
        if (i == path.len || path.ptr[i] == '/') {
            prefixes[count].hash = hash;
            prefixes[count++].len = i;
        }
        if (i < path.len)
            hash = hash_step(hash, path.ptr[i]);
    }
    while (count-- > 0) {
        struct str prefix = {path.ptr, prefixes[count].len};
        const struct group *group = group_find(router, prefixes[count].hash, prefix);
        const struct route *route = group_match(group, method, str_skip(path, prefix.len), match);
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
