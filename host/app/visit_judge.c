/* May the caller? By his token or his session, by the policy of what he asks for. See visit.h. */
#include "app/visit.h"

#include <errno.h>
#include <string.h>

#include "app/app_session.h"
#include "app/login.h"
#include "base/clock.h"

static void on_session(struct session_wait *wait)
{
    struct visit *visit = wait->arg;
    visit->resume(visit, false);
}

/* 1: `resume` comes when the session is open; 0: it is, or there is none; negative: the exchange
 * was taken care of. */
static int open_session(struct visit *visit, const struct policy *policy, visit_resume *resume)
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
            exchange_answer_no_memory(visit->ex);
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

bool visit_judge(struct visit *visit, const struct policy *policy, bool waited,
                 visit_resume *resume, struct verdict *verdict, enum policy_result *result)
{
    if (visit->session.ptr != NULL && open_session(visit, policy, resume) != 0)
        return false;
    *result = check(visit, policy, false, verdict);
    if (*result == POLICY_NEEDS_KEY) {
        if (!waited && visit_wait_for_keys(visit, verdict, resume))
            return false;
        if (token_is_settled(visit->app->issuers, verdict))
            *result = check(visit, policy, true, verdict);
    }
    return *result != POLICY_ALLOW || !visit_wait_for_others(visit, verdict, waited, resume);
}

void visit_refuse(struct visit *visit, const struct policy *policy)
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

void visit_answer_unknown(struct visit *visit)
{
    visit->app->page->keys_unavailable++;
    policy_keys_unavailable(visit->ex);
    metrics_count_token(visit->app->page, visit->ex->error_code);
    exchange_answer(visit->ex);
}
