/* THE PAGE TO READ FIRST. See app.h; a request's way is app_on_request and the functions below it,
 * in order. */
#include "app/app.h"

#include <errno.h>
#include <string.h>

#include "app/app_session.h"
#include "app/login.h"
#include "app/mcp.h"
#include "app/resource.h"
#include "app/schedule.h"
#include "auth/policy.h"
#include "base/clock.h"
#include "http/target.h"
#include "client/client_rules.h"
#include "config/config_protect.h"
#include "issuer/token_wait.h"
#include "journal/record.h"
#include "otlp/trace.h"
#include "run/input.h"
#include "run/outcome.h"

/* A request on its way; in the exchange's arena. */
struct visit {
    struct issuer_wait wait;                          /* for keys */
    void (*resume)(struct visit *visit, bool waited); /* when they are there, or cannot be had */
    struct app *app;
    struct exchange *ex;
    struct function *function;
    unsigned *awaited;           /* while it waits: where it is counted */
    struct claims *claims;       /* owned until the function is called; NULL: nobody's */
    struct str token;            /* with claims */
    struct mcp_message *message; /* a tool is called, or asked for; NULL: neither */
    struct str session;          /* of a browser, sealed; ptr NULL: none */
    struct session_wait *opened; /* the same, once it was asked for; NULL: not yet */
    bool guarded;                /* a rule of `protect` that asks for something was passed */
    bool waited, gone;           /* while others are asked: resume's; the client is */
    enum mcp_place place;        /* of that tool */
    struct job_call *job;        /* in the arena of its run; NULL: it is no job */
    struct str job_path;         /* event.path of one that was a call; ptr NULL: it was none */
    struct str route;            /* as struct call's */
    struct route_param *params;
    unsigned param_count;
    struct str path;                         /* as the client sent it, normalised */
    void (*received)(struct visit *visit);   /* while its body comes */
    const struct webhook_delivery *delivery; /* of a webhook, once it is judged; else NULL */
};

static void find_way(struct visit *visit, bool waited);
static void authorize(struct visit *visit, bool waited);
static bool guard(struct visit *visit, struct str path, bool waited);
static void enter_tools(struct visit *visit, enum mcp_place place);
static bool enter_own_tools(struct visit *visit);
static void run_by_hand(struct visit *visit);
static bool wait_for_keys(struct visit *visit, const struct verdict *verdict,
                          void (*resume)(struct visit *visit, bool waited));

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
    if (visit == NULL || target_normalize_path(&ex->arena, ex->req.path, &visit->path) == -ENOMEM) {
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
        return NULL;
    }
    if (visit->path.ptr == NULL) {
        exchange_answer_error(ex, 400, STR("bad_request"), STR("The path cannot be resolved"));
        return NULL;
    }
    if (app->current != NULL &&
        forwarded_apply(&app->current->config->proxies, &ex->req, &ex->arena) != 0) {
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
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

/* The route's texts belong to the router, which a reload may replace while the request runs. */
static bool keep_match(struct visit *visit, const struct route_match *match)
{
    struct arena *arena = &visit->ex->arena;
    if (visit->function->spec->path_count == 0 && match->param_count == 0)
        return true; /* the default address, and nothing behind it */
    visit->route = arena_copy(arena, match->pattern);
    visit->params = arena_alloc(arena, match->param_count * sizeof(visit->params[0]));
    bool ok = visit->route.ptr != NULL && visit->params != NULL;
    for (unsigned i = 0; ok && i < match->param_count; i++) {
        struct str name = arena_copy(arena, match->params[i].name);
        visit->params[i] = (struct route_param){name, match->params[i].value};
        ok = name.ptr != NULL;
    }
    visit->param_count = match->param_count;
    return ok;
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
    if (choose(visit, match.target, match.pattern) && keep_match(visit, &match))
        visit->function->spec->cron != NULL ? run_by_hand(visit) : authorize(visit, false);
    else
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
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
        wait_for_keys(visit, &verdict, find_way))
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
    exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
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

/* Nothing but this keeps the deployment, whose issuer is waited for, from being freed when a reload
 * replaces it. */
static void wait_is_over(struct visit *visit)
{
    --*visit->awaited;
    visit->ex->on_gone = NULL;
    visit->ex->owner = NULL;
}

static void on_keys(struct issuer_wait *wait)
{
    struct visit *visit = container_of(wait, struct visit, wait);
    wait_is_over(visit);
    visit->resume(visit, true);
    exchange_release(visit->ex); /* the wait's */
}

static void on_gone_while_waiting(struct exchange *ex)
{
    struct visit *visit = ex->owner;
    issuer_cancel(&visit->wait);
    wait_is_over(visit);
    exchange_release(ex);
}

static void hold_for_wait(struct visit *visit, void (*on_gone)(struct exchange *ex))
{
    exchange_hold(visit->ex);
    visit->awaited =
        visit->function != NULL ? &visit->function->awaited : &visit->app->current->awaited;
    ++*visit->awaited;
    visit->ex->on_gone = on_gone;
    visit->ex->owner = visit;
}

/* True when the issuer's fetcher will call on_keys, which calls `resume`. */
static bool wait_for_keys(struct visit *visit, const struct verdict *verdict,
                          void (*resume)(struct visit *visit, bool waited))
{
    visit->resume = resume;
    visit->wait.done = on_keys;
    if (token_want(visit->app->issuers, verdict, &visit->wait) == 0)
        return false;
    hold_for_wait(visit, on_gone_while_waiting);
    return true;
}

static void on_gone_while_asking(struct exchange *ex)
{
    struct visit *visit = ex->owner;
    visit->gone = true; /* the store cannot be called back */
}

static void on_asked(void *arg)
{
    struct visit *visit = arg;
    wait_is_over(visit);
    if (!visit->gone)
        visit->resume(visit, visit->waited);
    exchange_release(visit->ex); /* the wait's */
}

/* True when `resume` comes once other machines have been asked whether they know its proof. */
static bool wait_for_others(struct visit *visit, struct verdict *verdict, bool waited,
                            void (*resume)(struct visit *visit, bool waited))
{
    struct exchange *ex = visit->ex;
    if (ex->once == NULL || ex->once->state != ONCE_HERE || !app_is_fleet(visit->app))
        return false;
    visit->resume = resume;
    visit->waited = waited;
    hold_for_wait(visit, on_gone_while_asking);
    if (!app_once(visit->app, &ex->arena, ex->once, on_asked, visit)) {
        wait_is_over(visit);
        exchange_release(ex);
        return false;
    }
    claims_unref(verdict->claims); /* the check that follows has its own */
    return true;
}

static void call_function(struct visit *visit);
static void receive(struct visit *visit, void (*received)(struct visit *visit));

static void on_session(struct session_wait *wait)
{
    struct visit *visit = wait->arg;
    visit->resume(visit, false);
}

/* 1: `resume` comes when the session is open; 0: it is, or there is none; negative: the exchange
 * was taken care of. */
static int open_session(struct visit *visit, const struct policy *policy,
                        void (*resume)(struct visit *visit, bool waited))
{
    if (policy == NULL && visit->function != NULL)
        policy = &visit->function->spec->policy;
    if (policy == NULL || !policy->login ||
        headers_count(&visit->ex->req.headers, STR("authorization")) > 0)
        return 0;
    struct session_wait *wait = visit->opened;
    if (wait == NULL) {
        visit->opened = wait = arena_zalloc(&visit->ex->arena, sizeof(*wait));
        if (wait == NULL) {
            exchange_answer_error(visit->ex, 500, STR("out_of_memory"),
                                  STR("The host is out of memory"));
            return -ENOMEM;
        }
        visit->resume = resume;
        *wait = (struct session_wait){.app = visit->app,
                                      .ex = visit->ex,
                                      .deployment = visit->app->current,
                                      .awaited = &visit->app->current->awaited,
                                      .sealed = visit->session,
                                      .done = on_session,
                                      .arg = visit};
        if (app_session_open(wait) == 1)
            return 1;
    }
    if (wait->state != SESSION_UNKNOWN)
        return 0;
    struct exchange *ex = visit->ex;
    ex->error_code = "session_unavailable";
    if (response_set_error(&ex->res, &ex->arena, 503, STR("session_unavailable"),
                           STR("The session cannot be read or renewed at the moment")) != 0 ||
        headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) != 0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
    return -EAGAIN;
}

/* `policy` NULL: the function's, or that of tools. */
static enum policy_result check(struct visit *visit, const struct policy *policy, bool keys_final,
                                struct verdict *verdict)
{
    *verdict = (struct verdict){0};
    double now = clock_now();
    struct policy gate;
    if (policy == NULL && visit->function != NULL)
        policy = &visit->function->spec->policy;
    if (policy != NULL && policy->login)
        return login_check(policy, visit->ex,
                           visit->opened != NULL && visit->opened->state == SESSION_OPEN
                               ? &visit->opened->session
                               : NULL,
                           now, keys_final, verdict);
    if (policy != NULL)
        return policy_check(policy, visit->ex, now, keys_final, verdict);
    if (mcp_gate(visit->app->current, visit->place, visit->ex, now, &gate))
        return policy_check(&gate, visit->ex, now, keys_final, verdict);
    visit->ex->res = (struct response){.status = 500};
    return POLICY_DENY;
}

/* Of a message that calls none. */
static void answer_tools(struct visit *visit)
{
    mcp_answer(visit->app->current, visit->message, clock_now());
    claims_unref(visit->claims);
}

static void on_begun(void *arg, bool pass)
{
    if (pass)
        call_function(arg);
}

static void let_in(void *arg, bool pass)
{
    struct visit *visit = arg;
    if (!pass)
        claims_unref(visit->claims);
    else if (visit->delivery != NULL)
        app_delivery(visit->app, visit->ex, visit->function, visit->delivery, on_begun, visit);
    else
        call_function(visit);
}

/* `policy`: that was not met; NULL: of tools. Who has signed in, but not well enough for it, would
 * only come back as he is. */
static void refuse(struct visit *visit, const struct policy *policy)
{
    struct exchange *ex = visit->ex;
    bool signed_in =
        ex->error_code != NULL && strcmp(ex->error_code, "insufficient_user_authentication") == 0;
    if (policy != NULL && policy->login && ex->res.status == 401 && !signed_in &&
        login_can_begin(ex)) {
        app_login_begin(visit->app, ex);
        return;
    }
    visit->app->page->auth_refused++;
    metrics_count_token(visit->app->page, visit->ex->error_code);
    if (mcp_is_at(visit->app->current, visit->path))
        mcp_widen_challenge(visit->app->current, visit->ex, clock_now());
    exchange_answer(visit->ex);
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
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
    } else if (policy_check_body(policy, ex, clock_now(), delivery) == POLICY_ALLOW) {
        visit->delivery = delivery;
        app_rate(visit->app, ex, visit->function, NULL, let_in, visit);
    } else {
        refuse(visit, NULL);
    }
}

/* A key that we lack is fetched once. After that it does not exist, unless the issuer cannot be
 * asked: then nobody knows, which is a 503 and not a refusal. False: `resume` comes when the key,
 * or the caller's session, is there; or the exchange was taken care of. */
static bool judge(struct visit *visit, const struct policy *policy, bool waited,
                  void (*resume)(struct visit *visit, bool waited), struct verdict *verdict,
                  enum policy_result *result)
{
    if (visit->session.ptr != NULL && open_session(visit, policy, resume) != 0)
        return false;
    *result = check(visit, policy, false, verdict);
    if (*result == POLICY_NEEDS_KEY) {
        if (!waited && wait_for_keys(visit, verdict, resume))
            return false;
        if (token_is_settled(visit->app->issuers, verdict))
            *result = check(visit, policy, true, verdict);
    }
    return *result != POLICY_ALLOW || !wait_for_others(visit, verdict, waited, resume);
}

/* Nobody can say whether the token is good. */
static void answer_unknown(struct visit *visit)
{
    visit->app->page->keys_unavailable++;
    policy_keys_unavailable(visit->ex);
    metrics_count_token(visit->app->page, visit->ex->error_code);
    exchange_answer(visit->ex);
}

static void authorize(struct visit *visit, bool waited)
{
    struct exchange *ex = visit->ex;
    struct verdict verdict;
    enum policy_result result;
    if (!judge(visit, NULL, waited, authorize, &verdict, &result))
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
        receive(visit, judge_body);
    } else if (result == POLICY_NEEDS_KEY) {
        answer_unknown(visit);
    } else {
        refuse(visit, visit->function != NULL ? &visit->function->spec->policy : NULL);
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
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
        return false;
    }
    if (rule == NULL || rule->policy.kind == POLICY_PUBLIC)
        return true;
    visit->guarded = true;
    if (cors_preflight(&config->cors, ex, METHOD_ALL)) {
        exchange_answer(ex);
        return false;
    }
    if (!judge(visit, &rule->policy, waited, find_way, &verdict, &result))
        return false;
    if (result == POLICY_ALLOW) {
        metrics_count_token(visit->app->page, "ok");
        claims_unref(verdict.claims);
        return true;
    }
    resource_challenge_at(config, rule->path, ex);
    if (result == POLICY_NEEDS_KEY)
        answer_unknown(visit);
    else
        refuse(visit, &rule->policy);
    return false;
}

/* ---- 4. the function takes over ---- */

static void answer_accepted(struct exchange *ex)
{
    ex->res.status = 202;
    ex->res.body = (struct str){NULL, 0};
}

/* The client has its 202; the handler gets an exchange without a connection, which nobody reads. */
static struct exchange *detach_background(struct exchange *ex)
{
    struct exchange *copy = exchange_new(NULL, NULL);
    if (copy == NULL)
        return NULL;
    copy->req = ex->req;
    copy->function = ex->function;
    memcpy(copy->request_id, ex->request_id, sizeof(copy->request_id));
    copy->on_settled = ex->on_settled;
    copy->settling = ex->settling;
    ex->on_settled = NULL;
    exchange_hold(ex); /* its arena holds the request's texts */
    copy->state = EXCHANGE_WORKING;
    hook_move(ex, copy);
    if (arena_defer(&copy->arena, (void (*)(void *))exchange_release, ex) != 0) {
        exchange_release(ex);
        exchange_release(copy);
        return NULL;
    }
    return copy;
}

static void on_gone_while_receiving(struct exchange *ex)
{
    struct visit *visit = ex->owner;
    wait_is_over(visit);
    claims_unref(visit->claims);
    exchange_release(ex);
}

static void on_body(struct exchange *ex)
{
    struct visit *visit = ex->owner;
    const struct http_fault *fault = exchange_body_fault(ex);
    wait_is_over(visit);
    if (fault == NULL) {
        visit->received(visit);
    } else {
        claims_unref(visit->claims);
        exchange_refuse(ex, fault);
    }
    exchange_release(ex); /* the wait's */
}

static void receive(struct visit *visit, void (*received)(struct visit *visit))
{
    struct exchange *ex = visit->ex;
    struct deployment *d = visit->app->current;
    bool known = visit->function != NULL; /* else the body says */
    const struct http_fault *fault =
        exchange_limit_body(ex, known ? visit->function->spec->body : d->config->body_limit);
    if (fault != NULL) {
        claims_unref(visit->claims);
        exchange_refuse(ex, fault);
        return;
    }
    exchange_hold(ex);
    visit->received = received;
    visit->awaited = known ? &visit->function->awaited : &d->awaited;
    ++*visit->awaited;
    ex->on_gone = on_gone_while_receiving;
    ex->owner = visit;
    exchange_read_whole(ex, on_body);
}

static void answer_no_memory(struct visit *visit)
{
    claims_unref(visit->claims);
    exchange_answer_error(visit->ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
}

static struct call *make_call(struct visit *visit, struct exchange *target)
{
    struct call *call = arena_zalloc(&target->arena, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->function = visit->function;
    call->ex = target;
    call->claims = visit->claims;
    call->token = visit->token;
    call->path = visit->job_path.ptr != NULL ? visit->job_path : visit->ex->req.path;
    call->route = visit->route;
    call->params = visit->params;
    call->param_count = visit->param_count;
    call->job = visit->job;
    call->tool = visit->message != NULL ? mcp_tool(visit->message) : NULL;
    if (call->job != NULL && target->hook != NULL && target->hook->type->job != NULL)
        target->hook->type->job(target->hook, call->job->id, call->job->key, call->job->attempt);
    return call;
}

static void answer_unqueued(struct visit *visit, int status)
{
    struct exchange *ex = visit->ex;
    bool large = status == STORE_JOB_TOO_LARGE;
    claims_unref(visit->claims);
    if (status == STORE_NO_SLOT) {
        visit->function->metrics->no_slot++;
        outcome_set_no_slot(visit->function->spec, ex);
        exchange_answer(ex);
        return;
    }
    if (!large && headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
    ex->error_code = large                        ? "job_too_large"
                     : status == STORE_QUEUE_FULL ? "queue_full"
                                                  : "queue_unavailable";
    exchange_answer_error(ex, large ? 413 : 503, str_from(ex->error_code),
                          str_from(store_error_text(status)));
}

/* It is stored, so that it may be promised. */
static void on_queued(void *arg, int status, struct job_run *run)
{
    struct visit *visit = arg;
    struct exchange *ex = visit->ex;
    if (status != 0) {
        answer_unqueued(visit, status);
        return;
    }
    struct exchange *target = run != NULL ? detach_background(ex) : NULL;
    visit->job = run != NULL ? app_queue_follow(run, target) : NULL;
    struct call *call = visit->job != NULL ? make_call(visit, target) : NULL;
    if (call == NULL)
        claims_unref(visit->claims);
    answer_accepted(ex);
    exchange_answer(ex);
    if (call != NULL)
        function_call(call);
    if (target != NULL)
        exchange_release(target);
}

static void call_function(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    if (visit->claims != NULL)
        ex->sub_hash = visit->claims->subject_hash;
    if (ex->hook != NULL)
        ex->hook->type->claims(ex->hook, visit->claims);
    const struct function_spec *spec = visit->function->spec;
    /* A 202 is a promise: what would be refused is answered as a call that waits. */
    bool background = spec->background && spec->cron == NULL && visit->job == NULL &&
                      !visit->app->options.direct && function_accepts(visit->function);
    if (background && ex->body != NULL) { /* what a 202 promises to work on has to be here */
        receive(visit, call_function);
        return;
    }
    const json_t *query;
    if (background && input_is_judged(spec) && !input_judge(spec, ex, &query)) {
        claims_unref(visit->claims);
        exchange_answer(ex);
        return;
    }
    if (background) {
        app_queue_call(visit->app, ex, visit->function, visit->claims, visit->token, on_queued,
                       visit);
        return;
    }
    struct exchange *target =
        visit->message != NULL ? mcp_begin(visit->message, visit->function->spec) : ex;
    struct call *call = target != NULL ? make_call(visit, target) : NULL;
    if (call != NULL)
        function_call(call);
    else
        answer_no_memory(visit);
    if (target != NULL && target != ex)
        exchange_release(target);
}

/* ---- tools: a body says which function is meant ---- */

static void read_message(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    visit->message = mcp_read(visit->app->current, visit->place, ex);
    struct function *target = visit->message != NULL ? mcp_target(visit->message) : NULL;
    if (target != NULL && !choose(visit, target, visit->app->current->config->mcp.path))
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
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
        receive(visit, read_message);
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

/* ---- scheduled functions: nobody calls them, so nobody is judged ---- */

/* Only in `dev`: elsewhere there is no route to one. */
static void run_by_hand(struct visit *visit)
{
    struct exchange *ex = visit->ex;
    if (schedule_request(ex, visit->function->spec->cron, (int64_t)clock_now()) == 0)
        call_function(visit);
    else
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
}

void app_call_scheduled(struct app *app, struct function *function, struct exchange *ex)
{
    struct visit *visit = arena_zalloc(&ex->arena, sizeof(*visit));
    ex->function = arena_copy(&ex->arena, function->spec->name).ptr;
    if (visit == NULL || ex->function == NULL) {
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
        return;
    }
    list_init(&visit->wait.node);
    visit->app = app;
    visit->ex = ex;
    visit->function = function;
    visit->path = ex->req.path;
    if (app->journal != NULL && !function->spec->is_dev)
        record_begin(app->journal, ex);
    if (app->otlp != NULL && !function->spec->is_dev)
        trace_begin(app->otlp, ex, STR(""), false);
    call_function(visit);
}

/* ---- recorded requests ---- */

/* `visit` of a request that nobody sent now. NULL: it was answered. */
static struct visit *enter_again(struct app *app, const struct router *router,
                                 struct function *function, struct exchange *ex,
                                 struct claims *claims)
{
    struct visit *visit = arena_zalloc(&ex->arena, sizeof(*visit));
    ex->function = arena_copy(&ex->arena, function->spec->name).ptr;
    if (visit == NULL || ex->function == NULL ||
        target_normalize_path(&ex->arena, ex->req.path, &visit->path) != 0) {
        claims_unref(claims);
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
        return NULL;
    }
    list_init(&visit->wait.node);
    visit->app = app;
    visit->ex = ex;
    visit->claims = claims;
    /* Behind a rewrite the path is another's: then there are no parameters. */
    struct route_match match;
    enum route_result result = router_match(router, ex->req.method, visit->path, &match);
    visit->function = function;
    if (result != ROUTE_FOUND || match.target != function || keep_match(visit, &match))
        return visit;
    answer_no_memory(visit);
    return NULL;
}

/* A background function is run, and not queued. */
void app_call_recorded(struct app *app, const struct router *router, struct function *function,
                       struct exchange *ex, struct claims *claims, struct job_call *job)
{
    ex->decorate = app_decorate;
    ex->app = app;
    struct visit *visit = enter_again(app, router, function, ex, claims);
    if (visit == NULL)
        return;
    visit->token = claims != NULL ? STR("[redacted]") : (struct str){NULL, 0};
    visit->job = job;
    struct call *call = make_call(visit, ex);
    if (call != NULL)
        function_call(call);
    else
        answer_no_memory(visit);
}

void app_call_job(struct app *app, struct function *function, struct exchange *ex,
                  struct job_call *job, struct str path, struct claims *claims, struct str token)
{
    struct visit *visit = enter_again(app, app->current->router, function, ex, claims);
    if (visit == NULL)
        return;
    visit->token = token;
    visit->job = job;
    visit->job_path = path;
    if (app->journal != NULL)
        record_begin(app->journal, ex);
    if (app->otlp != NULL)
        trace_begin(app->otlp, ex, STR(""), false);
    call_function(visit);
}
