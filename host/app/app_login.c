/* Signing in: to the issuer and back (OpenID Connect Core 3.1: code with PKCE, state, nonce).
 *
 * What belongs to a sign-in lies sealed in a cookie of the browser that began it, named after its
 * state, so that no other browser can end it and several can be under way. The answer of the issuer
 * becomes a session only where its ID token and its access token are good for this host: a token
 * that a policy would refuse would send the browser round for ever. */
#include "app/app_login_flow.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "auth/base64url.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/target.h"
#include "json/provider.h"
#include "shared/digest.h"

#define FLOW_NAME   "__Host-luafn-flow-"
#define FLOW_ENDS   600 /* seconds */
#define RETURN_MOST 2000
#define STATE_SHOWN 12 /* characters of the state that are in the cookie's name */

/* ---- there ---- */

static struct str callback_url(const struct login_flow *f)
{
    struct str origin = app_login_origin(f);
    return origin.ptr != NULL ? arena_printf(&f->ex->arena, "%.*s%.*s", STR_ARG(origin),
                                             STR_ARG(app_login_of(f)->callback))
                              : origin;
}

/* 22 or 43 characters that nobody guesses. ptr NULL: there are none. */
static struct str random_text(struct arena *arena, size_t bytes)
{
    unsigned char raw[32];
    struct buf text = BUF_INIT;
    struct str copy = {NULL, 0};
    if (getrandom(raw, bytes, 0) == (ssize_t)bytes) {
        base64url_encode(raw, bytes, &text);
        if (!buf_failed(&text))
            copy = arena_copy(arena, buf_str(&text));
    }
    buf_free(&text);
    return copy;
}

/* Only a path of this host: "//other" is none. */
static struct str way_back(const struct login_flow *f)
{
    struct str target = f->ex->req.target;
    bool own = target.len > 0 && target.len <= RETURN_MOST && target.ptr[0] == '/' &&
               (target.len == 1 || (target.ptr[1] != '/' && target.ptr[1] != '\\'));
    return own ? target : STR("/");
}

static void add_resource(const struct login_flow *f, struct buf *url)
{
    const struct verifier *v = &f->deployment->services.verifiers[app_login_of(f)->issuer];
    if (v->audience_count == 0 || v->audience_claim.len > 0)
        return;
    app_login_add_param(url, "audience", v->audiences[0]);
    if (str_starts_with(v->audiences[0], STR("https://")))
        app_login_add_param(url, "resource", v->audiences[0]); /* RFC 8707 */
}

struct begun {
    struct str state, nonce, verifier;
};

static int set_flow(struct login_flow *f, const struct begun *b)
{
    struct arena *arena = &f->ex->arena;
    struct str back = way_back(f), issuer = app_login_issuer(f), sealed;
    struct str name = arena_printf(arena, FLOW_NAME "%.*s", STATE_SHOWN, b->state.ptr);
    json_t *json = json_pack("{s:s%,s:s,s:s,s:s,s:s%,s:f}", "iss", issuer.ptr, issuer.len, "state",
                             b->state.ptr, "nonce", b->nonce.ptr, "verifier", b->verifier.ptr,
                             "back", back.ptr, back.len, "until", clock_now() + FLOW_ENDS);
    int rc = login_seal_json(f->deployment->config, arena, LOGIN_FLOW, json, &sealed);
    json_decref(json);
    if (rc != 0 || name.ptr == NULL)
        return -ENOMEM;
    return login_set_cookie(f->ex, name, sealed, FLOW_ENDS);
}

static void go_there(struct login_flow *f)
{
    struct arena *arena = &f->ex->arena;
    const struct config_login *login = app_login_of(f);
    const struct begun b = {random_text(arena, 16), random_text(arena, 16), random_text(arena, 32)};
    struct str there = app_login_endpoint(f, "authorization_endpoint");
    struct buf url = BUF_INIT, challenge = BUF_INIT;
    unsigned char digest[DIGEST_BYTES];
    if (b.state.ptr == NULL || b.nonce.ptr == NULL || b.verifier.ptr == NULL ||
        callback_url(f).ptr == NULL || set_flow(f, &b) != 0) {
        app_login_fail(f, "out of memory");
        return;
    }
    digest_sha256(b.verifier, digest);
    base64url_encode(digest, sizeof(digest), &challenge);
    buf_printf(&url, "%.*s%cresponse_type=code", STR_ARG(there),
               str_find(there, '?') < there.len ? '&' : '?');
    app_login_add_param(&url, "client_id", login->client_id);
    app_login_add_param(&url, "redirect_uri", callback_url(f));
    app_login_add_param(&url, "scope", login->scope);
    app_login_add_param(&url, "state", b.state);
    app_login_add_param(&url, "nonce", b.nonce);
    app_login_add_param(&url, "code_challenge", buf_str(&challenge));
    app_login_add_param(&url, "code_challenge_method", STR("S256"));
    add_resource(f, &url);
    struct str place = buf_failed(&url) || buf_failed(&challenge)
                           ? (struct str){NULL, 0}
                           : arena_copy(arena, buf_str(&url));
    buf_free(&url);
    buf_free(&challenge);
    app_login_send_to(f, 302, place);
}

void app_login_begin(struct app *app, struct exchange *ex)
{
    ex->res = (struct response){0};
    struct login_flow *f = app_login_flow_new(app, ex);
    if (f != NULL)
        app_login_with_provider(f, go_there);
}

/* ---- 3. and back: are the tokens good? ---- */

static void judge(struct login_flow *f, bool waited);

static void on_keys(struct issuer_wait *wait)
{
    struct login_flow *f = container_of(wait, struct login_flow, wait);
    struct exchange *ex = f->ex;
    app_login_end_wait(f);
    judge(f, true);
    exchange_release(ex); /* the wait's */
}

static void on_gone_while_waiting(struct exchange *ex)
{
    struct login_flow *f = ex->owner;
    issuer_cancel(&f->wait);
    app_login_end_wait(f);
    exchange_release(ex);
}

/* 0, or the answer is on its way. */
static int verify(struct login_flow *f, const struct verifier *verifiers, unsigned count,
                  struct str token, bool waited, const char *which, struct verdict *verdict)
{
    verify_token(verifiers, count, token, clock_now(), false, &f->ex->arena, verdict);
    if (verdict->status == VERIFY_NEEDS_KEY) {
        f->wait.done = on_keys;
        if (!waited && token_want(f->app->issuers, verdict, &f->wait) == 1) {
            app_login_begin_wait(f, on_gone_while_waiting);
            return -EAGAIN;
        }
        if (token_is_settled(f->app->issuers, verdict))
            verify_token(verifiers, count, token, clock_now(), true, &f->ex->arena, verdict);
    }
    if (verdict->status == VERIFY_OK)
        return 0;
    log_message(
        LOG_WARN, "sign-in at %.*s: its %s is no good here: %.*s", STR_ARG(app_login_issuer(f)),
        which,
        STR_ARG(verdict->status == VERIFY_REFUSED ? verdict->text : STR("there is no key for it")));
    app_login_refuse(f, verdict->status == VERIFY_REFUSED ? 403 : 503, "login_refused",
                     "The issuer's tokens are not for this host, or cannot be checked");
    return -EBADMSG;
}

static struct str began(const struct login_flow *f, const char *name)
{
    const json_t *value = json_object_get(f->began, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* OpenID Connect Core 3.1.3.7 */
static bool is_ours(const struct login_flow *f, const struct claims *claims)
{
    const json_t *azp = json_object_get(claims->json, "azp");
    bool many = json_array_size(claims->audience) > 1;
    return login_is_text(claims->json, "nonce", began(f, "nonce")) && claims->subject.len > 0 &&
           (azp == NULL ? !many : login_is_text(claims->json, "azp", app_login_of(f)->client_id));
}

static void take_user(struct login_flow *f, const json_t *claims)
{
    const json_t *since = json_object_get(claims, "auth_time");
    if (!json_is_number(since))
        since = json_object_get(claims, "iat");
    f->session.sid = login_text(&f->ex->arena, claims, "sid");
    f->session.sub = login_text(&f->ex->arena, claims, "sub");
    f->session.signed_in = json_is_number(since) ? json_number_value(since) : floor(clock_now());
}

static void give(struct login_flow *f, struct str sealed)
{
    if (login_give(f->ex, sealed) != 0) {
        app_login_fail(f, "out of memory");
        return;
    }
    f->app->page->sessions_begun++;
    app_login_send_to(f, 303, began(f, "back"));
}

static void on_session_kept(struct store_request *request)
{
    struct login_flow *f = request->arg;
    struct exchange *ex = f->ex;
    struct str sealed;
    app_login_end_wait(f);
    f->session.token = f->session.refresh = STR("");
    if (f->gone)
        log_message(LOG_DEBUG, "a browser left while it was signed in");
    else if (request->status != 0)
        app_login_fail(f, store_error_text(request->status));
    else if (login_seal(f->deployment->config, &ex->arena, LOGIN_COOKIE, &f->session, &sealed) != 0)
        app_login_fail(f, "out of memory");
    else
        give(f, sealed);
    exchange_release(ex); /* the wait's */
}

static void give_session(struct login_flow *f)
{
    const struct config *config = f->deployment->config;
    struct arena *arena = &f->ex->arena;
    struct login_session *s = &f->session;
    struct str sealed;
    s->token = f->access_token;
    s->hint = f->id_token;
    s->endpoint = app_login_endpoint(f, "token_endpoint");
    s->id = random_text(arena, 16);
    login_set_times(s, f->life);
    s->expires = s->refresh.len > 0 ? clock_now() + LIMIT_LOGIN_SESSION : s->token_ends;
    if (s->id.ptr == NULL || login_seal(config, arena, LOGIN_COOKIE, s, &sealed) != 0) {
        app_login_fail(f, "out of memory");
    } else if (sealed.len <= LOGIN_COOKIE_BYTES) {
        give(f, sealed);
    } else if (f->app->store == NULL) {
        app_login_fail(f, "its tokens do not fit into a cookie, and there is no kv");
    } else if (login_seal(config, arena, LOGIN_STORE, s, &sealed) != 0) {
        app_login_fail(f, "out of memory");
    } else {
        app_login_begin_wait(f, app_login_on_gone_keeping);
        app_session_keep(f->app, &f->request, s, sealed, on_session_kept, f);
    }
}

static void judge(struct login_flow *f, bool waited)
{
    const struct services *services = &f->deployment->services;
    struct verifier of_id = services->verifiers[app_login_of(f)->issuer];
    struct str client = app_login_of(f)->client_id;
    struct verdict id, access;
    of_id.audiences = &client;
    of_id.audience_count = 1;
    of_id.audience_claim = STR("");
    of_id.profile = PROFILE_ANY;
    of_id.opaque = NULL;
    if (verify(f, &of_id, 1, f->id_token, waited, "ID token", &id) != 0)
        return;
    bool ours = is_ours(f, id.claims);
    take_user(f, id.claims->json);
    claims_unref(id.claims);
    if (!ours) {
        app_login_refuse(f, 403, "login_refused", "The ID token is of another sign-in");
        return;
    }
    if (verify(f, services->verifiers, services->verifier_count, f->access_token, waited,
               "access token", &access) != 0)
        return;
    claims_unref(access.claims);
    give_session(f);
}

/* ---- 2. the code is exchanged ---- */

static void on_tokens(void *arg, const struct client_response *res)
{
    struct login_flow *f = arg;
    struct exchange *ex = f->ex;
    const char *why = "";
    app_login_answered(f);
    json_t *json = res->error == 0 ? provider_json_load(res->body, &why) : NULL;
    const char *type = json_string_value(json_object_get(json, "token_type"));
    f->id_token = login_text(&f->ex->arena, json, "id_token");
    f->access_token = login_text(&f->ex->arena, json, "access_token");
    f->session.refresh = login_text(&f->ex->arena, json, "refresh_token");
    f->life = json_number_value(json_object_get(json, "expires_in"));
    json_decref(json);
    bool bearer = type != NULL;
    if (res->error != 0)
        app_login_fail(f, res->error_text);
    else if (res->status >= 400 && res->status < 500)
        app_login_refuse(f, 403, "login_refused", "The issuer refused the code: begin again");
    else if (res->status != 200 || !bearer || f->id_token.len == 0 || f->access_token.len == 0)
        app_login_fail(f, "its token endpoint gave no ID token and access token");
    else
        judge(f, false);
    exchange_release(ex); /* the wait's */
}

static void exchange_code(struct login_flow *f)
{
    const struct config_login *login = app_login_of(f);
    struct buf form = BUF_INIT;
    struct err err;
    buf_add_str(&form, STR("grant_type=authorization_code"));
    app_login_add_param(&form, "code", f->code);
    app_login_add_param(&form, "redirect_uri", callback_url(f));
    app_login_add_param(&form, "code_verifier", began(f, "verifier"));
    if (app_login_post(f->app, login, app_login_endpoint(f, "token_endpoint"), &form, &f->host,
                       &f->ex->arena, on_tokens, f, &f->call, &err) != 0)
        app_login_fail(f, err.text);
    else
        app_login_begin_wait(f, app_login_on_gone);
    buf_free(&form);
}

/* ---- 1. is it an answer to what this browser asked? ---- */

/* The one parameter of that name. False: there are several. */
static bool find_param(const struct query_pair *pairs, int count, const char *name, struct str *out)
{
    *out = (struct str){NULL, 0};
    for (int i = 0; i < count; i++) {
        if (!str_eq(pairs[i].name, str_from(name)))
            continue;
        if (out->ptr != NULL)
            return false;
        *out = pairs[i].value;
    }
    return true;
}

static void free_began(void *arg)
{
    struct login_flow *f = arg;
    json_decref(f->began);
    f->began = NULL;
}

/* What this browser began under that state. 0, -ENOENT: nothing, or -ENOMEM. */
static int find_began(struct login_flow *f, struct str state)
{
    struct arena *arena = &f->ex->arena;
    if (state.len < STATE_SHOWN)
        return -ENOENT;
    struct str name = arena_printf(arena, FLOW_NAME "%.*s", STATE_SHOWN, state.ptr);
    if (name.ptr == NULL || arena_defer(arena, free_began, f) != 0)
        return -ENOMEM;
    int rc = login_open_json(f->deployment->config, arena, LOGIN_FLOW, login_cookie(f->ex, name),
                             &f->began);
    if (rc != 0)
        return rc;
    if (!login_is_text(f->began, "state", state) ||
        !login_is_text(f->began, "iss", app_login_issuer(f)) || /* a reload may have changed it */
        clock_now() >= json_number_value(json_object_get(f->began, "until")))
        return -ENOENT;
    f->cookie = name; /* it is good once */
    return 0;
}

/* RFC 9207: an issuer that names itself must be the one that was asked. */
static bool is_from_issuer(const struct login_flow *f, struct str iss)
{
    const json_t *says =
        json_object_get(f->app->login.provider, "authorization_response_iss_parameter_supported");
    return iss.ptr != NULL ? login_is_text(f->app->login.provider, "issuer", iss)
                           : !json_is_true(says);
}

static void come_back(struct login_flow *f)
{
    struct query_pair *pairs;
    struct str state, iss, error;
    int count = target_parse_query(&f->ex->arena, f->ex->req.query, &pairs), rc = -ENOENT;
    if (count >= 0 && find_param(pairs, count, "state", &state) &&
        find_param(pairs, count, "iss", &iss) && find_param(pairs, count, "error", &error) &&
        find_param(pairs, count, "code", &f->code))
        rc = find_began(f, state);
    if (rc == -ENOMEM || count == -ENOMEM)
        app_login_fail(f, "out of memory");
    else if (rc != 0)
        app_login_refuse(f, 400, "login_unknown",
                         "This browser has begun no such sign-in, or too long ago: begin again");
    else if (!is_from_issuer(f, iss))
        app_login_refuse(f, 403, "login_refused", "The answer is of another issuer");
    else if (error.ptr != NULL || f->code.len == 0)
        app_login_refuse(f, 403, "login_refused", "The issuer did not sign anybody in");
    else
        exchange_code(f);
}

/* ---- its own paths ---- */

bool app_login(struct app *app, struct exchange *ex, struct str path)
{
    bool back = str_eq(path, app->current->config->login.callback);
    bool out = str_eq(path, STR(CONFIG_LOGOUT));
    bool get = ex->req.method == METHOD_GET, post = ex->req.method == METHOD_POST;
    if (!back && !out)
        return false;
    ex->decorate = app_decorate; /* it is no page of `dev` */
    ex->secret_query = true;
    struct login_flow *f = app_login_flow_new(app, ex);
    if (f == NULL)
        return true;
    if (!get && !(out && post))
        app_login_refuse(f, 405, "method_not_allowed", "This path exists under other methods");
    else if (out)
        app_logout(f);
    else
        app_login_with_provider(f, come_back);
    return true;
}
