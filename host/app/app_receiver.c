/* auth.revocation: who tells of sessions that have ended. Logout tokens of OpenID Connect
 * Back-Channel Logout 1.0, and security events that are pushed (RFC 8935).
 *
 * The token's issuer is all that is known of the sender. What it asks for is known to all workers
 * first, then written to the store, and only then is the answer good: it will not be sent again.
 * Where it cannot be kept it counts here all the same, and the sender hears of it. */
#include "app/app.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "auth/security_event.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/target.h"
#include "issuer/token_wait.h"
#include "shared/replay.h"

/* In the exchange's arena, which is held while something is waited for. */
struct receipt {
    struct issuer_wait wait; /* for keys */
    struct app *app;
    struct exchange *ex;
    struct deployment *deployment; /* ... which counts it meanwhile */
    bool is_logout;
    bool gone; /* the client is */
    struct str token;
    struct verifier verifier; /* the issuer's, as it judges these */
    struct security_event event;
    double ends; /* `exp` of a logout token */
    struct exchange_once once;
    unsigned pending;
    int status; /* of what could not be kept */
    struct store_request requests[LIMIT_REVOCATION_EVENTS];
    char bytes[LIMIT_REVOCATION_EVENTS][REVOCATION_BYTES];
};

/* ---- answers ---- */

static void set_header(struct exchange *ex, struct str name, struct str value)
{
    if (headers_set(&ex->res.headers, &ex->arena, name, value) != 0)
        ex->res.close = true; /* out of memory: the answer leaves without it */
}

static void send_answer(struct receipt *r)
{
    set_header(r->ex, STR("Cache-Control"), STR("no-store"));
    exchange_answer(r->ex);
}

/* 400, as both say; in its own words each (Back-Channel Logout 2.8, RFC 8935 2.3). */
static void refuse(struct receipt *r, const char *code, const char *text)
{
    struct exchange *ex = r->ex;
    struct buf body = BUF_INIT;
    ex->error_code = code;
    if (r->is_logout) {
        if (response_set_error(&ex->res, &ex->arena, 400, STR("invalid_request"), str_from(text)) !=
            0)
            ex->res.status = 400;
        send_answer(r);
        return;
    }
    buf_printf(&body, "{\"err\":\"%s\",\"description\":", code);
    buf_add_json(&body, str_from(text));
    buf_add_char(&body, '}');
    struct str copy =
        buf_failed(&body) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(&body));
    buf_free(&body);
    if (copy.ptr == NULL ||
        response_set_body(&ex->res, &ex->arena, 400, STR("application/json"), copy) != 0)
        ex->res.status = 400;
    set_header(ex, STR("Content-Language"), STR("en"));
    send_answer(r);
}

/* For now. An event is to be sent again; who sends logout tokens knows 400 alone. */
static void answer_later(struct receipt *r, const char *code, const char *text)
{
    if (r->is_logout) {
        refuse(r, code, text);
        return;
    }
    r->ex->error_code = code;
    if (response_set_error(&r->ex->res, &r->ex->arena, 503, str_from(code), str_from(text)) != 0)
        r->ex->res.status = 503;
    set_header(r->ex, STR("Retry-After"), STR("5"));
    send_answer(r);
}

static void answer_good(struct receipt *r)
{
    r->ex->res.status = r->is_logout ? 200 : 202;
    r->ex->res.body = STR("");
    send_answer(r);
}

/* ---- waiting ---- */

/* Holds exchange and deployment. */
static void begin_wait(struct receipt *r, void (*on_gone)(struct exchange *ex))
{
    exchange_hold(r->ex);
    r->deployment->awaited++;
    r->ex->on_gone = on_gone;
    r->ex->owner = r;
}

static void end_wait(struct receipt *r)
{
    r->deployment->awaited--;
    r->ex->on_gone = NULL;
    r->ex->owner = NULL;
}

/* ---- 4. known to all, and kept ---- */

static void on_gone_while_keeping(struct exchange *ex)
{
    struct receipt *r = ex->owner;
    r->gone = true; /* the store cannot be called back */
}

static void end_keeping(struct receipt *r)
{
    end_wait(r);
    if (r->gone)
        return;
    if (r->status == 0)
        answer_good(r);
    else
        answer_later(r, "not_kept", store_error_text(r->status));
}

static void on_kept(struct store_request *request)
{
    struct receipt *r = request->arg;
    if (request->status != 0)
        r->status = request->status;
    if (--r->pending > 0)
        return;
    struct exchange *ex = r->ex;
    end_keeping(r);
    exchange_release(ex); /* the wait's */
}

static void submit(struct receipt *r, unsigned i)
{
    revocations_write(&r->event.list[i], r->bytes[i]);
    r->requests[i] = (struct store_request){.kind = STORE_REVOKE,
                                            .value = {STORE_TEXT, {r->bytes[i], REVOCATION_BYTES}},
                                            .ttl_ms = (uint64_t)LIMIT_REVOCATION_LIFE * 1000,
                                            .done = on_kept,
                                            .arg = r};
    store_submit(r->app->store, &r->requests[i]);
}

static void keep(struct receipt *r)
{
    double now = floor(clock_now());
    for (unsigned i = 0; i < r->event.count; i++) {
        int rc = revocations_add(&r->event.list[i], now);
        if (rc != 0)
            r->status = rc == -ENOSPC ? STORE_FULL : rc;
    }
    if (r->status == 0 && r->event.count > 0 && r->app->store == NULL)
        r->status = STORE_UNREACHABLE;
    if (r->status != 0) {
        answer_later(r, "not_kept", store_error_text(r->status));
        return;
    }
    if (r->event.count == 0) {
        answer_good(r);
        return;
    }
    begin_wait(r, on_gone_while_keeping);
    r->pending = r->event.count;
    unsigned count = r->event.count; /* the last one may end it */
    for (unsigned i = 0; i < count; i++)
        submit(r, i);
}

/* ---- 3. is it who it says, and does it come for the first time? ---- */

static void judge(struct receipt *r, bool waited);

static void on_keys(struct issuer_wait *wait)
{
    struct receipt *r = container_of(wait, struct receipt, wait);
    struct exchange *ex = r->ex;
    end_wait(r);
    judge(r, true);
    exchange_release(ex); /* the wait's */
}

static void on_gone_while_waiting(struct exchange *ex)
{
    struct receipt *r = ex->owner;
    issuer_cancel(&r->wait);
    end_wait(r);
    exchange_release(ex);
}

static bool wait_for_keys(struct receipt *r, const struct verdict *verdict)
{
    r->wait.done = on_keys;
    if (token_want(r->app->issuers, verdict, &r->wait) == 0)
        return false;
    begin_wait(r, on_gone_while_waiting);
    return true;
}

/* Codes of RFC 8935 section 2.4, by what verify_token says. */
static void refuse_verdict(struct receipt *r, const struct verdict *verdict)
{
    static const struct {
        const char *begins, *code, *text;
    } known[] = {
        {"Invalid audience", "invalid_audience", "`aud` does not name this receiver"},
        {VERIFY_KEY_LOOKUP, "invalid_key", "the issuer has no such key"},
        {"Invalid 'alg'", "authentication_failed", "`alg` is not one that the issuer may use"},
        {"jwt signature", "authentication_failed", "there is no signature"},
        {"invalid signature", "authentication_failed", "the signature is not the issuer's"},
        {"The provided token expired", "invalid_request", "it has expired"},
    };
    if (strcmp(verdict->code, VERIFY_CODE_MEMORY) == 0) {
        answer_later(r, VERIFY_CODE_MEMORY, "the host is out of memory");
        return;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_starts_with(verdict->text, str_from(known[i].begins))) {
            refuse(r, known[i].code, known[i].text);
            return;
        }
    }
    refuse(r, "invalid_request", "header or times are not as they should be");
}

static void refuse_seen(struct receipt *r)
{
    refuse(r, "invalid_request", "this logout token was here before");
}

static void on_asked(void *arg)
{
    struct receipt *r = arg;
    struct exchange *ex = r->ex;
    end_wait(r);
    if (r->once.state == ONCE_SEEN)
        refuse_seen(r);
    else
        keep(r);
    exchange_release(ex); /* the wait's */
}

static void ask_others(struct receipt *r)
{
    struct exchange *ex = r->ex;
    begin_wait(r, on_gone_while_keeping);
    if (app_once(r->app, &ex->arena, &r->once, on_asked, r))
        return;
    end_wait(r);
    keep(r);
    exchange_release(ex); /* the wait's */
}

/* A logout token is good once (2.6). An event may come again: it says the same then. */
static void admit(struct receipt *r, double now)
{
    if (!r->is_logout) {
        keep(r);
        return;
    }
    struct str who = arena_printf(&r->ex->arena, "logout %.*s", STR_ARG(r->verifier.issuer));
    double ends = r->ends + r->verifier.clock_tolerance;
    double most = now + LIMIT_REVOCATION_LIFE;
    r->once = (struct exchange_once){.state = ONCE_HERE, .until = ends < most ? ends : most};
    enum replay_result result =
        who.ptr != NULL ? replay_admit(who, r->event.id, now, r->once.until, r->once.name)
                        : REPLAY_FULL;
    if (result == REPLAY_SEEN)
        refuse_seen(r);
    else if (result != REPLAY_NEW)
        answer_later(r, "too_many", "more logout tokens than can be remembered");
    else
        ask_others(r);
}

static void judge(struct receipt *r, bool waited)
{
    struct verdict verdict;
    double now = clock_now();
    verify_token(&r->verifier, 1, r->token, now, false, &r->ex->arena, &verdict);
    if (verdict.status == VERIFY_NEEDS_KEY) {
        if (!waited && wait_for_keys(r, &verdict))
            return;
        if (token_is_settled(r->app->issuers, &verdict))
            verify_token(&r->verifier, 1, r->token, now, true, &r->ex->arena, &verdict);
    }
    if (verdict.status == VERIFY_NEEDS_KEY) {
        r->app->page->keys_unavailable++;
        answer_later(r, "keys_unavailable", "the issuer's keys cannot be had at the moment");
    } else if (verdict.status != VERIFY_OK) {
        refuse_verdict(r, &verdict);
    } else {
        claims_unref(verdict.claims);
        if (r->event.text != NULL)
            log_message(LOG_INFO, "an event of %.*s: %s", STR_ARG(r->verifier.issuer),
                        r->event.text);
        admit(r, now);
    }
}

/* ---- 2. what does it ask for? ---- */

static const struct config_revocation *find_issuer(const struct receipt *r, struct str path,
                                                   const json_t *claims, unsigned *index)
{
    const struct config *config = r->deployment->config;
    const json_t *iss = json_object_get(claims, "iss");
    struct str issuer = {json_string_value(iss), json_string_length(iss)};
    for (unsigned i = 0; issuer.ptr != NULL && i < config->issuer_count; i++) {
        const struct config_revocation *own = &config->revocations[i];
        *index = i;
        if (str_eq(issuer, config->issuers[i].verifier.issuer) &&
            str_eq(r->is_logout ? own->logout_path : own->events_path, path))
            return own;
    }
    return NULL;
}

static void make_verifier(struct receipt *r, const struct config_revocation *own, unsigned index)
{
    struct str *names = r->is_logout ? own->clients : own->audiences;
    unsigned count = r->is_logout ? own->client_count : own->audience_count;
    r->verifier = r->deployment->services.verifiers[index];
    if (count > 0) {
        r->verifier.audiences = names;
        r->verifier.audience_count = count;
    }
    r->verifier.audience_claim = STR("");
    r->verifier.profile = r->is_logout ? PROFILE_LOGOUT_TOKEN : PROFILE_EVENT;
    r->verifier.require_exp = r->is_logout;
    r->verifier.opaque = NULL;
}

/* False: it was answered. */
static bool read_event(struct receipt *r, struct str path, const struct token *token)
{
    unsigned index;
    const struct config_revocation *own = find_issuer(r, path, token->claims, &index);
    if (own == NULL) {
        refuse(r, "invalid_issuer", "`iss` is no issuer that tells of its sessions here");
        return false;
    }
    make_verifier(r, own, index);
    double now = floor(clock_now()), ahead = LIMIT_REVOCATION_AHEAD + r->verifier.clock_tolerance;
    if (r->is_logout)
        security_event_read_logout(token->header, token->claims, r->verifier.issuer, now, ahead,
                                   &r->event);
    else
        security_event_read_set(token->header, token->claims, r->verifier.issuer, now, ahead,
                                &r->event);
    if (r->event.err != NULL) {
        refuse(r, r->event.err, r->event.text);
        return false;
    }
    r->ends = json_number_value(json_object_get(token->claims, "exp"));
    r->event.id = arena_copy(&r->ex->arena, r->event.id);
    if (r->event.id.ptr == NULL)
        answer_later(r, VERIFY_CODE_MEMORY, "the host is out of memory");
    return r->event.id.ptr != NULL;
}

static void read_token(struct receipt *r, struct str path)
{
    struct token token;
    int rc = token_parse(r->token, &token);
    if (rc == -ENOMEM) {
        answer_later(r, VERIFY_CODE_MEMORY, "the host is out of memory");
    } else if (rc != 0) {
        refuse(r, "invalid_request", "it is no signed token, or longer than 8 KiB");
    } else {
        bool good = read_event(r, path, &token);
        token_clear(&token);
        if (good)
            judge(r, false);
    }
}

/* ---- 1. the body ---- */

/* The one `logout_token` of the form; ptr NULL: there is none, or several. */
static struct str find_logout_token(struct receipt *r, struct str form)
{
    struct query_pair *pairs;
    struct str found = {NULL, 0};
    int count = target_parse_query(&r->ex->arena, form, &pairs);
    for (int i = 0; i < count; i++) {
        if (!str_eq(pairs[i].name, STR("logout_token")))
            continue;
        if (found.ptr != NULL)
            return (struct str){NULL, 0};
        found = pairs[i].value;
    }
    return found;
}

static void read_body(struct receipt *r)
{
    struct exchange *ex = r->ex;
    struct str body = ex->req.body.ptr != NULL ? ex->req.body : STR("");
    while (!r->is_logout && body.len > 0 && strchr(" \t\r\n", body.ptr[body.len - 1]) != NULL)
        body.len--;
    r->token = r->is_logout ? find_logout_token(r, body) : body;
    if (r->token.ptr == NULL)
        refuse(r, "invalid_request", "the form should have one `logout_token`");
    else
        read_token(r, ex->req.path);
}

static void on_gone_while_receiving(struct exchange *ex)
{
    end_wait(ex->owner);
    exchange_release(ex);
}

/* In the words of the specification, however long a sender makes it. */
static void refuse_long(struct receipt *r)
{
    refuse(r, "invalid_request", "the body is longer than 64 KiB");
}

static void on_body(struct exchange *ex)
{
    struct receipt *r = ex->owner;
    const struct http_fault *fault = exchange_body_fault(ex);
    end_wait(r);
    if (fault == NULL)
        read_body(r);
    else if (fault->status == 413)
        refuse_long(r);
    else
        exchange_refuse(ex, fault);
    exchange_release(ex); /* the wait's */
}

static bool has_type(const struct exchange *ex, struct str wanted)
{
    const struct str *type = headers_get(&ex->req.headers, STR("content-type"));
    return type != NULL &&
           str_eq_nocase(str_trim((struct str){type->ptr, str_find(*type, ';')}), wanted);
}

static void receive(struct receipt *r)
{
    struct exchange *ex = r->ex;
    if (ex->req.method != METHOD_POST) {
        set_header(ex, STR("Allow"), STR("POST"));
        exchange_answer_error(ex, 405, STR("method_not_allowed"),
                              STR("This path exists under other methods"));
        return;
    }
    if (!has_type(ex, r->is_logout ? STR("application/x-www-form-urlencoded")
                                   : STR("application/secevent+jwt"))) {
        refuse(r, "invalid_request",
               r->is_logout ? "the body should be a form, application/x-www-form-urlencoded"
                            : "the body should be application/secevent+jwt");
        return;
    }
    if (exchange_limit_body(ex, LIMIT_REVOCATION_EVENT) != NULL) {
        refuse_long(r);
        return;
    }
    begin_wait(r, on_gone_while_receiving);
    exchange_read_whole(ex, on_body);
}

bool app_receive(struct app *app, struct exchange *ex)
{
    struct deployment *d = app->current;
    const struct config *config = d->config;
    bool logout = false, event = false;
    for (unsigned i = 0; i < config->issuer_count; i++) {
        logout = logout || str_eq(config->revocations[i].logout_path, ex->req.path);
        event = event || str_eq(config->revocations[i].events_path, ex->req.path);
    }
    if (!logout && !event)
        return false;
    struct receipt *r = arena_zalloc(&ex->arena, sizeof(*r));
    if (r == NULL) {
        exchange_answer_error(ex, 503, STR("out_of_memory"), STR("The host is out of memory"));
        return true;
    }
    list_init(&r->wait.node);
    r->app = app;
    r->ex = ex;
    r->deployment = d;
    r->is_logout = logout;
    receive(r);
    return true;
}
