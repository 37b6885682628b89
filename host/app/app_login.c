/* Signing in: to the issuer and back (OpenID Connect Core 3.1: code with PKCE, state, nonce), and
 * out again.
 *
 * What belongs to a sign-in lies sealed in a cookie of the browser that began it, named after its
 * state, so that no other browser can end it and several can be under way. The answer of the issuer
 * becomes a session only where its ID token and its access token are good for this host: a token
 * that a policy would refuse would send the browser round for ever. */
#include "app/app.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app/app_session.h"
#include "auth/base64url.h"
#include "auth/sealed.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "config/config_login.h"
#include "http/target.h"
#include "issuer/client_auth.h"
#include "issuer/discovery.h"
#include "issuer/token_wait.h"
#include "json/provider.h"
#include "shared/digest.h"

#define FLOW_NAME   "__Host-luafn-flow-"
#define PURPOSE     "sign-in"
#define FLOW_ENDS   600 /* seconds */
#define RETURN_MOST 2000
#define STATE_SHOWN 12 /* characters of the state that are in the cookie's name */

/* One request on its way; in the exchange's arena, which is held while something is waited for. */
struct flow {
    struct issuer_wait wait; /* for keys */
    struct client_call *call;
    struct app *app;
    struct exchange *ex;
    struct deployment *deployment;   /* which counts it meanwhile */
    void (*next)(struct flow *flow); /* when the provider's endpoints are known */
    struct str cookie;               /* of a sign-in that comes back */
    json_t *began;                   /* what was in it; owned */
    struct str code;
    struct str id_token, access_token;
    double life;     /* seconds, as the issuer says; 0: it does not */
    struct str host; /* that is asked */
    struct login_session session;
    struct store_request request;
    char bytes[REVOCATION_BYTES];
    bool gone; /* the client is, while the store is asked */
};

static const struct config_login *login_of(const struct flow *f)
{
    return &f->deployment->config->login;
}

static struct str issuer_of(const struct flow *f)
{
    return login_issuer(f->deployment->config);
}

/* ---- answers ---- */

static void send_answer(struct flow *f)
{
    struct exchange *ex = f->ex;
    if (headers_set(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0 ||
        (f->cookie.len > 0 && login_set_cookie(ex, f->cookie, STR(""), 0) != 0))
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

static void refuse(struct flow *f, int status, const char *code, const char *text)
{
    f->app->page->sessions_refused++;
    f->ex->error_code = code;
    if (response_set_error(&f->ex->res, &f->ex->arena, status, str_from(code), str_from(text)) != 0)
        f->ex->res = (struct response){.status = 500};
    send_answer(f);
}

static void fail(struct flow *f, const char *text)
{
    log_message(LOG_WARN, "sign-in at %.*s: %s", STR_ARG(issuer_of(f)), text);
    refuse(f, 502, "login_unavailable", "The issuer cannot be asked to sign anybody in");
}

static void send_to(struct flow *f, int status, struct str place)
{
    struct exchange *ex = f->ex;
    ex->res.status = status;
    if (place.ptr == NULL || !header_value_is_valid(place) ||
        headers_set(&ex->res.headers, &ex->arena, STR("Location"), place) != 0)
        ex->res = (struct response){.status = 500};
    send_answer(f);
}

static struct str own_origin(const struct flow *f)
{
    const struct request *req = &f->ex->req;
    return arena_printf(&f->ex->arena, "%.*s://%.*s", STR_ARG(req->scheme), STR_ARG(req->host));
}

static struct str callback_url(const struct flow *f)
{
    struct str origin = own_origin(f);
    return origin.ptr != NULL ? arena_printf(&f->ex->arena, "%.*s%.*s", STR_ARG(origin),
                                             STR_ARG(login_of(f)->callback))
                              : origin;
}

/* ---- waiting ---- */

static void begin_wait(struct flow *f, void (*on_gone)(struct exchange *ex))
{
    exchange_hold(f->ex);
    f->deployment->awaited++;
    f->ex->on_gone = on_gone;
    f->ex->owner = f;
}

static void end_wait(struct flow *f)
{
    f->deployment->awaited--;
    f->ex->on_gone = NULL;
    f->ex->owner = NULL;
}

static void on_gone_while_asking(struct exchange *ex)
{
    struct flow *f = ex->owner;
    client_cancel(f->call);
    f->app->login.calls--;
    end_wait(f);
    exchange_release(ex);
}

static void answered(struct flow *f)
{
    f->app->login.calls--;
    end_wait(f);
}

/* ---- where the provider's endpoints are ---- */

static void forget(struct app_login *login)
{
    json_decref(login->provider);
    free(login->issuer);
    login->provider = NULL;
    login->issuer = NULL;
}

static struct str endpoint(const struct flow *f, const char *name)
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
static bool take_provider(struct flow *f, struct str text, struct err *err)
{
    struct str issuer = issuer_of(f);
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
    struct flow *f = arg;
    struct exchange *ex = f->ex;
    struct err err;
    answered(f);
    if (res->error != 0)
        fail(f, res->error_text);
    else if (res->status != 200)
        fail(f, "its OpenID configuration cannot be had");
    else if (!take_provider(f, res->body, &err))
        fail(f, err.text);
    else
        f->next(f);
    exchange_release(ex); /* the wait's */
}

static void with_provider(struct flow *f, void (*next)(struct flow *f))
{
    const struct app_login *login = &f->app->login;
    f->next = next;
    if (login->issuer != NULL && str_eq(str_from(login->issuer), issuer_of(f)) &&
        clock_now() < login->until) {
        next(f);
        return;
    }
    char *url = discovery_url(issuer_of(f));
    struct str copy =
        url != NULL ? arena_copy(&f->ex->arena, str_from(url)) : (struct str){NULL, 0};
    free(url);
    struct client_request req = {.url = copy};
    struct err err;
    if (copy.ptr == NULL)
        fail(f, "out of memory");
    else if (app_login_call(f->app, &req, &f->host, &f->ex->arena, on_provider, f, &f->call,
                            &err) != 0)
        fail(f, err.text);
    else
        begin_wait(f, on_gone_while_asking);
}

/* ---- there ---- */

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
static struct str way_back(const struct flow *f)
{
    struct str target = f->ex->req.target;
    bool own = target.len > 0 && target.len <= RETURN_MOST && target.ptr[0] == '/' &&
               (target.len == 1 || (target.ptr[1] != '/' && target.ptr[1] != '\\'));
    return own ? target : STR("/");
}

static void add_param(struct buf *buf, const char *name, struct str value)
{
    buf_printf(buf, "&%s=", name);
    client_auth_add_form(buf, value);
}

static void add_resource(const struct flow *f, struct buf *url)
{
    const struct verifier *v = &f->deployment->services.verifiers[login_of(f)->issuer];
    if (v->audience_count == 0 || v->audience_claim.len > 0)
        return;
    add_param(url, "audience", v->audiences[0]);
    if (str_starts_with(v->audiences[0], STR("https://")))
        add_param(url, "resource", v->audiences[0]); /* RFC 8707 */
}

struct begun {
    struct str state, nonce, verifier;
};

static int set_flow(struct flow *f, const struct begun *b)
{
    unsigned count;
    struct str back = way_back(f);
    struct buf sealed = BUF_INIT;
    struct str issuer = issuer_of(f);
    json_t *json = json_pack("{s:s%,s:s,s:s,s:s,s:s%,s:f}", "iss", issuer.ptr, issuer.len, "state",
                             b->state.ptr, "nonce", b->nonce.ptr, "verifier", b->verifier.ptr,
                             "back", back.ptr, back.len, "until", clock_now() + FLOW_ENDS);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    struct str secret = login_secrets(login_of(f), &count)[0];
    int rc = text != NULL ? sealed_write(secret, PURPOSE, str_from(text), &sealed) : -ENOMEM;
    struct str name = arena_printf(&f->ex->arena, FLOW_NAME "%.*s", STATE_SHOWN, b->state.ptr);
    if (rc == 0)
        rc =
            name.ptr != NULL ? login_set_cookie(f->ex, name, buf_str(&sealed), FLOW_ENDS) : -ENOMEM;
    buf_free(&sealed);
    free(text);
    json_decref(json);
    return rc;
}

static void go_there(struct flow *f)
{
    struct arena *arena = &f->ex->arena;
    const struct config_login *login = login_of(f);
    const struct begun b = {random_text(arena, 16), random_text(arena, 16), random_text(arena, 32)};
    struct str there = endpoint(f, "authorization_endpoint");
    struct buf url = BUF_INIT, challenge = BUF_INIT;
    unsigned char digest[DIGEST_BYTES];
    if (b.state.ptr == NULL || b.nonce.ptr == NULL || b.verifier.ptr == NULL ||
        callback_url(f).ptr == NULL || set_flow(f, &b) != 0) {
        fail(f, "out of memory");
        return;
    }
    digest_sha256(b.verifier, digest);
    base64url_encode(digest, sizeof(digest), &challenge);
    buf_printf(&url, "%.*s%cresponse_type=code", STR_ARG(there),
               str_find(there, '?') < there.len ? '&' : '?');
    add_param(&url, "client_id", login->client_id);
    add_param(&url, "redirect_uri", callback_url(f));
    add_param(&url, "scope", login->scope);
    add_param(&url, "state", b.state);
    add_param(&url, "nonce", b.nonce);
    add_param(&url, "code_challenge", buf_str(&challenge));
    add_param(&url, "code_challenge_method", STR("S256"));
    add_resource(f, &url);
    struct str place = buf_failed(&url) || buf_failed(&challenge)
                           ? (struct str){NULL, 0}
                           : arena_copy(arena, buf_str(&url));
    buf_free(&url);
    buf_free(&challenge);
    send_to(f, 302, place);
}

static struct flow *flow_new(struct app *app, struct exchange *ex)
{
    struct flow *f = arena_zalloc(&ex->arena, sizeof(*f));
    if (f == NULL) {
        exchange_answer_error(ex, 500, STR("out_of_memory"), STR("The host is out of memory"));
        return NULL;
    }
    list_init(&f->wait.node);
    f->app = app;
    f->ex = ex;
    f->deployment = app->current;
    return f;
}

void app_login_begin(struct app *app, struct exchange *ex)
{
    ex->res = (struct response){0};
    struct flow *f = flow_new(app, ex);
    if (f != NULL)
        with_provider(f, go_there);
}

/* ---- 3. and back: are the tokens good? ---- */

static void judge(struct flow *f, bool waited);

static void on_keys(struct issuer_wait *wait)
{
    struct flow *f = container_of(wait, struct flow, wait);
    struct exchange *ex = f->ex;
    end_wait(f);
    judge(f, true);
    exchange_release(ex); /* the wait's */
}

static void on_gone_while_waiting(struct exchange *ex)
{
    struct flow *f = ex->owner;
    issuer_cancel(&f->wait);
    end_wait(f);
    exchange_release(ex);
}

/* 0, or the answer is on its way. */
static int verify(struct flow *f, const struct verifier *verifiers, unsigned count,
                  struct str token, bool waited, const char *which, struct verdict *verdict)
{
    verify_token(verifiers, count, token, clock_now(), false, &f->ex->arena, verdict);
    if (verdict->status == VERIFY_NEEDS_KEY) {
        f->wait.done = on_keys;
        if (!waited && token_want(f->app->issuers, verdict, &f->wait) == 1) {
            begin_wait(f, on_gone_while_waiting);
            return -EAGAIN;
        }
        if (token_is_settled(f->app->issuers, verdict))
            verify_token(verifiers, count, token, clock_now(), true, &f->ex->arena, verdict);
    }
    if (verdict->status == VERIFY_OK)
        return 0;
    log_message(
        LOG_WARN, "sign-in at %.*s: its %s is no good here: %.*s", STR_ARG(issuer_of(f)), which,
        STR_ARG(verdict->status == VERIFY_REFUSED ? verdict->text : STR("there is no key for it")));
    refuse(f, verdict->status == VERIFY_REFUSED ? 403 : 503, "login_refused",
           "The issuer's tokens are not for this host, or cannot be checked");
    return -EBADMSG;
}

static bool is_text(const json_t *json, const char *name, struct str wanted)
{
    const json_t *value = json_object_get(json, name);
    return json_is_string(value) &&
           str_eq((struct str){json_string_value(value), json_string_length(value)}, wanted);
}

static struct str began(const struct flow *f, const char *name)
{
    const json_t *value = json_object_get(f->began, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* OpenID Connect Core 3.1.3.7 */
static bool is_ours(const struct flow *f, const struct claims *claims)
{
    const json_t *azp = json_object_get(claims->json, "azp");
    bool many = json_array_size(claims->audience) > 1;
    return is_text(claims->json, "nonce", began(f, "nonce")) && claims->subject.len > 0 &&
           (azp == NULL ? !many : is_text(claims->json, "azp", login_of(f)->client_id));
}

static void take_user(struct flow *f, const json_t *claims)
{
    const json_t *since = json_object_get(claims, "auth_time");
    if (!json_is_number(since))
        since = json_object_get(claims, "iat");
    f->session.sid = login_text(&f->ex->arena, claims, "sid");
    f->session.sub = login_text(&f->ex->arena, claims, "sub");
    f->session.signed_in = json_is_number(since) ? json_number_value(since) : floor(clock_now());
}

static void give(struct flow *f, struct str sealed)
{
    if (login_give(f->ex, sealed) != 0) {
        fail(f, "out of memory");
        return;
    }
    f->app->page->sessions_begun++;
    send_to(f, 303, began(f, "back"));
}

static void on_session_kept(struct store_request *request)
{
    struct flow *f = request->arg;
    struct exchange *ex = f->ex;
    struct str sealed;
    end_wait(f);
    f->session.token = f->session.refresh = STR("");
    if (f->gone)
        log_message(LOG_DEBUG, "a browser left while it was signed in");
    else if (request->status != 0)
        fail(f, store_error_text(request->status));
    else if (login_seal(f->deployment->config, &ex->arena, &f->session, &sealed) != 0)
        fail(f, "out of memory");
    else
        give(f, sealed);
    exchange_release(ex); /* the wait's */
}

static void on_gone_while_keeping(struct exchange *ex)
{
    struct flow *f = ex->owner;
    f->gone = true; /* the store cannot be called back */
}

static void give_session(struct flow *f)
{
    struct login_session *s = &f->session;
    struct str sealed;
    s->token = f->access_token;
    s->endpoint = endpoint(f, "token_endpoint");
    s->id = random_text(&f->ex->arena, 16);
    login_set_times(s, f->life);
    s->expires = s->refresh.len > 0 ? clock_now() + LIMIT_LOGIN_SESSION : s->token_ends;
    if (s->id.ptr == NULL || login_seal(f->deployment->config, &f->ex->arena, s, &sealed) != 0) {
        fail(f, "out of memory");
    } else if (sealed.len <= LOGIN_COOKIE_BYTES) {
        give(f, sealed);
    } else if (f->app->store == NULL) {
        fail(f, "its tokens do not fit into a cookie, and there is no kv");
    } else {
        begin_wait(f, on_gone_while_keeping);
        app_session_keep(f->app, &f->request, s, sealed, on_session_kept, f);
    }
}

static void judge(struct flow *f, bool waited)
{
    const struct services *services = &f->deployment->services;
    struct verifier of_id = services->verifiers[login_of(f)->issuer];
    struct str client = login_of(f)->client_id;
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
        refuse(f, 403, "login_refused", "The ID token is of another sign-in");
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
    struct flow *f = arg;
    struct exchange *ex = f->ex;
    const char *why = "";
    answered(f);
    json_t *json = res->error == 0 ? provider_json_load(res->body, &why) : NULL;
    const char *type = json_string_value(json_object_get(json, "token_type"));
    f->id_token = login_text(&f->ex->arena, json, "id_token");
    f->access_token = login_text(&f->ex->arena, json, "access_token");
    f->session.refresh = login_text(&f->ex->arena, json, "refresh_token");
    f->life = json_number_value(json_object_get(json, "expires_in"));
    json_decref(json);
    bool bearer = type != NULL;
    if (res->error != 0)
        fail(f, res->error_text);
    else if (res->status >= 400 && res->status < 500)
        refuse(f, 403, "login_refused", "The issuer refused the code: begin again");
    else if (res->status != 200 || !bearer || f->id_token.len == 0 || f->access_token.len == 0)
        fail(f, "its token endpoint gave no ID token and access token");
    else
        judge(f, false);
    exchange_release(ex); /* the wait's */
}

static void exchange_code(struct flow *f)
{
    const struct config_login *login = login_of(f);
    struct buf form = BUF_INIT;
    struct err err;
    buf_add_str(&form, STR("grant_type=authorization_code"));
    add_param(&form, "code", f->code);
    add_param(&form, "redirect_uri", callback_url(f));
    add_param(&form, "code_verifier", began(f, "verifier"));
    if (app_login_post(f->app, login, endpoint(f, "token_endpoint"), &form, &f->host, &f->ex->arena,
                       on_tokens, f, &f->call, &err) != 0)
        fail(f, err.text);
    else
        begin_wait(f, on_gone_while_asking);
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
    struct flow *f = arg;
    json_decref(f->began);
    f->began = NULL;
}

/* What this browser began under that state. */
static bool find_began(struct flow *f, struct str state)
{
    unsigned count;
    const struct str *secrets = login_secrets(login_of(f), &count);
    if (state.len < STATE_SHOWN || arena_defer(&f->ex->arena, free_began, f) != 0)
        return false;
    struct str name = arena_printf(&f->ex->arena, FLOW_NAME "%.*s", STATE_SHOWN, state.ptr);
    struct str sealed = name.ptr != NULL ? login_cookie(f->ex, name) : name;
    struct buf text = BUF_INIT;
    if (sealed.ptr != NULL && sealed_read(secrets, count, PURPOSE, sealed, &text) == 0)
        f->began = json_loadb(text.data, text.len, 0, NULL);
    buf_free(&text);
    bool good = f->began != NULL && is_text(f->began, "state", state) &&
                is_text(f->began, "iss", issuer_of(f)) && /* a reload may have changed it */
                clock_now() < json_number_value(json_object_get(f->began, "until"));
    if (good)
        f->cookie = name; /* it is good once */
    return good;
}

/* RFC 9207: an issuer that names itself must be the one that was asked. */
static bool is_from_issuer(const struct flow *f, struct str iss)
{
    const json_t *says =
        json_object_get(f->app->login.provider, "authorization_response_iss_parameter_supported");
    return iss.ptr != NULL ? is_text(f->app->login.provider, "issuer", iss) : !json_is_true(says);
}

static void come_back(struct flow *f)
{
    struct query_pair *pairs;
    struct str state, iss, error;
    int count = target_parse_query(&f->ex->arena, f->ex->req.query, &pairs);
    if (count < 0 || !find_param(pairs, count, "state", &state) ||
        !find_param(pairs, count, "iss", &iss) || !find_param(pairs, count, "error", &error) ||
        !find_param(pairs, count, "code", &f->code) || !find_began(f, state))
        refuse(f, 400, "login_unknown",
               "This browser has begun no such sign-in, or too long ago: begin again");
    else if (!is_from_issuer(f, iss))
        refuse(f, 403, "login_refused", "The answer is of another issuer");
    else if (error.ptr != NULL || f->code.len == 0)
        refuse(f, 403, "login_refused", "The issuer did not sign anybody in");
    else
        exchange_code(f);
}

/* ---- out ---- */

static void leave(struct flow *f)
{
    struct arena *arena = &f->ex->arena;
    struct str there = endpoint(f, "end_session_endpoint"), origin = own_origin(f), place;
    struct buf url = BUF_INIT;
    if (there.len == 0) {
        send_to(f, 303, STR("/"));
        return;
    }
    buf_printf(&url, "%.*s%cclient_id=", STR_ARG(there),
               str_find(there, '?') < there.len ? '&' : '?');
    client_auth_add_form(&url, login_of(f)->client_id);
    add_param(&url, "post_logout_redirect_uri", arena_printf(arena, "%.*s/", STR_ARG(origin)));
    place = buf_failed(&url) ? (struct str){NULL, 0} : arena_copy(arena, buf_str(&url));
    buf_free(&url);
    send_to(f, 303, place);
}

static void end_here(struct flow *f)
{
    if (login_give(f->ex, STR("")) != 0)
        fail(f, "out of memory");
    else
        with_provider(f, leave);
}

static void on_ended(struct store_request *request)
{
    struct flow *f = request->arg;
    struct exchange *ex = f->ex;
    if (request->status != 0)
        log_message(LOG_WARN, "a session that was ended is not kept: %s",
                    store_error_text(request->status));
    end_wait(f);
    if (!f->gone)
        end_here(f);
    exchange_release(ex); /* the wait's */
}

static void on_revoked(struct store_request *request)
{
    struct flow *f = request->arg;
    if (request->status == 0 && f->session.token.len == 0)
        app_session_drop(f->app, &f->request, f->session.id, on_ended, f);
    else
        on_ended(request);
}

/* A copy of the cookie is worth nothing from here on, on every worker, and on every host that reads
 * the same store. */
static void log_out(struct flow *f)
{
    struct str sealed;
    struct exchange *ex = f->ex;
    double now = floor(clock_now());
    if (!login_is_same_origin(ex, true)) {
        refuse(f, 403, "cross_site", "A page of another origin does not sign anybody out");
        return;
    }
    if (login_take(ex, &sealed) != 0) {
        fail(f, "out of memory");
        return;
    }
    if (!login_open(f->deployment->config, &ex->arena, sealed, now, &f->session)) {
        end_here(f);
        return;
    }
    struct revocation revocation = login_revocation(f->session.id, now);
    if (revocations_add(&revocation, now) != 0) {
        refuse(f, 503, "not_kept", "There is no room for one more session that has ended");
        return;
    }
    f->app->page->sessions_ended++;
    if (f->app->store == NULL) {
        end_here(f);
        return;
    }
    begin_wait(f, on_gone_while_keeping);
    revocations_write(&revocation, f->bytes);
    f->request = (struct store_request){.kind = STORE_REVOKE,
                                        .value = {STORE_TEXT, {f->bytes, REVOCATION_BYTES}},
                                        .ttl_ms = (uint64_t)LIMIT_REVOCATION_LIFE * 1000,
                                        .done = on_revoked,
                                        .arg = f};
    store_submit(f->app->store, &f->request);
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
    struct flow *f = flow_new(app, ex);
    if (f == NULL)
        return true;
    if (!get && !(out && post))
        refuse(f, 405, "method_not_allowed", "This path exists under other methods");
    else if (out)
        log_out(f);
    else
        with_provider(f, come_back);
    return true;
}

void app_login_free(struct app *app)
{
    forget(&app->login);
}
