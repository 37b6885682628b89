/* Paths that routes can tell apart: see check_paths.h.
 *
 * Patterns tell paths apart by what stands in which place. So each pattern gives a path with a word
 * that no pattern has wherever anything may stand, one for each length that it can have; and where
 * two such paths can be the same, so does the path that both mean. */
#include "cli/check_paths.h"

#include <errno.h>
#include <string.h>

#include "http/route_pattern.h"

enum { PLACES_MAX = ROUTE_SEGMENTS_MAX + 1, MEETINGS_MAX = 4096 };

static const char ANY[] = "luafn-any-word";

struct shape {
    struct str pattern;
    unsigned count;
    struct str at[PLACES_MAX]; /* empty: anything */
};

struct shapes {
    struct arena *arena;
    struct shape **list;
    unsigned count, cap, meetings;
    int rc;
};

static bool same(const struct shape *a, const struct shape *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!str_eq(a->at[i], b->at[i]))
            return false;
    return true;
}

/* Unless it is there. */
static bool add(struct shapes *s, const struct shape *shape)
{
    for (unsigned i = 0; i < s->count; i++)
        if (same(s->list[i], shape))
            return false;
    if (s->count == s->cap) {
        unsigned cap = s->cap * 2 + 64;
        struct shape **more = arena_alloc(s->arena, cap * sizeof(struct shape *));
        if (more != NULL && s->count > 0)
            memcpy(more, s->list, s->count * sizeof(struct shape *));
        s->rc = more == NULL ? -ENOMEM : s->rc;
        s->list = more;
        s->cap = cap;
    }
    struct shape *copy = s->rc == 0 ? arena_alloc(s->arena, sizeof(*copy)) : NULL;
    if (copy == NULL) {
        s->rc = -ENOMEM;
        return false;
    }
    *copy = *shape;
    s->list[s->count++] = copy;
    return true;
}

static unsigned parse(struct str pattern, struct segment *segments)
{
    unsigned count = 0;
    if (pattern.len > 1 && pattern.ptr[pattern.len - 1] == '/')
        pattern.len--;
    return route_pattern_parse(pattern, segments, &count) == NULL ? count : 0;
}

/* In each length up to `longest`. */
static void add_pattern(struct shapes *s, struct str pattern, unsigned longest)
{
    struct segment segments[ROUTE_SEGMENTS_MAX];
    unsigned count = parse(pattern, segments);
    struct shape shape = {.pattern = pattern};
    enum segment_kind end = count > 0 ? segments[count - 1].kind : SEGMENT_LITERAL;
    unsigned fixed = count - (end == SEGMENT_REST || end == SEGMENT_OPTIONAL);
    for (unsigned i = 0; i < fixed; i++)
        if (segments[i].kind == SEGMENT_LITERAL)
            shape.at[i] = segments[i].text;
    unsigned most = end == SEGMENT_REST ? longest : count;
    for (shape.count = fixed; s->rc == 0 && shape.count <= most && shape.count <= PLACES_MAX;
         shape.count++)
        (void)add(s, &shape);
}

/* What both can be. */
static bool meet(const struct shape *a, const struct shape *b, struct shape *out)
{
    if (a->count != b->count)
        return false;
    *out = (struct shape){.pattern = {NULL, 0}, .count = a->count};
    for (unsigned i = 0; i < a->count; i++) {
        if (a->at[i].len > 0 && b->at[i].len > 0 && !str_eq(a->at[i], b->at[i]))
            return false;
        out->at[i] = a->at[i].len > 0 ? a->at[i] : b->at[i];
    }
    return true;
}

static void add_meetings(struct shapes *s)
{
    struct shape both;
    for (unsigned i = 0; i < s->count; i++)
        for (unsigned j = 0; j < i && s->rc == 0 && s->meetings <= MEETINGS_MAX; j++)
            if (meet(s->list[i], s->list[j], &both))
                s->meetings += add(s, &both);
}

static struct str write_path(struct arena *arena, const struct shape *shape, const char *any)
{
    struct str path = shape->count == 0 ? STR("/") : STR("");
    for (unsigned i = 0; i < shape->count && path.ptr != NULL; i++) {
        struct str word = shape->at[i].len > 0 ? shape->at[i] : str_from(any);
        path = arena_printf(arena, "%.*s/%.*s", STR_ARG(path), STR_ARG(word));
    }
    return path;
}

int check_paths(const struct str *patterns, unsigned count, struct arena *arena,
                struct check_paths *out)
{
    struct shapes s = {.arena = arena};
    unsigned longest = 0;
    for (unsigned i = 0; i < count; i++) {
        struct segment segments[ROUTE_SEGMENTS_MAX];
        unsigned places = parse(patterns[i], segments);
        longest = places > longest ? places : longest;
    }
    for (unsigned i = 0; i < count; i++)
        add_pattern(&s, patterns[i], longest + 1);
    add_meetings(&s);
    *out = (struct check_paths){.cut = s.meetings > MEETINGS_MAX};
    if (s.rc == 0 && s.count > 0)
        out->list = arena_alloc(arena, s.count * sizeof(*out->list));
    for (unsigned i = 0; s.rc == 0 && i < s.count; i++) {
        struct check_path one = {write_path(arena, s.list[i], ANY),
                                 write_path(arena, s.list[i], "*"), s.list[i]->pattern};
        if (out->list == NULL || one.path.ptr == NULL || one.shown.ptr == NULL)
            s.rc = -ENOMEM;
        else
            out->list[out->count++] = one;
    }
    return s.rc;
}
