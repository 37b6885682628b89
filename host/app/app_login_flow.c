/* What signing in and signing out share: a request on its way to the issuer and back. */
#include "app/app_login_flow.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "issuer/client_auth.h"
#include "issuer/discovery.h"
#include "json/provider.h"

const struct config_login *app_login_of(const struct login_flow *f)
{
    return &f->deployment->config->login;
}

struct str app_login_issuer(const struct login_flow *f)
{
    return login_issuer(f->deployment->config);
}

/* ---- answers ---- */

static void send_answer(struct login_flow *f)
{
    struct exchange *ex = f->ex;
    struct headers *headers = &ex->res.headers;
    if (headers_set(headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0 ||
        headers_set(headers, &ex->arena, STR("Referrer-Policy"), STR("no-referrer")) != 0 ||
        (f->cookie.len > 0 && login_set_cookie(ex, f->cookie, STR(""), 0) != 0))
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

void app_login_refuse(struct login_flow *f, int status, const char *code, const char *text)
{
    f->app->page->sessions_refused++;
    f->ex->error_code = code;
    if (response_set_error(&f->ex->res, &f->ex->arena, status, str_from(code), str_from(text)) != 0)
        f->ex->res = (struct response){.status = 500};
    send_answer(f);
}

void app_login_fail(struct login_flow *f, const char *text)
{
    log_message(LOG_WARN, "sign-in at %.*s: %s", STR_ARG(app_login_issuer(f)), text);
    app_login_refuse(f, 502, "login_unavailable", "The issuer cannot be asked to sign anybody in");
}

void app_login_send_to(struct login_flow *f, int status, struct str place)
{
    struct exchange *ex = f->ex;
    ex->res.status = status;
    if (place.ptr == NULL || !header_value_is_valid(place) ||
        headers_set(&ex->res.headers, &ex->arena, STR("Location"), place) != 0)
        ex->res = (struct response){.status = 500};
    send_answer(f);
}

struct str app_login_origin(const struct login_flow *f)
{
    const struct request *req = &f->ex->req;
    return arena_printf(&f->ex->arena, "%.*s://%.*s", STR_ARG(req->scheme), STR_ARG(req->host));
}

/* ---- waiting ---- */

void app_login_begin_wait(struct login_flow *f, void (*on_gone)(struct exchange *ex))
{
    exchange_hold(f->ex);
    f->deployment->awaited++;
    f->ex->on_gone = on_gone;
    f->ex->owner = f;
}

void app_login_end_wait(struct login_flow *f)
{
    f->deployment->awaited--;
    f->ex->on_gone = NULL;
    f->ex->owner = NULL;
}

void app_login_on_gone(struct exchange *ex)
{
    struct login_flow *f = ex->owner;
    client_cancel(f->call);
    f->app->login.calls--;
    app_login_end_wait(f);
    exchange_release(ex);
}

void app_login_answered(struct login_flow *f)
{
    f->app->login.calls--;
    app_login_end_wait(f);
}

void app_login_on_gone_keeping(struct exchange *ex)
{
    struct login_flow *f = ex->owner;
    f->gone = true; /* the store cannot be called back */
}

/* ---- where the provider's endpoints are ---- */

static void forget(struct app_login *login)
{
    json_decref(login->provider);
    free(login->issuer);
    login->provider = NULL;
    login->issuer = NULL;
}

struct str app_login_endpoint(const struct login_flow *f, const char *name)
{
    const json_t *url = json_object_get(f->app->login.provider, name);
    return (struct str){json_string_value(url), json_string_length(url)};
}

static bool is_endpoint(const json_t *provider, const char *name, bool http, struct err *err)
{
    const char *url = json_string_value(json_object_get(provider, name));
    if (url == NULL) {
        err_set(err, -EBADMSG, "its OpenID configuration has no %s", name);
        return false;
    }
    return discovery_check_url(str_from(url), http, err) == 0;
}

/* Takes the document over, when it is good. */
static bool take_provider(struct login_flow *f, struct str text, struct err *err)
{
    struct str issuer = app_login_issuer(f);
    bool http = str_starts_with(issuer, STR("http:")), slash;
    char *keys = NULL;
    const char *why = "";
    if (discovery_read(text, issuer, &keys, &slash, err) != 0)
        return false;
    free(keys);
    json_t *provider = provider_json_load(text, &why);
    if (!is_endpoint(provider, "authorization_endpoint", http, err) ||
        !is_endpoint(provider, "token_endpoint", http, err)) {
        json_decref(provider);
        return false;
    }
    struct app_login *login = &f->app->login;
    forget(login);
    login->provider = provider;
    login->issuer = strndup(issuer.ptr, issuer.len);
    login->until = clock_now() + LIMIT_KEYS_TTL;
    return true;
}

static void on_provider(void *arg, const struct client_response *res)
{
    struct login_flow *f = arg;
    struct exchange *ex = f->ex;
    struct err err;
    app_login_answered(f);
    if (res->error != 0)
        app_login_fail(f, res->error_text);
    else if (res->status != 200)
        app_login_fail(f, "its OpenID configuration cannot be had");
    else if (!take_provider(f, res->body, &err))
        app_login_fail(f, err.text);
    else
        f->next(f);
    exchange_release(ex); /* the wait's */
}

void app_login_with_provider(struct login_flow *f, void (*next)(struct login_flow *f))
{
    const struct app_login *login = &f->app->login;
    f->next = next;
    if (login->issuer != NULL && str_eq(str_from(login->issuer), app_login_issuer(f)) &&
        clock_now() < login->until) {
        next(f);
        return;
    }
    char *url = discovery_url(app_login_issuer(f));
    struct str copy =
        url != NULL ? arena_copy(&f->ex->arena, str_from(url)) : (struct str){NULL, 0};
    free(url);
    struct client_request req = {.url = copy};
    struct err err;
    if (copy.ptr == NULL)
        app_login_fail(f, "out of memory");
    else if (app_login_call(f->app, &req, &f->host, &f->ex->arena, on_provider, f, &f->call,
                            &err) != 0)
        app_login_fail(f, err.text);
    else
        app_login_begin_wait(f, app_login_on_gone);
}

void app_login_add_param(struct buf *buf, const char *name, struct str value)
{
    buf_printf(buf, "&%s=", name);
    client_auth_add_form(buf, value);
}

/* ---- the request ---- */

struct login_flow *app_login_flow_new(struct app *app, struct exchange *ex)
{
    struct login_flow *f = arena_zalloc(&ex->arena, sizeof(*f));
    if (f == NULL) {
        exchange_answer_no_memory(ex);
        return NULL;
    }
    list_init(&f->wait.node);
    f->app = app;
    f->ex = ex;
    f->deployment = app->current;
    ex->secret_place = true;
    return f;
}

void app_login_free(struct app *app)
{
    forget(&app->login);
}
