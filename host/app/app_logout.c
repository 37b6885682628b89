/* Signing out: here, and at the issuer (OpenID Connect RP-Initiated Logout 1.0), to which the ID
 * token says whose session it is, so that it need not ask. */
#include <errno.h>
#include <math.h>

#include "app/app_login_flow.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "issuer/client_auth.h"

static void leave(struct login_flow *f)
{
    struct arena *arena = &f->ex->arena;
    struct str there = app_login_endpoint(f, "end_session_endpoint"), origin = app_login_origin(f),
               place;
    struct buf url = BUF_INIT;
    if (there.len == 0) {
        app_login_send_to(f, 303, STR("/"));
        return;
    }
    buf_printf(&url, "%.*s%cclient_id=", STR_ARG(there),
               str_find(there, '?') < there.len ? '&' : '?');
    client_auth_add_form(&url, app_login_of(f)->client_id);
    app_login_add_param(&url, "post_logout_redirect_uri",
                        arena_printf(arena, "%.*s/", STR_ARG(origin)));
    if (f->session.hint.len > 0)
        app_login_add_param(&url, "id_token_hint", f->session.hint);
    place = buf_failed(&url) ? (struct str){NULL, 0} : arena_copy(arena, buf_str(&url));
    buf_free(&url);
    app_login_send_to(f, 303, place);
}

static void end_here(struct login_flow *f)
{
    if (login_give(f->ex, STR("")) != 0)
        app_login_fail(f, "out of memory");
    else
        app_login_with_provider(f, leave);
}

static void on_ended(struct store_request *request)
{
    struct login_flow *f = request->arg;
    struct exchange *ex = f->ex;
    if (request->status != 0)
        log_message(LOG_WARN, "a session that was ended is not kept: %s",
                    store_error_text(request->status));
    app_login_end_wait(f);
    if (!f->gone)
        end_here(f);
    exchange_release(ex); /* the wait's */
}

static void on_revoked(struct store_request *request)
{
    struct login_flow *f = request->arg;
    if (request->status == 0 && f->session.token.len == 0)
        app_session_drop(f->app, &f->request, f->session.id, on_ended, f);
    else
        on_ended(request);
}

/* A copy of the cookie is worth nothing from here on, on every worker, and on every host that reads
 * the same store. */
void app_logout(struct login_flow *f)
{
    struct str sealed;
    struct exchange *ex = f->ex;
    double now = floor(clock_now());
    if (!login_is_same_origin(ex, true)) {
        app_login_refuse(f, 403, "cross_site",
                         "A page of another origin does not sign anybody out");
        return;
    }
    if (login_take(ex, &sealed) != 0) {
        app_login_fail(f, "out of memory");
        return;
    }
    int rc = login_open(f->deployment->config, &ex->arena, LOGIN_COOKIE, sealed, now, &f->session);
    if (rc == -ENOMEM) {
        app_login_fail(f, "out of memory");
        return;
    }
    if (rc != 0) {
        end_here(f);
        return;
    }
    struct revocation revocation = login_revocation(f->session.id, now);
    if (revocations_add(&revocation, now) != 0) {
        app_login_refuse(f, 503, "not_kept",
                         "There is no room for one more session that has ended");
        return;
    }
    f->app->page->sessions_ended++;
    if (f->app->store == NULL) {
        end_here(f);
        return;
    }
    app_login_begin_wait(f, app_login_on_gone_keeping);
    revocations_write(&revocation, f->bytes);
    f->request = (struct store_request){.kind = STORE_REVOKE,
                                        .value = {STORE_TEXT, {f->bytes, REVOCATION_BYTES}},
                                        .ttl_ms = (uint64_t)LIMIT_REVOCATION_LIFE * 1000,
                                        .done = on_revoked,
                                        .arg = f};
    store_submit(f->app->store, &f->request);
}
