/* THE PAGE TO READ FIRST. See app.h; a request's way is app_on_request and the functions below it,
 * in order, then those of visit.h. */
#include "app/app.h"

#include <errno.h>
#include <string.h>

#include "app/login.h"
#include "app/resource.h"
#include "app/schedule.h"
#include "app/visit.h"
#include "base/clock.h"
#include "http/target.h"
#include "client/client_rules.h"
#include "config/config_protect.h"
#include "journal/record.h"
#include "otlp/trace.h"

static void find_way(struct visit *visit, bool waited);
static void authorize(struct visit *visit, bool waited);
static bool guard(struct visit *visit, struct str path, bool waited);
static void enter_tools(struct visit *visit, enum mcp_place place);
static bool enter_own_tools(struct visit *visit);
static void run_by_hand(struct visit *visit);

/* ---- 1. the head is complete: which path does it mean? ---- */

static void answer_not_found(struct app *app, struct exchange *ex)
{
    if (app->journal != NULL)
        record_begin(app->journal, ex);
    static const struct str text = {"There is no function and no file at this path", 45};
    if (!app->options.dev || !app_dev_not_found(ex, text))
        exchange_answer_error(ex, 404, STR("not_found"), text);
}

/* In `dev` only names of this machine: a page elsewhere must not reach it under a name of its own
 * that it points here (DNS rebinding). Clients without a Host header are no browsers. */
static bool is_foreign_host(const struct app *app, const struct request *req)
{
    if (!app->options.dev || req->host.len == 0)
        return false;
    bool bracketed = req->host.ptr[0] == '[';
    struct str name = bracketed ? str_skip(req->host, 1) : req->host;
    name.len = str_find(name, bracketed ? ']' : ':');
    char host[256];
    if (name.len >= sizeof(host))
        return true;
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    return !client_host_is_loopback(host);
}

/* OPTIONS * asks about the server as a whole (RFC 9110 9.3.7). */
static void answer_options(struct exchange *ex)
{
    ex->res.status = 204;
    if (headers_set(&ex->res.headers, &ex->arena, STR("Allow"),
                    STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
    exchange_answer(ex);
}

/* Enters ex into the app's care: from here on every answer goes through app_decorate. */
static struct visit *begin(struct app *app, struct exchange *ex)
{
    ex->decorate = app_decorate;
    ex->app = app;
    if (str_eq(ex->req.path, STR("*"))) {
        answer_options(ex);
        return NULL;
    }
    struct visit *visit = arena_zalloc(&ex->arena, sizeof(*visit));
    if (visit == NULL || request_normalize_path(&ex->req, &ex->arena, &visit->path) == -ENOMEM) {
        exchange_answer_no_memory(ex);
        return NULL;
    }
    if (visit->path.ptr == NULL) {
        exchange_answer_error(ex, 400, STR("bad_request"), STR("The path cannot be resolved"));
        return NULL;
    }
    if (app->current != NULL &&
        forwarded_apply(&app->current->config->proxies, &ex->req, &ex->arena) != 0) {
        exchange_answer_no_memory(ex);
        return NULL;
    }
    if (is_foreign_host(app, &ex->req)) {
        exchange_answer_error(ex, 403, STR("foreign_host"),
                              STR("dev answers on localhost and loopback addresses only"));
        return NULL;
    }
    list_init(&visit->wait.node);
    visit->app = app;
    visit->ex = ex;
    return visit;
}

/* ---- 2. which function is it, if any? ---- */

static void answer_wrong_method(struct exchange *ex, unsigned methods)
{
    struct buf allow = BUF_INIT;
    for (unsigned m = 0; m < METHOD_COUNT; m++) {
        if ((methods & METHOD_BIT(m)) != 0)
            buf_printf(&allow, "%s%s", allow.len > 0 ? ", " : "",
                       request_method_name((enum http_method)m));
    }
    struct str value = arena_copy(&ex->arena, buf_str(&allow));
    buf_free(&allow);
    ex->error_code = "method_not_allowed";
    if (response_set_error(&ex->res, &ex->arena, 405, STR("method_not_allowed"),
                           STR("This path exists under other methods")) != 0 ||
        value.ptr == NULL || headers_add(&ex->res.headers, &ex->arena, STR("Allow"), value) != 0)
        ex->res.status = 405;
    exchange_answer(ex);
}

/* A page may share its path with the function that its form posts to, as at Netlify. */
static bool prefers_file(const struct route_match *match, enum route_result result)
{
    const struct function *function = match->target;
    return result == ROUTE_WRONG_METHOD || function->spec->prefer_static;
}

/* A request that is no function's, or not yet. */
static void trace(struct visit *visit)
{
    if (visit->app->otlp != NULL)
        trace_begin(visit->app->otlp, visit->ex, STR(""), false);
}

/* It is this one's from here on, found by that pattern. False: out of memory. */
static bool choose(struct visit *visit, struct function *function, struct str route)
{
    struct exchange *ex = visit->ex;
    visit->function = function;
    /* Copied: the answer may still be on its way when the deployment that it came from is gone. */
    ex->function = arena_copy(&ex->arena, function->spec->name).ptr;
    ex->generation = function->generation;
    if (visit->app->journal != NULL && !function->spec->is_dev)
        record_begin(visit->app->journal, ex);
    if (visit->app->otlp != NULL && !function->spec->is_dev)
        trace_begin(visit->app->otlp, ex, route, function->spec->policy.kind >= POLICY_TOKEN);
    if (visit->app->options.metrics != NULL)
        ex->durations = &function->metrics->durations;
    return ex->function != NULL;
}

/* What only some may have is kept by their own caches alone. */
static void answer_site(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    if (visit->guarded && headers_set(&ex->res.headers, &ex->arena, STR("Cache-Control"),
                                      STR("private, max-age=0, must-revalidate")) != 0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

/* Sends the file that is in ex->res, found at that path, to who may have it. */
static void answer_file(struct visit *visit, struct str path, bool waited)
{
    const struct response file = visit->ex->res;
    visit->ex->res = (struct response){0};
    if (!guard(visit, path, waited))
        return;
    visit->ex->res = file;
    answer_site(visit);
}

/* Looks at `path` as a function's. True when the exchange was taken care of. */
static bool try_function(struct visit *visit, struct str path, bool waited)
{
    struct exchange *ex = visit->ex;
    struct route_match match;
    enum route_result result =
        router_match(visit->app->current->router, ex->req.method, path, &match);
    if (result == ROUTE_NONE)
        return false;
    if (result == ROUTE_WRONG_METHOD)
        trace(visit);
    if (prefers_file(&match, result) && app_site_file(visit->app, ex, path)) {
        answer_file(visit, path, waited);
        return true;
    }
    if (cors_preflight(&visit->app->current->config->cors, ex, match.methods)) {
        exchange_answer(ex);
        return true;
    }
    if (result == ROUTE_WRONG_METHOD) {
        answer_wrong_method(ex, match.methods);
        return true;
    }
    if (choose(visit, match.target, match.pattern) && visit_keep_match(visit, &match))
        visit->function->spec->cron != NULL ? run_by_hand(visit) : authorize(visit, false);
    else
        exchange_answer_no_memory(ex);
    return true;
}

/* Redirects, files and what is behind a rewrite. Rules that ask for a role may need a key first. */
static void look_at_site(struct visit *visit, bool waited)
{
    struct app *app = visit->app;
    struct exchange *ex = visit->ex;
    struct app_roles roles;
    struct verdict verdict;
    trace(visit);
    if (!guard(visit, visit->path, waited))
        return;
    if (app_find_roles(app, ex, waited, &roles, &verdict) == VERIFY_NEEDS_KEY && !waited &&
        visit_wait_for_keys(visit, &verdict, find_way))
        return;
    struct str rewritten = {NULL, 0};
    switch (app_site(app, ex, visit->path, &roles, &rewritten)) {
    case SITE_TAKEN:
        return;
    case SITE_REWRITE:
        if (try_function(visit, rewritten, waited))
            return;
        if (!app_site_not_found(app, ex, rewritten))
            break;
        exchange_answer(ex);
        return;
    case SITE_ANSWERED:
        if (rewritten.ptr != NULL)
            answer_file(visit, rewritten, waited);
        else
            answer_site(visit);
        return;
    case SITE_NONE:
        break;
    }
    if (!app_dev_elsewhere(app, ex, visit->path))
        answer_not_found(app, ex);
}

/* From its beginning also after waiting for keys, since a reload may have changed all of it. */
static void find_way(struct visit *visit, bool waited)
{
    if (!try_function(visit, visit->path, waited) &&
        !resource_answer(visit->app->current, visit->ex, visit->path))
        look_at_site(visit, waited);
}

/* Else it has its session, if there is one. */
static bool signs_in_or_out(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    if (app_login(visit->app, ex, visit->path))
        return true;
    if (login_take(ex, &visit->session) == 0)
        return false;
    exchange_answer_no_memory(ex);
    return true;
}

void app_on_request(void *arg, struct exchange *ex)
{
    struct app *app = arg;
    struct visit *visit = begin(app, ex);
    if (visit == NULL || (str_starts_with(visit->path, STR("/_luafn/")) &&
                          (app_admin(app, ex, visit->path) || enter_own_tools(visit))))
        return;
    if (app->current == NULL) {
        exchange_answer_error(ex, 503, STR("starting"), STR("The host is still loading"));
        return;
    }
    if (app->current->config->receives && app_receive(app, ex))
        return;
    if (app->current->config->login.on && signs_in_or_out(visit))
        return;
    if (mcp_is_at(app->current, visit->path))
        enter_tools(visit, MCP_FUNCTIONS);
    else
        find_way(visit, false);
}

/* ---- 3. may the caller? ---- */

/* Of a message that calls none. */
static void answer_tools(struct visit *visit)
{
    mcp_answer(visit->app->current, visit->message, clock_now());
    claims_unref(visit->claims);
}

static void on_begun(void *arg, bool pass)
{
    if (pass)
        visit_call(arg);
}

static void let_in(void *arg, bool pass)
{
    struct visit *visit = arg;
    if (!pass)
        claims_unref(visit->claims);
    else if (visit->delivery != NULL)
        app_delivery(visit->app, visit->ex, visit->function, visit->delivery, on_begun, visit);
    else
        visit_call(visit);
}

/* A webhook's body is what is signed. */
static void judge_body(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    const struct policy *policy = &visit->function->spec->policy;
    struct webhook_delivery *delivery = arena_zalloc(&ex->arena, sizeof(*delivery));
    if (policy->kind != POLICY_WEBHOOK) { /* not any more: another generation came with the body */
        authorize(visit, false);
    } else if (delivery == NULL) {
        exchange_answer_no_memory(ex);
    } else if (policy_check_body(policy, ex, clock_now(), delivery) == POLICY_ALLOW) {
        visit->delivery = delivery;
        app_rate(visit->app, ex, visit->function, NULL, let_in, visit);
    } else {
        visit_refuse(visit, NULL);
    }
}

static void authorize(struct visit *visit, bool waited)
{
    struct exchange *ex = visit->ex;
    struct verdict verdict;
    enum policy_result result;
    if (!visit_judge(visit, NULL, waited, authorize, &verdict, &result))
        return;
    if (result == POLICY_ALLOW) {
        if (verdict.claims != NULL)
            metrics_count_token(visit->app->page, "ok");
        visit->claims = verdict.claims;
        visit->token = verdict.token;
        if (visit->function != NULL)
            app_rate(visit->app, ex, visit->function, verdict.claims, let_in, visit);
        else
            answer_tools(visit);
        return;
    }
    if (result == POLICY_NEEDS_BODY) {
        visit_receive(visit, judge_body);
    } else if (result == POLICY_NEEDS_KEY) {
        visit_answer_unknown(visit);
    } else {
        visit_refuse(visit, visit->function != NULL ? &visit->function->spec->policy : NULL);
    }
}

/* ---- the site: may the caller see what is at this path? ---- */

/* False: the exchange was taken care of. Files refuse what hides a separator; what else is behind a
 * rule must not take it for one. */
static bool guard(struct visit *visit, struct str path, bool waited)
{
    const struct config *config = visit->app->current->config;
    struct exchange *ex = visit->ex;
    const struct config_protect *rule;
    struct verdict verdict;
    enum policy_result result;
    bool is_own = visit->app->options.dev && str_starts_with(path, STR("/_luafn/dev/"));
    if (config->protect_count == 0 || is_own)
        return true;
    if (target_hides_separator(path)) {
        exchange_answer_error(ex, 400, STR("bad_request"), STR("No file has such a path"));
        return false;
    }
    if (config_protect_find(config, path, &ex->arena, &rule) != 0) {
        exchange_answer_no_memory(ex);
        return false;
    }
    if (rule == NULL || rule->policy.kind == POLICY_PUBLIC)
        return true;
    visit->guarded = true;
    if (cors_preflight(&config->cors, ex, METHOD_ALL)) {
        exchange_answer(ex);
        return false;
    }
    if (!visit_judge(visit, &rule->policy, waited, find_way, &verdict, &result))
        return false;
    if (result == POLICY_ALLOW) {
        metrics_count_token(visit->app->page, "ok");
        claims_unref(verdict.claims);
        return true;
    }
    resource_challenge_at(config, rule->path, ex);
    if (result == POLICY_NEEDS_KEY)
        visit_answer_unknown(visit);
    else
        visit_refuse(visit, &rule->policy);
    return false;
}

/* ---- tools: a body says which function is meant ---- */

static void read_message(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    visit->message = mcp_read(visit->app->current, visit->place, ex);
    struct function *target = visit->message != NULL ? mcp_target(visit->message) : NULL;
    if (target != NULL && !choose(visit, target, visit->app->current->config->mcp.path))
        exchange_answer_no_memory(ex);
    else if (visit->message != NULL)
        authorize(visit, false);
}

/* Nobody is judged yet, but who has no token that could be good is not listened to. */
static void enter_tools(struct visit *visit, enum mcp_place place)
{
    struct exchange *ex = visit->ex;
    const struct deployment *d = visit->app->current;
    struct policy gate;
    visit->place = place;
    if (mcp_refuses(d, ex) ||
        (place == MCP_OWN && mcp_refuses_token(visit->app->options.own_token, ex)))
        return;
    if (mcp_gate(d, place, ex, clock_now(), &gate) && mcp_listens_to(&gate, ex, clock_now()))
        visit_receive(visit, read_message);
    else
        authorize(visit, true);
}

/* Those of `dev` itself. True when the exchange was taken care of. */
static bool enter_own_tools(struct visit *visit)
{
    const struct app *app = visit->app;
    if (app->options.own_token.len == 0 || app->current == NULL ||
        !str_eq(visit->path, MCP_OWN_PATH))
        return false;
    enter_tools(visit, MCP_OWN);
    return true;
}

/* ---- scheduled functions ---- */

/* Only in `dev`: elsewhere there is no route to one. */
static void run_by_hand(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    if (schedule_request(ex, visit->function->spec->cron, (int64_t)clock_now()) == 0)
        visit_call(visit);
    else
        exchange_answer_no_memory(ex);
}
