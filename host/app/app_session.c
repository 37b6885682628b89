/* A browser's session, as a request brings it: opened, read from the store where it is too large
 * for a cookie, and renewed when its access token ends.
 *
 * What renews it is good once at many issuers: of several requests that bring the same one, one
 * asks, and what came of it is known for a while, to those that come later with the old cookie,
 * too. In the worker that is a table; between workers, and between hosts that share a store, a note
 * in the store, which whoever asks makes first. A renewal belongs to no request: the browser may
 * leave, but what its issuer has given must not be lost. */
#include "app/app_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "issuer/client_auth.h"
#include "json/provider.h"
#include "shared/digest.h"

#define SPACE         ((struct str){"\0sessions", sizeof("\0sessions") - 1})
#define UNDER_WAY     STR("?")
#define REFUSED       STR("-")
#define UNAVAILABLE   STR("!")
#define LOOK_AGAIN_MS 50
#define KNOWN_FOR     60 /* seconds */

enum renewal_state { RENEWAL_ASKING, RENEWAL_GOOD, RENEWAL_REFUSED, RENEWAL_UNAVAILABLE };

struct renewal {
    struct list node;
    struct list waiting; /* of struct session_wait */
    enum renewal_state state;
    unsigned char digest[DIGEST_BYTES]; /* of what renews it */
    char key[2 * DIGEST_BYTES + 1];     /* of its note */
    struct app *app;
    struct deployment *deployment; /* counted while it asks */
    struct arena arena;
    struct login_session session;
    struct client_call *call;
    struct store_request request;
    struct str host;   /* for the call's rules */
    struct str cookie; /* the new one, once it is GOOD */
    struct str note;   /* what became of it, for the store */
    bool leads;        /* the note is its own */
    bool looks;        /* somebody else asks: it looks at the note now and then */
    bool busy;         /* the store has its request */
    double until;      /* in the end: it is forgotten then; before: it waits no longer */
};

/* ---- the store ---- */

static void submit(struct app *app, struct store_request *request, enum store_kind kind,
                   struct str key, struct str value, double seconds,
                   void (*done)(struct store_request *request), void *arg)
{
    *request = (struct store_request){.kind = kind,
                                      .space = SPACE,
                                      .key = key,
                                      .value = {STORE_TEXT, value},
                                      .ttl_ms = (uint64_t)(seconds * 1000),
                                      .done = done,
                                      .arg = arg};
    store_submit(app->store, request);
}

void app_session_keep(struct app *app, struct store_request *request,
                      const struct login_session *session, struct str sealed,
                      void (*done)(struct store_request *request), void *arg)
{
    submit(app, request, STORE_SET, session->id, sealed, session->expires - clock_now(), done, arg);
}

void app_session_drop(struct app *app, struct store_request *request, struct str id,
                      void (*done)(struct store_request *request), void *arg)
{
    submit(app, request, STORE_DELETE, id, STR(""), 0, done, arg);
}

/* ---- renewals: the end ---- */

static void tell_all(const struct renewal *r, struct list *waiting);

static void drop(struct renewal *r)
{
    list_remove(&r->node);
    r->app->login.renewal_count--;
    arena_free(&r->arena);
    free(r);
}

static void on_noted(struct store_request *request)
{
    struct renewal *r = request->arg;
    r->busy = false;
}

/* What others are to know. */
static struct str note_of(struct renewal *r, enum renewal_state state)
{
    struct str note;
    if (state == RENEWAL_REFUSED)
        return REFUSED;
    return state == RENEWAL_GOOD && login_seal_text(r->deployment->config, &r->arena, LOGIN_NOTE,
                                                    r->cookie, &note) == 0
               ? note
               : UNAVAILABLE;
}

static void end(struct renewal *r, enum renewal_state state)
{
    double life = state == RENEWAL_UNAVAILABLE ? 1 : KNOWN_FOR;
    struct list waiting;
    list_init(&waiting);
    list_append(&waiting, &r->waiting);
    r->state = state;
    r->looks = false;
    r->until = clock_now() + life;
    if (r->leads && r->app->store != NULL)
        r->note = note_of(r, state);
    r->deployment->awaited--;
    r->deployment = NULL;
    if (state == RENEWAL_GOOD)
        r->app->page->sessions_renewed++;
    if (r->leads && r->app->store != NULL) {
        r->busy = true;
        submit(r->app, &r->request, STORE_SET, str_from(r->key), r->note, life, on_noted, r);
    }
    tell_all(r, &waiting);
}

static void fail(struct renewal *r, const char *text)
{
    log_message(LOG_WARN, "a session is not renewed at %.*s: %s", STR_ARG(r->host), text);
    end(r, RENEWAL_UNAVAILABLE);
}

/* ---- renewals: what the issuer says ---- */

static void finish(struct renewal *r, struct str sealed)
{
    r->cookie = sealed;
    end(r, RENEWAL_GOOD);
}

static void on_kept(struct store_request *request)
{
    struct renewal *r = request->arg;
    struct str sealed;
    r->busy = false;
    if (r->app->login.closed)
        return;
    r->session.token = r->session.refresh = STR("");
    if (request->status != 0)
        fail(r, store_error_text(request->status));
    else if (login_seal(r->deployment->config, &r->arena, LOGIN_COOKIE, &r->session, &sealed) != 0)
        fail(r, "out of memory");
    else
        finish(r, sealed);
}

static void take_tokens(struct renewal *r, const json_t *json)
{
    struct str token = login_text(&r->arena, json, "access_token"), sealed;
    struct str refresh = login_text(&r->arena, json, "refresh_token");
    if (token.len == 0 || !json_is_string(json_object_get(json, "token_type"))) {
        fail(r, "its token endpoint gave no access token");
        return;
    }
    r->session.token = token;
    if (refresh.len > 0)
        r->session.refresh = refresh;
    login_set_times(&r->session, json_number_value(json_object_get(json, "expires_in")));
    const struct config *config = r->deployment->config;
    if (login_seal(config, &r->arena, LOGIN_COOKIE, &r->session, &sealed) != 0) {
        fail(r, "out of memory");
    } else if (sealed.len <= LOGIN_COOKIE_BYTES) {
        finish(r, sealed);
    } else if (r->app->store == NULL) {
        fail(r, "its tokens do not fit into a cookie, and there is no kv");
    } else if (login_seal(config, &r->arena, LOGIN_STORE, &r->session, &sealed) != 0) {
        fail(r, "out of memory");
    } else {
        r->busy = true;
        app_session_keep(r->app, &r->request, &r->session, sealed, on_kept, r);
    }
}

static bool is_passing(long status)
{
    return status < 400 || status >= 500 || status == 408 || status == 425 || status == 429;
}

static void on_tokens(void *arg, const struct client_response *res)
{
    struct renewal *r = arg;
    const char *why = "";
    r->app->login.calls--;
    r->call = NULL;
    json_t *json = res->error == 0 ? provider_json_load(res->body, &why) : NULL;
    if (res->error != 0)
        fail(r, res->error_text);
    else if (res->status == 200)
        take_tokens(r, json);
    else if (is_passing(res->status))
        fail(r, "its token endpoint gives none now");
    else
        end(r, RENEWAL_REFUSED);
    json_decref(json);
}

static void ask(struct renewal *r)
{
    struct buf form = BUF_INIT;
    struct err err;
    buf_add_str(&form, STR("grant_type=refresh_token&refresh_token="));
    client_auth_add_form(&form, r->session.refresh);
    int rc = app_login_post(r->app, &r->deployment->config->login, r->session.endpoint, &form,
                            &r->host, &r->arena, on_tokens, r, &r->call, &err);
    buf_free(&form);
    if (rc != 0)
        fail(r, err.text);
}

/* ---- renewals: who asks? ---- */

static void on_timer(uv_timer_t *timer);

static void on_note(struct store_request *request)
{
    struct renewal *r = request->arg;
    struct str note = buf_str(&request->out);
    r->busy = false;
    if (r->app->login.closed) {
        /* its waiting requests have gone */
    } else if (request->status != 0 || request->found != STORE_TEXT || str_eq(note, UNAVAILABLE) ||
               clock_now() > r->until) {
        end(r, RENEWAL_UNAVAILABLE);
    } else if (str_eq(note, UNDER_WAY)) {
        r->looks = true;
        uv_timer_start(&r->app->login.timer, on_timer, LOOK_AGAIN_MS, 0);
    } else if (str_eq(note, REFUSED)) {
        end(r, RENEWAL_REFUSED);
    } else {
        int rc = login_open_text(r->deployment->config, &r->arena, LOGIN_NOTE, note, &r->cookie);
        end(r, rc == 0 ? RENEWAL_GOOD : RENEWAL_UNAVAILABLE);
    }
    buf_free(&request->out);
}

static void look(struct renewal *r)
{
    r->looks = false;
    r->busy = true;
    submit(r->app, &r->request, STORE_GET, str_from(r->key), STR(""), 0, on_note, r);
}

static void on_led(struct store_request *request)
{
    struct renewal *r = request->arg;
    r->busy = false;
    if (r->app->login.closed)
        return;
    r->leads = request->status == 0 && request->changed;
    if (request->status == 0 && !request->changed)
        look(r);
    else
        ask(r); /* a store that is away makes nobody wait */
}

static void on_timer(uv_timer_t *timer)
{
    struct app *app = timer->data;
    list_each(node, &app->login.renewals)
    {
        struct renewal *r = container_of(node, struct renewal, node);
        if (r->looks && !r->busy)
            look(r);
    }
}

static bool copy_session(struct renewal *r, const struct login_session *from)
{
    struct arena *arena = &r->arena;
    r->session = *from;
    r->session.token = STR("");
    r->session.refresh = arena_copy(arena, from->refresh);
    r->session.endpoint = arena_copy(arena, from->endpoint);
    r->session.id = arena_copy(arena, from->id);
    r->session.sid = arena_copy(arena, from->sid);
    r->session.sub = arena_copy(arena, from->sub);
    r->session.hint = arena_copy(arena, from->hint);
    return r->session.refresh.ptr != NULL && r->session.endpoint.ptr != NULL &&
           r->session.id.ptr != NULL && r->session.sid.ptr != NULL && r->session.sub.ptr != NULL &&
           r->session.hint.ptr != NULL;
}

static struct renewal *find(struct app *app, const unsigned char digest[DIGEST_BYTES], double now)
{
    list_each(node, &app->login.renewals)
    {
        struct renewal *r = container_of(node, struct renewal, node);
        if (memcmp(r->digest, digest, DIGEST_BYTES) == 0 &&
            (r->state == RENEWAL_ASKING || now < r->until))
            return r;
    }
    return NULL;
}

/* Forgets the oldest that has ended; who still comes with the cookie before it asks the store. */
static void make_room(struct app *app)
{
    list_each(node, &app->login.renewals)
    {
        struct renewal *r = container_of(node, struct renewal, node);
        if (r->state != RENEWAL_ASKING && !r->busy) {
            drop(r);
            return;
        }
    }
}

/* NULL: there is no room. Else it may have ended already. */
static struct renewal *begin(struct session_wait *w, const unsigned char digest[DIGEST_BYTES],
                             double now)
{
    struct app *app = w->app;
    if (app->login.renewal_count == LIMIT_LOGIN_RENEWALS)
        make_room(app);
    bool room = app->login.renewal_count < LIMIT_LOGIN_RENEWALS;
    struct renewal *r = room ? calloc(1, sizeof(*r)) : NULL;
    if (r == NULL)
        return NULL;
    arena_init(&r->arena);
    if (!copy_session(r, &w->session)) {
        arena_free(&r->arena);
        free(r);
        return NULL;
    }
    list_init(&r->waiting);
    list_init(&r->node);
    list_push(&app->login.renewals, &r->node);
    app->login.renewal_count++;
    memcpy(r->digest, digest, DIGEST_BYTES);
    for (int i = 0; i < DIGEST_BYTES; i++)
        snprintf(r->key + 2 * i, 3, "%02x", digest[i]);
    r->app = app;
    r->deployment = w->deployment;
    r->deployment->awaited++;
    r->until = now + LIMIT_KEYS_FETCH_TIMEOUT;
    if (app->store == NULL) {
        ask(r);
    } else {
        r->busy = true;
        submit(app, &r->request, STORE_CAS, str_from(r->key), UNDER_WAY,
               LIMIT_KEYS_FETCH_TIMEOUT * 2, on_led, r);
    }
    return r;
}

void app_session_sweep(struct app *app)
{
    double now = clock_now();
    list_each(node, &app->login.renewals)
    {
        struct renewal *r = container_of(node, struct renewal, node);
        if (r->state != RENEWAL_ASKING && !r->busy && r->until <= now)
            drop(r);
    }
}

void app_session_init(struct app *app)
{
    list_init(&app->login.renewals);
    uv_timer_init(app->loop, &app->login.timer);
    app->login.timer.data = app;
}

void app_session_close(struct app *app)
{
    app->login.closed = true;
    uv_close((uv_handle_t *)&app->login.timer, NULL);
}

void app_session_free(struct app *app)
{
    list_each(node, &app->login.renewals) drop(container_of(node, struct renewal, node));
}

/* ---- requests ---- */

static void on_gone(struct exchange *ex)
{
    struct session_wait *w = ex->owner;
    ex->on_gone = NULL;
    ex->owner = NULL;
    --*w->awaited;
    w->gone = true;
    list_remove(&w->node);
    if (!w->reads) /* else the store, which cannot be called back */
        exchange_release(ex);
}

static int wait_on(struct session_wait *w)
{
    if (!w->waits) {
        exchange_hold(w->ex);
        ++*w->awaited;
        w->ex->on_gone = on_gone;
        w->ex->owner = w;
        w->waits = true;
    }
    return 1;
}

static int settle(struct session_wait *w, enum session_state state)
{
    w->state = state;
    return 0;
}

static void advance(struct session_wait *w, bool read);

static void on_read(struct store_request *request)
{
    struct session_wait *w = request->arg;
    struct exchange *ex = w->ex;
    w->reads = false;
    if (!w->waits)
        return;
    if (w->gone) {
        buf_free(&request->out);
        exchange_release(ex);
        return;
    }
    advance(w, true);
}

/* What the store has of a session that is too large for a cookie. False: `state` says why not. */
static bool take_kept(struct session_wait *w, double now)
{
    struct login_session cookie = w->session;
    int rc = 0;
    bool known = w->request.status == 0;
    bool found = known && w->request.found == STORE_TEXT &&
                 (rc = login_open(w->deployment->config, &w->ex->arena, LOGIN_STORE,
                                  buf_str(&w->request.out), now, &w->session)) == 0 &&
                 str_eq(w->session.id, cookie.id) && w->session.token.len > 0;
    buf_free(&w->request.out);
    w->state = known && rc != -ENOMEM ? SESSION_NONE : SESSION_UNKNOWN;
    return found;
}

/* 1: it waits. */
static int read_kept(struct session_wait *w)
{
    if (w->app->store == NULL) {
        w->request = (struct store_request){.status = STORE_UNREACHABLE};
        return 0;
    }
    bool waited = w->waits;
    w->waits = false; /* for what comes from within */
    w->reads = true;
    submit(w->app, &w->request, STORE_GET, w->session.id, STR(""), 0, on_read, w);
    w->waits = waited;
    return w->reads ? wait_on(w) : 0;
}

/* What became of a renewal, for one that wanted it. True: it is to be opened again. */
static bool use(struct session_wait *w, const struct renewal *r, double now)
{
    if (r == NULL || r->state == RENEWAL_UNAVAILABLE) {
        w->state = now < w->session.token_ends ? SESSION_OPEN : SESSION_UNKNOWN;
        return false;
    }
    w->renewed = r->state == RENEWAL_GOOD;
    w->sealed = w->renewed ? arena_copy(&w->ex->arena, r->cookie) : STR("");
    bool given = w->sealed.ptr != NULL && login_give(w->ex, w->sealed) == 0;
    w->state = given ? SESSION_NONE : SESSION_UNKNOWN;
    return given && w->renewed;
}

/* 1: it waits; 0: `again` says whether it is to be opened again, else `state` what it is. */
static int renew(struct session_wait *w, double now, bool *again)
{
    unsigned char digest[DIGEST_BYTES];
    digest_sha256(w->session.refresh, digest);
    struct renewal *r = find(w->app, digest, now);
    if (r == NULL)
        r = begin(w, digest, now);
    if (r != NULL && r->state == RENEWAL_ASKING) {
        list_push(&r->waiting, &w->node);
        return wait_on(w);
    }
    *again = use(w, r, now);
    return 0;
}

/* 1: it waits; 0: `state` says what it is. `read`: the store's part is in `request`. */
static int step(struct session_wait *w, bool read)
{
    double now = clock_now();
    bool again = true;
    while (again) {
        again = false;
        int rc = read ? 0
                      : login_open(w->deployment->config, &w->ex->arena, LOGIN_COOKIE, w->sealed,
                                   now, &w->session);
        if (rc != 0)
            return settle(w, rc == -ENOMEM ? SESSION_UNKNOWN : SESSION_NONE);
        if (w->session.token.len == 0 && !read && read_kept(w) == 1)
            return 1;
        if (w->session.token.len == 0 && !take_kept(w, now))
            return 0;
        read = false;
        if (w->session.refresh.len == 0 || now < w->session.renew || w->renewed)
            return settle(w, SESSION_OPEN);
        if (renew(w, now, &again) == 1)
            return 1;
    }
    return 0;
}

static void conclude(struct session_wait *w)
{
    struct exchange *ex = w->ex;
    ex->on_gone = NULL;
    ex->owner = NULL;
    --*w->awaited;
    w->done(w);
    exchange_release(ex); /* the wait's */
}

static void advance(struct session_wait *w, bool read)
{
    if (step(w, read) == 0)
        conclude(w);
}

static void tell_all(const struct renewal *r, struct list *waiting)
{
    while (!list_is_empty(waiting)) {
        struct session_wait *w = container_of(waiting->next, struct session_wait, node);
        list_remove(&w->node);
        if (use(w, r, clock_now()))
            advance(w, false);
        else
            conclude(w);
    }
}

int app_session_open(struct session_wait *w)
{
    list_init(&w->node);
    return step(w, false);
}
