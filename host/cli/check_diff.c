/* The change of access between two deployments. Computed: for each kind of path that their routes
 * tell apart, and each method, the policies that stand there are compared (auth/access.h). */
#include "cli/check_diff.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/access.h"
#include "base/clock.h"
#include "cli/check_paths.h"
#include "cli/cli.h"

/* A line of the table. */
struct row {
    bool gained;
    unsigned methods; /* bits; 0: it is a tool, of the name that stands for the path */
    struct str path, name, who;
};

/* What a pair of functions makes of callers, once computed. */
struct pair {
    const struct function *from, *to;
    struct str *who;
    unsigned count, cap;
    struct pair *next;
};

struct diff {
    struct arena arena;
    const struct deployment *before, *now;
    struct row *rows;
    unsigned count, cap;
    struct pair *pairs;
    double time;
    int rc;
};

/* ---- growing lists in the arena ---- */

static void *grow(struct diff *d, const void *list, unsigned count, unsigned *cap, size_t size)
{
    *cap = *cap * 2 + 16;
    void *more = arena_alloc(&d->arena, *cap * size);
    if (more == NULL)
        d->rc = -ENOMEM;
    else if (count > 0)
        memcpy(more, list, count * size);
    return more;
}

/* ---- pairs of functions ---- */

struct finding {
    struct diff *d;
    struct pair *pair;
};

static void on_gap(void *arg, const struct access_gap *gap)
{
    const struct finding *f = arg;
    struct pair *pair = f->pair;
    if (pair->count == pair->cap)
        pair->who = grow(f->d, pair->who, pair->count, &pair->cap, sizeof(*pair->who));
    if (f->d->rc == 0)
        pair->who[pair->count++] = gap->who;
}

static struct access access_of(const struct deployment *d, const struct function *function)
{
    if (function == NULL)
        return (struct access){NULL, NULL};
    const struct policy *policy = &function->spec->policy;
    return (struct access){policy, policy->own_count > 0 ? policy->own : d->config->issuers};
}

/* Who may call `to` and not `from`; either may be NULL. */
static const struct pair *compare(struct diff *d, const struct deployment *from_of,
                                  const struct function *from, const struct deployment *to_of,
                                  const struct function *to)
{
    for (const struct pair *p = d->pairs; p != NULL; p = p->next)
        if (p->from == from && p->to == to)
            return p;
    struct pair *pair = arena_zalloc(&d->arena, sizeof(*pair));
    if (pair == NULL) {
        d->rc = -ENOMEM;
        return NULL;
    }
    *pair = (struct pair){.from = from, .to = to, .next = d->pairs};
    d->pairs = pair;
    struct access a = access_of(from_of, from), b = access_of(to_of, to);
    struct finding finding = {d, pair};
    if (access_compare(&a, &b, d->time, &d->arena, on_gap, &finding) != 0)
        d->rc = -ENOMEM;
    return pair;
}

/* ---- rows ---- */

/* "/a/NAME" and "/a/NAME/" with a star are one address. */
static bool is_below(struct str path, struct str top)
{
    return str_starts_with(path, top) && str_eq(str_skip(path, top.len), STR("/*"));
}

static void add_row(struct diff *d, struct row row)
{
    for (unsigned i = 0; i < d->count; i++) {
        struct row *r = &d->rows[i];
        bool same = r->gained == row.gained && str_eq(r->name, row.name) && str_eq(r->who, row.who);
        if (same && (str_eq(r->path, row.path) || is_below(row.path, r->path))) {
            r->methods |= row.methods;
            return;
        }
    }
    if (d->count == d->cap)
        d->rows = grow(d, d->rows, d->count, &d->cap, sizeof(*d->rows));
    if (d->rc == 0)
        d->rows[d->count++] = row;
}

/* Is it told of the whole pattern already? */
static bool is_told(const struct diff *d, const struct row *row, struct str pattern)
{
    for (unsigned i = 0; i < d->count; i++) {
        const struct row *r = &d->rows[i];
        if (r->gained == row->gained && str_eq(r->path, pattern) && str_eq(r->name, row->name) &&
            str_eq(r->who, row->who) && (r->methods & row->methods) == row->methods)
            return true;
    }
    return false;
}

/* `whole`: of paths that are of the pattern which they lead to; else of the others, after those. */
static void add_rows(struct diff *d, bool gained, bool whole, const struct check_path *path,
                     enum http_method method, const struct route_match *match,
                     const struct pair *pair)
{
    const struct function *function = match->target;
    bool is_own = path->pattern.ptr != NULL && str_eq(path->pattern, match->pattern);
    for (unsigned i = 0; pair != NULL && d->rc == 0 && is_own == whole && i < pair->count; i++) {
        const struct row row = {gained, METHOD_BIT(method), whole ? match->pattern : path->shown,
                                function->spec->name, pair->who[i]};
        if (whole || !is_told(d, &row, match->pattern))
            add_row(d, row);
    }
}

static const struct function *look(const struct deployment *d, enum http_method method,
                                   struct str path, struct route_match *match)
{
    return router_match(d->router, method, path, match) == ROUTE_FOUND ? match->target : NULL;
}

static void compare_at(struct diff *d, const struct check_path *path, enum http_method method,
                       bool whole)
{
    struct route_match before, now;
    const struct function *from = look(d->before, method, path->path, &before);
    const struct function *to = look(d->now, method, path->path, &now);
    if (to != NULL)
        add_rows(d, true, whole, path, method, &now, compare(d, d->before, from, d->now, to));
    if (from != NULL)
        add_rows(d, false, whole, path, method, &before, compare(d, d->now, to, d->before, from));
}

/* ---- all paths ---- */

struct patterns {
    struct str *list;
    unsigned count, cap;
};

static void add_pattern(struct diff *d, struct patterns *all, struct str pattern)
{
    if (all->count == all->cap)
        all->list = grow(d, all->list, all->count, &all->cap, sizeof(*all->list));
    if (pattern.ptr == NULL)
        d->rc = -ENOMEM;
    if (d->rc == 0)
        all->list[all->count++] = pattern;
}

static void add_patterns(struct diff *d, struct patterns *all, const struct deployment *of)
{
    for (unsigned i = 0; i < of->function_count; i++) {
        const struct function_spec *spec = of->functions[i]->spec;
        struct str own =
            arena_printf(&d->arena, "%.*s/%.*s", STR_ARG(of->config->prefix), STR_ARG(spec->name));
        for (unsigned j = 0; j < spec->path_count; j++)
            add_pattern(d, all, spec->paths[j]);
        for (unsigned j = 0; j < spec->excluded_count; j++)
            add_pattern(d, all, spec->excluded[j]);
        if (spec->path_count == 0 && spec->tool == NULL) {
            add_pattern(d, all, own);
            add_pattern(d, all, arena_printf(&d->arena, "%.*s/*", STR_ARG(own)));
        }
    }
}

static void compare_paths(struct diff *d)
{
    struct patterns patterns = {.list = NULL};
    struct check_paths paths = {.list = NULL};
    add_patterns(d, &patterns, d->now);
    add_patterns(d, &patterns, d->before);
    if (d->rc == 0)
        d->rc = check_paths(patterns.list, patterns.count, &d->arena, &paths);
    for (unsigned i = 0; i < 2 * paths.count; i++)
        for (unsigned m = 0; m < METHOD_COUNT && d->rc == 0; m++)
            compare_at(d, &paths.list[i % paths.count], (enum http_method)m, i < paths.count);
    if (paths.cut)
        fprintf(stderr, "warning: so many routes overlap that not all places where they do were "
                        "compared\n");
}

/* ---- tools ---- */

static const struct function *find_tool(const struct deployment *d, struct str name)
{
    const struct function *function = deployment_find(d, name);
    return function != NULL && function->spec->tool != NULL ? function : NULL;
}

/* They are called by name, under whatever path their server has. */
static void compare_tools(struct diff *d, bool gained, const struct deployment *before,
                          const struct deployment *now)
{
    for (unsigned i = 0; i < now->function_count; i++) {
        struct str name = now->functions[i]->spec->name;
        const struct function *to = find_tool(now, name), *from = find_tool(before, name);
        const struct pair *pair = to != NULL ? compare(d, before, from, now, to) : NULL;
        for (unsigned j = 0; pair != NULL && d->rc == 0 && j < pair->count; j++)
            add_row(d, (struct row){gained, 0, name, name, pair->who[j]});
    }
}

/* ---- revocation ---- */

static bool revokes(const struct config *config, struct str issuer)
{
    for (unsigned i = 0; i < config->issuer_count; i++)
        if (str_eq(config->issuers[i].verifier.issuer, issuer))
            return config->revocations[i].set;
    return true; /* of an issuer that is not there nothing is accepted */
}

static void compare_revocation(struct diff *d, bool gained, const struct config *before,
                               const struct config *now)
{
    for (unsigned i = 0; i < now->issuer_count; i++) {
        struct str issuer = now->issuers[i].verifier.issuer;
        if (now->revocations[i].set || !revokes(before, issuer))
            continue;
        struct str who =
            arena_printf(&d->arena, "tokens of %.*s that its events revoke", STR_ARG(issuer));
        if (who.ptr == NULL)
            d->rc = -ENOMEM;
        else
            add_row(d, (struct row){gained, METHOD_ALL, STR("*"), STR("*"), who});
    }
}

/* ---- the table ---- */

/* "GET, POST /shows", "tool shows" */
static struct str call_of(struct diff *d, const struct row *row)
{
    struct str text = row->methods == 0            ? STR("tool")
                      : row->methods == METHOD_ALL ? STR("any method")
                                                   : STR("");
    for (unsigned m = 0; row->methods != METHOD_ALL && m < METHOD_COUNT && text.ptr != NULL; m++)
        if ((row->methods & METHOD_BIT(m)) != 0)
            text = arena_printf(&d->arena, "%.*s%s%s", STR_ARG(text), text.len > 0 ? ", " : "",
                                request_method_name((enum http_method)m));
    return arena_printf(&d->arena, "%.*s %.*s", STR_ARG(text), STR_ARG(row->path));
}

static void print_rows(struct diff *d, bool gained, int call_width, int name_width)
{
    for (unsigned i = 0; i < d->count; i++) {
        const struct row *row = &d->rows[i];
        if (row->gained == gained)
            printf("%s  %-*.*s  %-*.*s  %.*s\n", gained ? "gained" : "lost  ", call_width,
                   STR_ARG(call_of(d, row)), name_width, STR_ARG(row->name), STR_ARG(row->who));
    }
}

static unsigned print_table(struct diff *d)
{
    int call_width = (int)strlen("call"), name_width = (int)strlen("function");
    unsigned gained = 0;
    for (unsigned i = 0; i < d->count; i++) {
        int call = (int)call_of(d, &d->rows[i]).len, name = (int)d->rows[i].name.len;
        call_width = call > call_width ? call : call_width;
        name_width = name > name_width ? name : name_width;
        gained += d->rows[i].gained;
    }
    if (d->count > 0)
        printf("        %-*s  %-*s  who\n", call_width, "call", name_width, "function");
    print_rows(d, true, call_width, name_width);
    print_rows(d, false, call_width, name_width);
    if (d->count == 0)
        printf("nobody gained, nobody lost\n");
    return gained;
}

int check_diff(const struct deployment *before, const struct deployment *now, bool allow)
{
    struct diff d = {.before = before, .now = now, .time = clock_now()};
    arena_init(&d.arena);
    compare_paths(&d);
    compare_tools(&d, true, before, now);
    compare_tools(&d, false, now, before);
    compare_revocation(&d, true, before->config, now->config);
    compare_revocation(&d, false, now->config, before->config);
    unsigned gained = d.rc == 0 ? print_table(&d) : 0;
    int rc = d.rc == 0 ? 0 : cli_fault("out of memory");
    arena_free(&d.arena);
    return rc != 0 ? rc : gained > 0 && !allow ? EXIT_GAINED : EXIT_GOOD;
}
