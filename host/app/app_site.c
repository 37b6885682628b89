/* What is no function: redirects and rewrites, static files, the 404 page; and the headers of every
 * answer. */
#include "app/app.h"

#include <string.h>

#include "app/mcp.h"
#include "app/resource.h"
#include "http/target.h"
#include "journal/hook.h"

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

/* The target's path is looked at as a file, then as a function's; a target elsewhere is asked. */
static enum site_result rewrite(struct app *app, struct exchange *ex,
                                const struct redirect_rule *rule, struct str target,
                                struct str *rewritten)
{
    if (target.ptr[0] != '/') {
        app_proxy(app, ex, rule, target);
        return SITE_TAKEN;
    }
    struct str path = {target.ptr, str_find(target, '?')};
    if (target_normalize_path(&ex->arena, path, &path) != 0)
        return SITE_NONE;
    if (static_serve(&app->current->site, ex, path)) {
        if (rule->status != 200 && ex->res.status == 200)
            ex->res.status = rule->status;
        *rewritten = path;
        return SITE_ANSWERED;
    }
    *rewritten = path;
    return SITE_REWRITE;
}

/* Below the prefix there are functions, or nothing: a rule for everything, as of an application in
 * one page, does not mean these. */
static bool is_for_functions(const struct config *config, struct str path)
{
    return str_starts_with(path, config->prefix) && path.len > config->prefix.len &&
           path.ptr[config->prefix.len] == '/';
}

/* The first rule that matches decides, unless a file is in its way. */
static enum site_result apply_rules(struct app *app, struct exchange *ex, struct str path,
                                    const struct app_roles *roles, struct str *rewritten)
{
    const struct config *config = app->current->config;
    bool for_functions = is_for_functions(config, path);
    for (unsigned i = 0; i < config->redirect_count; i++) {
        const struct redirect_rule *rule = &config->redirects[i];
        struct str target;
        if (for_functions && !str_starts_with(redirect_path(rule), config->prefix))
            continue;
        if (!redirect_match_roles(rule, &ex->req, path, roles->list, roles->count, &ex->arena,
                                  &target))
            continue;
        if (!rule->force && static_serve(&app->current->site, ex, path))
            return SITE_ANSWERED;
        if (rule->status >= 300 && rule->status < 400) {
            set_redirect(ex, rule, target);
            return SITE_ANSWERED;
        }
        return rewrite(app, ex, rule, target, rewritten);
    }
    return SITE_NONE;
}

bool app_site_file(struct app *app, struct exchange *ex, struct str path)
{
    return (ex->req.method == METHOD_GET || ex->req.method == METHOD_HEAD) &&
           static_serve(&app->current->site, ex, path);
}

bool app_site_not_found(struct app *app, struct exchange *ex, struct str path)
{
    return !str_starts_with(path, app->current->config->prefix) &&
           static_serve_not_found(&app->current->site, ex);
}

enum site_result app_site(struct app *app, struct exchange *ex, struct str path,
                          const struct app_roles *roles, struct str *rewritten)
{
    enum site_result result = apply_rules(app, ex, path, roles, rewritten);
    if (result != SITE_NONE)
        return result;
    if (target_hides_separator(path)) {
        exchange_answer_error(ex, 400, STR("bad_request"), STR("No file has such a path"));
        return SITE_TAKEN;
    }
    return static_serve(&app->current->site, ex, path) || app_site_not_found(app, ex, path)
               ? SITE_ANSWERED
               : SITE_NONE;
}

enum { FAULT_BYTES = 512 };

/* X-Luafn-Generation: NAME@N, so that a person sees which version answered. */
static void add_generation(struct exchange *ex)
{
    struct str value = arena_printf(&ex->arena, "%s@%u", ex->function, ex->generation);
    if (value.ptr == NULL ||
        headers_set(&ex->res.headers, &ex->arena, STR("X-Luafn-Generation"), value) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
}

/* X-Luafn-Fault: what is wrong with the newest files, while older ones answer. One line, and what a
 * header may carry. */
static void add_fault(const struct app *app, struct exchange *ex)
{
    const struct function *function = deployment_find(app->current, str_from(ex->function));
    const char *text =
        function != NULL && function->failed ? function->error.text : app->config_error.text;
    struct str value = {text, strlen(text)};
    value.len = value.len < FAULT_BYTES ? value.len : FAULT_BYTES;
    value.len = str_find(value, '\n');
    if (value.len == 0)
        return;
    value = arena_copy(&ex->arena, value);
    for (size_t i = 0; i < value.len; i++) {
        char *c = (char *)(uintptr_t)&value.ptr[i];
        *c = *c >= ' ' && *c <= '~' ? *c : '?';
    }
    if (value.ptr == NULL ||
        headers_set(&ex->res.headers, &ex->arena, STR("X-Luafn-Fault"), value) != 0)
        ex->res.close = true;
}

/* Tells who was refused where tokens come from. */
static void challenge(const struct app *app, struct exchange *ex)
{
    const struct deployment *d = app->current;
    const struct function *function =
        ex->function != NULL ? deployment_find(d, str_from(ex->function)) : NULL;
    if (mcp_is_at(d, ex->req.path))
        resource_challenge_at(d->config, d->config->mcp.path, ex);
    else if (function != NULL)
        resource_challenge(d->config, function->spec, ex);
}

/* RFC 9449 section 8.2: it must not be kept with the answer, and pages have to see it. */
static void add_nonce(const struct config *config, struct exchange *ex)
{
    struct headers *headers = &ex->res.headers;
    if (headers_set(headers, &ex->arena, STR("DPoP-Nonce"), ex->dpop_nonce) != 0 ||
        headers_set(headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0 ||
        (config->cors.origin_count > 0 &&
         headers_add(headers, &ex->arena, STR("Access-Control-Expose-Headers"),
                     STR("DPoP-Nonce, WWW-Authenticate")) != 0))
        ex->res.close = true;
}

void app_decorate(struct exchange *ex)
{
    struct app *app = ex->app;
    if (ex->hook != NULL)
        ex->hook->type->answer(ex->hook);
    if (app->options.dev)
        app_dev_page(ex);
    if (app->current == NULL)
        return;
    const struct config *config = app->current->config;
    if ((ex->res.status == 401 || ex->res.status == 403) &&
        (ex->function != NULL || app->current->serves_tools))
        challenge(app, ex);
    ex->encode = config->compression ? app_encode : NULL;
    if (config->header_count > 0 && header_rules_apply(config->headers, config->header_count, ex,
                                                       ex->req.path, ex->function == NULL) != 0)
        ex->res.close = true;
    if (config->cors.origin_count > 0)
        cors_add_headers(&config->cors, ex);
    if (ex->dpop_nonce.len > 0)
        add_nonce(config, ex);
    if (ex->session_cookie.len > 0 &&
        (headers_add(&ex->res.headers, &ex->arena, STR("Set-Cookie"), ex->session_cookie) != 0 ||
         headers_set(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0))
        ex->res.close = true;
    if (config->cors.origin_count > 0 && mcp_is_at(app->current, ex->req.path))
        mcp_expose_headers(ex);
    if (app->options.dev && ex->function != NULL) {
        add_generation(ex);
        add_fault(app, ex);
    }
    app_rate_headers(ex);
}

/* Header rules need a path, which there may not be. */
static void decorate_refusal(struct exchange *ex)
{
    const struct app *app = ex->app;
    if (app->current != NULL && app->current->config->cors.origin_count > 0)
        cors_add_headers(&app->current->config->cors, ex);
}

void app_refused(void *arg, struct exchange *ex)
{
    ex->app = arg;
    ex->decorate = decorate_refusal;
}
