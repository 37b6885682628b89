/* What a request waits for on its way: keys, other machines, its body. See visit.h. */
#include "app/visit.h"

bool visit_keep_match(struct visit *visit, const struct route_match *match)
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

bool visit_wait_for_keys(struct visit *visit, const struct verdict *verdict, visit_resume *resume)
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

bool visit_wait_for_others(struct visit *visit, struct verdict *verdict, bool waited,
                           visit_resume *resume)
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

void visit_receive(struct visit *visit, visit_received *received)
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
