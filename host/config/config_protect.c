/* Policies before the site. */
#include "config/config_protect.h"

#include <errno.h>
#include <lauxlib.h>

#include "base/limits.h"
#include "http/header_rule.h"
#include "http/route_pattern.h"
#include "options/options_auth.h"

/* As a function's path, so that `check --diff` can tell apart what two of them match; but what may
 * be missing is a rule of its own. */
static int check_pattern(struct options_reader *r, struct str path)
{
    struct segment segments[ROUTE_SEGMENTS_MAX];
    unsigned count = 0;
    if (path.ptr == NULL)
        return options_fault(r, NULL, "has no `path`, such as path = \"/admin/*\"");
    const char *fault = path.len == 0 || path.ptr[0] != '/'
                            ? "a path begins with '/'"
                            : route_pattern_parse(path, segments, &count);
    if (fault != NULL)
        return options_fault(r, "path", "'%.*s': %s", STR_ARG(path), fault);
    if (count > 0 && segments[count - 1].kind == SEGMENT_OPTIONAL)
        return options_fault(r, "path", "'%.*s': write one rule for each, with '?' in none",
                             STR_ARG(path));
    return 0;
}

static int read_rule(struct options_reader *r, struct config_protect *rule)
{
    static const char *const keys[] = {"path", "auth", NULL};
    options_check_keys(r, keys);
    options_str(r, "path", &rule->path);
    if (r->rc == 0)
        check_pattern(r, rule->path);
    options_read_policy(r, &rule->policy);
    if (r->rc == 0 && rule->policy.kind == POLICY_UNSET)
        options_fault(r, NULL, "has no `auth`, such as auth = { role = \"admin\" }");
    if (r->rc == 0 && rule->policy.kind == POLICY_WEBHOOK)
        options_fault(r, "auth", "cannot be a webhook's: those are for functions");
    return r->rc;
}

int config_read_protect(struct options_reader *r, struct config *config)
{
    if (!options_get(r, "protect"))
        return 0;
    int rc =
        lua_istable(r->L, -1)
            ? options_check_list(r, "protect", "{ { path = \"/admin/*\", auth = true } }")
            : options_fault(r, "protect", "must be a table, not a %s", luaL_typename(r->L, -1));
    size_t count = rc == 0 ? (size_t)lua_rawlen(r->L, -1) : 0;
    if (rc == 0 && count > LIMIT_PROTECT_RULES)
        rc = options_fault(r, "protect", "has %d rules at most", LIMIT_PROTECT_RULES);
    config->protect = arena_zalloc(r->arena, (count + 1) * sizeof(*config->protect));
    if (config->protect == NULL) {
        rc = options_no_memory(r);
        count = 0;
    }
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        size_t before = options_enter(r, "protect", 0);
        options_enter(r, NULL, i + 1);
        lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
        config->protect_count = i + 1; /* it owns what it has read, also where that is no good */
        rc = lua_istable(r->L, -1)
                 ? read_rule(r, &config->protect[i])
                 : options_fault(r, NULL, "must be a table, not a %s", luaL_typename(r->L, -1));
        lua_pop(r->L, 1);
        options_leave(r, before);
    }
    lua_pop(r->L, 1);
    return rc;
}

/* ---- which one ---- */

enum { NAMES_MAX = 7 };

/* With one slash for each run of them. */
static struct str collapse(struct str path, struct arena *arena)
{
    char *out = arena_alloc(arena, path.len + 1);
    size_t len = 0;
    for (size_t i = 0; out != NULL && i < path.len; i++)
        if (path.ptr[i] != '/' || len == 0 || out[len - 1] != '/')
            out[len++] = path.ptr[i];
    return (struct str){out, len};
}

/* All names under which the files of that path may be meant. 0 or -ENOMEM. */
static int name_files(struct str path, struct arena *arena, struct str *names)
{
    static const char *const pretty[] = {".html", ".htm", "/index.html", "/index.htm"};
    static const char *const packed[] = {".gz", ".br"};
    struct str whole = str_find_text(path, STR("//")) < path.len ? collapse(path, arena) : path;
    if (whole.ptr == NULL)
        return -ENOMEM;
    struct str bare = whole;
    bare.len -= str_ends_with(bare, STR("/"));
    names[0] = path;
    names[1] = whole;
    for (unsigned i = 0; i < 4; i++) {
        names[2 + i] = arena_printf(arena, "%.*s%s", STR_ARG(bare), pretty[i]);
        if (names[2 + i].ptr == NULL)
            return -ENOMEM;
    }
    names[6] = whole;
    for (unsigned i = 0; i < 2; i++)
        if (str_ends_with(whole, str_from(packed[i])))
            names[6].len = whole.len - 3;
    return 0;
}

static bool matches(const struct config_protect *rule, const struct str *names)
{
    const struct header_rule pattern = {.path = rule->path};
    unsigned count = rule->policy.kind == POLICY_PUBLIC ? 1 : NAMES_MAX;
    for (unsigned i = 0; i < count; i++)
        if (header_rule_matches(&pattern, names[i]))
            return true;
    return false;
}

int config_protect_find(const struct config *config, struct str path, struct arena *arena,
                        const struct config_protect **rule)
{
    struct str names[NAMES_MAX];
    *rule = NULL;
    if (config->protect_count == 0)
        return 0;
    int rc = name_files(path, arena, names);
    for (unsigned i = 0; rc == 0 && *rule == NULL && i < config->protect_count; i++)
        if (matches(&config->protect[i], names))
            *rule = &config->protect[i];
    return rc;
}

void config_drop_protect(struct config *config)
{
    for (unsigned i = 0; i < config->protect_count; i++) {
        struct policy *policy = &config->protect[i].policy;
        json_decref(policy->claims);
        for (unsigned k = 0; k < policy->own_count; k++)
            keyset_source_clear(&policy->own[k].own_keys);
    }
    config->protect_count = 0;
}
