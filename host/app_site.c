/* What is no function: redirects and rewrites, static files, the 404 page; and the headers of every
 * answer. */
#include "app.h"

#include <stdio.h>
#include <string.h>

#include "http/target.h"

static bool file_exists(struct app *app, struct exchange *ex, struct str path)
{
    bool found = static_serve(&app->current->site, ex, path);
    if (found)
        ex->res = (struct response){0};
    return found;
}

static void set_redirect(struct exchange *ex, const struct redirect_rule *rule, struct str target)
{
    struct arena *arena = &ex->arena;
    struct str body = arena_printf(arena, "Redirecting to %.*s", STR_ARG(target));
    ex->res.headers.len = 0;
    if (body.ptr == NULL || !header_value_is_valid(target) ||
        response_set_body(&ex->res, arena, rule->status, STR("text/plain; charset=utf-8"), body) !=
            0 ||
        headers_add(&ex->res.headers, arena, STR("Location"), target) != 0 ||
        headers_add(&ex->res.headers, arena, STR("Cache-Control"), STR("no-cache")) != 0)
        ex->res = (struct response){.status = 500};
}

/* A rewrite stays on this host: the target's path is looked at as a file, then as a function's. */
static bool rewrite(struct app *app, struct exchange *ex, const struct redirect_rule *rule,
                    struct str target, struct str *rewritten)
{
    struct str path = {target.ptr, str_find(target, '?')};
    if (path_normalize(&ex->arena, path, &path) != 0)
        return false;
    if (static_serve(&app->current->site, ex, path)) {
        if (rule->status != 200 && ex->res.status == 200)
            ex->res.status = rule->status;
        return true;
    }
    *rewritten = path;
    return false;
}

/* The first rule that matches decides. True when the exchange is answered or *rewritten is set. */
static bool apply_rules(struct app *app, struct exchange *ex, struct str path,
                        struct str *rewritten, bool *answered)
{
    const struct config *config = app->current->config;
    for (unsigned i = 0; i < config->redirect_count; i++) {
        const struct redirect_rule *rule = &config->redirects[i];
        struct str target;
        if (!redirect_match(rule, &ex->req, &ex->arena, &target))
            continue;
        if (!rule->force && file_exists(app, ex, path))
            return false;
        if (rule->status >= 300 && rule->status < 400) {
            set_redirect(ex, rule, target);
            *answered = true;
        } else {
            *answered = rewrite(app, ex, rule, target, rewritten);
        }
        return true;
    }
    return false;
}

bool app_site(struct app *app, struct exchange *ex, struct str path, struct str *rewritten)
{
    bool answered = false;
    if (apply_rules(app, ex, path, rewritten, &answered))
        return answered;
    return static_serve(&app->current->site, ex, path) ||
           (!str_starts_with(path, app->current->config->prefix) &&
            static_serve_not_found(&app->current->site, ex));
}

/* X-Luafn-Generation: NAME@N, so that a person sees which version answered. */
static void add_generation(struct exchange *ex)
{
    struct str value = arena_printf(&ex->arena, "%s@%u", ex->function, ex->generation);
    if (value.ptr == NULL ||
        headers_set(&ex->res.headers, &ex->arena, STR("X-Luafn-Generation"), value) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
}

void app_decorate(struct exchange *ex)
{
    struct app *app = ex->app;
    if (app->current == NULL)
        return;
    const struct config *config = app->current->config;
    ex->compress = config->compression;
    if (config->header_count > 0 && header_rules_apply(config->headers, config->header_count, ex,
                                                       ex->req.path, ex->function == NULL) != 0)
        ex->res.close = true;
    if (config->cors.origin_count > 0)
        cors_add_headers(&config->cors, ex);
    if (app->options.dev && ex->function != NULL)
        add_generation(ex);
    app_rate_headers(ex);
}
