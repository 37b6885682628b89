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
#include "config/config_protect.h"

/* A line of the table. */
struct row {
    bool gained;
    unsigned methods; /* bits; 0: it is a tool, of the name that stands for the path */
    struct str path, name, who;
};

/* What a pair of policies makes of callers, once computed. */
struct pair {
    const struct policy *from, *to;
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

static struct access access_of(const struct deployment *d, const struct policy *policy)
{
    if (policy == NULL)
        return (struct access){NULL, NULL};
    return (struct access){policy, policy->own_count > 0 ? policy->own : d->config->issuers};
}

static const struct policy *policy_of(const struct function *function)
{
    return function != NULL ? &function->spec->policy : NULL;
}

/* Whom `to` lets through and `from` does not; either may be NULL: then it is nobody. */
static const struct pair *compare(struct diff *d, const struct deployment *from_of,
                                  const struct policy *from, const struct deployment *to_of,
                                  const struct policy *to)
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
                     unsigned methods, struct str pattern, struct str name, const struct pair *pair)
{
    bool is_own = path->pattern.ptr != NULL && str_eq(path->pattern, pattern);
    for (unsigned i = 0; pair != NULL && d->rc == 0 && is_own == whole && i < pair->count; i++) {
        const struct row row = {gained, methods, whole ? pattern : path->shown, name, pair->who[i]};
        if (whole || !is_told(d, &row, pattern))
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
    const struct policy *old = policy_of(from), *new = policy_of(to);
    if (to != NULL)
        add_rows(d, true, whole, path, METHOD_BIT(method), now.pattern, to->spec->name,
                 compare(d, d->before, old, d->now, new));
    if (from != NULL)
        add_rows(d, false, whole, path, METHOD_BIT(method), before.pattern, from->spec->name,
                 compare(d, d->now, new, d->before, old));
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

static void tell_cut(const struct check_paths *paths)
{
    if (paths->cut)
        fprintf(stderr, "warning: so many routes overlap that not all places where they do were "
                        "compared\n");
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
    tell_cut(&paths);
}

/* ---- the site ---- */

/* Where no rule is, what there is is everybody's. */
static const struct policy *guard_at(struct diff *d, const struct deployment *of, struct str path,
                                     struct str *pattern)
{
    static const struct policy nothing = {.kind = POLICY_PUBLIC};
    const struct config_protect *rule;
    if (config_protect_find(of->config, path, &d->arena, &rule) != 0)
        d->rc = -ENOMEM;
    if (d->rc != 0 || rule == NULL)
        return &nothing;
    *pattern = rule->path;
    return &rule->policy;
}

static void compare_site_at(struct diff *d, const struct check_path *path, bool whole)
{
    struct str before = path->shown, now = path->shown;
    const struct policy *from = guard_at(d, d->before, path->path, &before);
    const struct policy *to = guard_at(d, d->now, path->path, &now);
    if (from != to) {
        struct str name = STR("-");
        add_rows(d, true, whole, path, METHOD_ALL, now, name,
                 compare(d, d->before, from, d->now, to));
        add_rows(d, false, whole, path, METHOD_ALL, before, name,
                 compare(d, d->now, to, d->before, from));
    }
}

static void compare_site(struct diff *d)
{
    struct patterns patterns = {.list = NULL};
    struct check_paths paths = {.list = NULL};
    for (unsigned i = 0; i < d->now->config->protect_count; i++)
        add_pattern(d, &patterns, d->now->config->protect[i].path);
    for (unsigned i = 0; i < d->before->config->protect_count; i++)
        add_pattern(d, &patterns, d->before->config->protect[i].path);
    if (d->rc == 0)
        d->rc = check_paths(patterns.list, patterns.count, &d->arena, &paths);
    for (int whole = 1; whole >= 0; whole--)
        for (unsigned i = 0; i < paths.count && d->rc == 0; i++)
            compare_site_at(d, &paths.list[i], whole == 1);
    tell_cut(&paths);
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
        const struct pair *pair =
            to != NULL ? compare(d, before, policy_of(from), now, policy_of(to)) : NULL;
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
    compare_site(&d);
    compare_tools(&d, true, before, now);
    compare_tools(&d, false, now, before);
    compare_revocation(&d, true, before->config, now->config);
    compare_revocation(&d, false, now->config, before->config);
    unsigned gained = d.rc == 0 ? print_table(&d) : 0;
    int rc = d.rc == 0 ? 0 : cli_fault("out of memory");
    arena_free(&d.arena);
    return rc != 0 ? rc : gained > 0 && !allow ? EXIT_GAINED : EXIT_GOOD;
}
