/* The function takes over: at once, through the queue when it works in the background, or for a run
 * that no request of now asked for, which is scheduled, recorded or a job. See visit.h. */
#include "app/visit.h"

#include <string.h>

#include "http/target.h"
#include "journal/record.h"
#include "otlp/trace.h"
#include "run/input.h"
#include "run/outcome.h"

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

static void answer_no_memory(struct visit *visit)
{
    claims_unref(visit->claims);
    exchange_answer_no_memory(visit->ex);
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

void visit_call(struct visit *visit)
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
        visit_receive(visit, visit_call);
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

/* ---- runs that nobody asked for now, so that nobody is judged ---- */

void app_call_scheduled(struct app *app, struct function *function, struct exchange *ex)
{
    struct visit *visit = arena_zalloc(&ex->arena, sizeof(*visit));
    ex->function = arena_copy(&ex->arena, function->spec->name).ptr;
    if (visit == NULL || ex->function == NULL) {
        exchange_answer_no_memory(ex);
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
    visit_call(visit);
}

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
        exchange_answer_no_memory(ex);
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
    if (result != ROUTE_FOUND || match.target != function || visit_keep_match(visit, &match))
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
    visit_call(visit);
}
