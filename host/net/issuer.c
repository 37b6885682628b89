/* One fetcher per issuer.
 *
 * A flight goes IDLE -> SHARING -> (DISCOVERY ->) KEYS -> IDLE, always from the loop. SHARING looks
 * for what another worker has brought and tries to become the worker that fetches; see
 * issuer_store.h. Waiters are called at the end of the flight, good or not.
 *
 * One timer for all issuers ticks each second and starts what is due. It costs nothing measurable
 * and keeps the rules about time in one function (due_now) that a test can drive with its own
 * clock. Its handle does not keep the loop alive. */
#include "net/issuer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "http/response.h"
#include "limits.h"
#include "net/discovery.h"
#include "net/issuer_store.h"
#include "net/kid_gate.h"

enum {
    TICK_MS = 1000,
    SHARE_MS = 50 /* how often a waiting worker looks for what another one brings */
};

/* A set that another worker fetched this recently is as good as fetching now. */
static const double FRESH = 2.0;

enum issuer_state { ISSUER_IDLE, ISSUER_SHARING, ISSUER_DISCOVERY, ISSUER_KEYS };

struct issuers {
    uv_loop_t *loop;       /* borrowed */
    struct client *client; /* borrowed */
    char *folder;          /* owned; NULL: none */
    struct list list;
    uv_timer_t timer;
    double (*now)(void *arg);
    void *now_arg;
    unsigned open; /* handles not yet closed; the memory goes with the last */
};

struct issuer {
    struct list node;
    struct issuers *all;
    char *url;            /* owned */
    char *configured_uri; /* owned; NULL: by discovery */
    char *found_uri;      /* owned; NULL: not yet discovered */
    struct str hosts[2];  /* slices of host_text: what the operator named may be private */
    char host_text[2][256];
    unsigned host_count;
    bool loopback;
    struct key_source source;
    double fetched_at; /* of source.keys */
    bool due;          /* refresh regardless of age: the set is from disk */
    bool prefetched;
    struct issuer_store store;
    struct kid_gate gate;

    enum issuer_state state;
    struct client_call *call;         /* DISCOVERY, KEYS */
    uv_timer_t timer;                 /* SHARING */
    double share_until;               /* SHARING */
    char wanted[LIMIT_KID_BYTES + 1]; /* the kid that this flight is for; empty: any set */
    bool discovered;                  /* in this flight */
    struct list waiting;              /* for the flight under way */
    struct list ready;                /* to be called now */

    uint64_t fetches, failures;
    unsigned streak; /* failures since the last good fetch */
    double retry_at;
    bool slash_warned;
    char last_error[256];
    char moved_error[256]; /* of the key set, while its place is looked up again */
};

/* ---- small things ---- */

static double system_now(void *arg)
{
    (void)arg;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double now_of(const struct issuer *issuer)
{
    return issuer->all->now(issuer->all->now_arg);
}

static void set_state(struct issuer *issuer, enum issuer_state state)
{
    static const char *const names[] = {"idle", "sharing", "discovery", "keys"};
    if (log_wants(LOG_DEBUG)) {
        log_message(LOG_DEBUG, "issuer %s: %s -> %s", issuer->url, names[issuer->state],
                    names[state]);
    }
    issuer->state = state;
}

static void log_issuer(const struct issuer *issuer, enum log_level level, const char *message,
                       const char *error)
{
    if (!log_wants(level)) {
        return;
    }
    struct log_line line;
    log_begin(&line, level, message);
    log_str(&line, "issuer", str_from(issuer->url));
    if (error != NULL) {
        log_str(&line, "error", str_from(error));
    }
    log_end(&line);
}

static bool has_key(const struct issuer *issuer, const char *kid)
{
    return issuer->source.keys != NULL &&
           (kid[0] == '\0' || keyset_find(issuer->source.keys, str_from(kid)) != NULL);
}

/* ---- the end of a flight ---- */

static void land(struct issuer *issuer)
{
    issuer_store_unlock(&issuer->store);
    uv_timer_stop(&issuer->timer);
    set_state(issuer, ISSUER_IDLE);
    list_each(node, &issuer->waiting)
    {
        list_remove(node);
        list_push(&issuer->ready, node);
    }
    /* From the front, as a callback may want again, cancel others, or free everything. */
    while (!list_is_empty(&issuer->ready)) {
        struct issuer_wait *wait = container_of(issuer->ready.next, struct issuer_wait, node);
        list_remove(&wait->node);
        wait->done(wait);
    }
}

static double backoff(const struct issuer *issuer)
{
    double most = issuer->source.keys != NULL ? LIMIT_KEYS_COOLDOWN : LIMIT_KEYS_RETRY;
    return fmin(ldexp(1.0, issuer->streak < 16 ? (int)issuer->streak - 1 : 16), most);
}

/* The flight has brought nothing; what there is stays. */
static void fail(struct issuer *issuer, const char *text)
{
    double now = now_of(issuer);
    bool news = issuer->streak++ == 0;
    issuer->failures++;
    issuer->retry_at = now + backoff(issuer);
    snprintf(issuer->last_error, sizeof(issuer->last_error), "%s", text);
    if (news) {
        log_issuer(issuer, LOG_WARN,
                   issuer->source.keys != NULL ? "keys cannot be refreshed, going on with the last"
                                               : "keys cannot be fetched",
                   issuer->last_error);
    }
    if (issuer->wanted[0] != '\0' && issuer->source.keys != NULL) {
        kid_gate_missed(&issuer->gate, str_from(issuer->wanted), false, now);
    }
    land(issuer);
}

/* A good set is in place. */
static void succeed(struct issuer *issuer)
{
    if (issuer->streak > 0) {
        log_issuer(issuer, LOG_INFO, "keys can be fetched again", NULL);
    }
    issuer->streak = 0;
    issuer->retry_at = 0;
    issuer->last_error[0] = '\0';
    issuer->due = false;
    if (!has_key(issuer, issuer->wanted)) {
        kid_gate_missed(&issuer->gate, str_from(issuer->wanted), true, now_of(issuer));
    }
    land(issuer);
}

static void use_set(struct issuer *issuer, struct keyset *set, double fetched_at)
{
    key_source_set(&issuer->source, set);
    issuer->fetched_at = fetched_at;
}

/* ---- fetching ---- */

static void begin_keys(struct issuer *issuer);
static void begin_discovery(struct issuer *issuer);

static const char *keys_uri(const struct issuer *issuer)
{
    return issuer->configured_uri != NULL ? issuer->configured_uri : issuer->found_uri;
}

/* The texts of the original. */
static void describe_failure(const char *url, const struct client_response *res, struct err *err)
{
    if (res->error == -ETIMEDOUT) {
        err_set(err, 0, "Failed to fetch '%s': Request timed out", url);
    } else if (res->error != 0) {
        err_set(err, 0, "Failed to fetch '%s': %s", url, res->error_text);
    } else {
        const char *reason = reason_phrase((int)res->status);
        err_set(err, 0, "Failed to fetch '%s': %ld %s", url, res->status,
                reason != NULL ? reason : "");
    }
}

static bool is_good(const struct client_response *res)
{
    return res->error == 0 && res->status >= 200 && res->status < 300;
}

static void on_keys(void *arg, const struct client_response *res)
{
    struct issuer *issuer = arg;
    struct keyset *set = NULL;
    struct err err;
    issuer->call = NULL;
    if (!is_good(res)) {
        describe_failure(keys_uri(issuer), res, &err);
        if (issuer->configured_uri == NULL && !issuer->discovered) {
            snprintf(issuer->moved_error, sizeof(issuer->moved_error), "%.255s", err.text);
            begin_discovery(issuer); /* the provider may have moved its keys */
        } else {
            fail(issuer, err.text);
        }
        return;
    }
    if (keyset_parse(res->body, &set, &err) != 0) {
        fail(issuer, err.text);
        return;
    }
    use_set(issuer, set, now_of(issuer));
    keyset_unref(set);
    issuer_store_save(&issuer->store, res->body, issuer->fetched_at);
    succeed(issuer);
}

static void on_discovery(void *arg, const struct client_response *res)
{
    struct issuer *issuer = arg;
    struct err err;
    char *url = discovery_url(str_from(issuer->url));
    char *found = NULL;
    bool slash = false;
    int code = -EIO;
    issuer->call = NULL;
    issuer->discovered = true;
    if (is_good(res)) {
        code = discovery_read(res->body, str_from(issuer->url), &found, &slash, &err);
    } else {
        describe_failure(url != NULL ? url : issuer->url, res, &err);
    }
    free(url);
    if (code != 0) {
        fail(issuer, err.text);
        return;
    }
    if (slash && !issuer->slash_warned) {
        issuer->slash_warned = true;
        log_issuer(issuer, LOG_WARN,
                   "issuer differs only by a trailing slash from the one in its OpenID "
                   "configuration; tokens are held against the configured one",
                   NULL);
    }
    if (issuer->found_uri != NULL && strcmp(issuer->found_uri, found) == 0) {
        free(found);
        fail(issuer, issuer->moved_error); /* they have not moved */
        return;
    }
    free(issuer->found_uri);
    issuer->found_uri = found;
    begin_keys(issuer);
}

static void begin_call(struct issuer *issuer, const char *url, size_t max_bytes,
                       client_done_fn done)
{
    static const struct header accept = {{"Accept", 6}, {"application/json", 16}};
    const struct client_request req = {
        .url = str_from(url),
        .headers = &accept,
        .header_count = 1,
        .timeout = LIMIT_KEYS_FETCH_TIMEOUT,
        .max_bytes = max_bytes,
        .max_redirects = LIMIT_KEYS_REDIRECTS,
        .rules = {.hosts = issuer->hosts,
                  .host_count = issuer->host_count,
                  .any_public = true,
                  .allow_loopback = issuer->loopback,
                  .https_only = true},
    };
    struct err err, text;
    if (client_start(issuer->all->client, &req, done, issuer, &issuer->call, &err) != 0) {
        err_set(&text, 0, "Failed to fetch '%.300s': %.300s", url, err.text);
        fail(issuer, text.text);
    }
}

static void begin_keys(struct issuer *issuer)
{
    set_state(issuer, ISSUER_KEYS);
    begin_call(issuer, keys_uri(issuer), LIMIT_JWKS_BYTES, on_keys);
}

static void begin_discovery(struct issuer *issuer)
{
    char *url = discovery_url(str_from(issuer->url));
    set_state(issuer, ISSUER_DISCOVERY);
    if (url == NULL) {
        fail(issuer, "out of memory");
        return;
    }
    begin_call(issuer, url, LIMIT_DISCOVERY_BYTES, on_discovery);
    free(url);
}

/* ---- sharing with other workers ---- */

/* Would this set do in place of a fetch? */
static bool is_as_good(const struct issuer *issuer, struct keyset *set, double fetched_at)
{
    double age = now_of(issuer) - fetched_at;
    if (issuer->source.keys != NULL && fetched_at <= issuer->fetched_at) {
        return false;
    }
    if (issuer->wanted[0] == '\0') {
        return age < LIMIT_KEYS_TTL;
    }
    return age < FRESH ||
           (age < LIMIT_KEYS_TTL && keyset_find(set, str_from(issuer->wanted)) != NULL);
}

/* The set on disk, or NULL. A reference. */
static struct keyset *load_set(struct issuer *issuer, double *fetched_at, struct err *err)
{
    struct buf text = BUF_INIT;
    struct keyset *set = NULL;
    err->text[0] = '\0';
    if (issuer_store_load(&issuer->store, &text, fetched_at) == 0 &&
        keyset_parse(buf_str(&text), &set, err) != 0) {
        set = NULL;
    }
    buf_free(&text);
    return set;
}

static bool take_shared(struct issuer *issuer)
{
    double fetched_at;
    struct err err;
    struct keyset *set = load_set(issuer, &fetched_at, &err);
    bool good = set != NULL && is_as_good(issuer, set, fetched_at);
    if (good) {
        use_set(issuer, set, fetched_at);
    }
    keyset_unref(set);
    return good;
}

static void on_share(uv_timer_t *timer)
{
    struct issuer *issuer = container_of(timer, struct issuer, timer);
    /* In this order: a worker that gave the lock back has written the file before. */
    bool ours = issuer_store_lock(&issuer->store);
    if (take_shared(issuer)) {
        succeed(issuer);
    } else if (ours) {
        issuer->fetches++;
        if (keys_uri(issuer) != NULL) {
            begin_keys(issuer);
        } else {
            begin_discovery(issuer);
        }
    } else if (now_of(issuer) >= issuer->share_until) {
        fail(issuer, "another worker's fetch took too long");
    } else {
        uv_timer_start(&issuer->timer, on_share, SHARE_MS, 0);
    }
}

/* Begins a flight with the loop's next turn. */
static void take_off(struct issuer *issuer, struct str kid)
{
    size_t len = kid.len < sizeof(issuer->wanted) ? kid.len : 0;
    if (len > 0) {
        memcpy(issuer->wanted, kid.ptr, len);
    }
    issuer->wanted[len] = '\0';
    issuer->discovered = false;
    issuer->share_until = now_of(issuer) + LIMIT_KEYS_FETCH_TIMEOUT;
    set_state(issuer, ISSUER_SHARING);
    uv_timer_start(&issuer->timer, on_share, 0, 0);
}

/* ---- time ---- */

static bool due_now(const struct issuer *issuer, double now)
{
    if (issuer->state != ISSUER_IDLE || now < issuer->retry_at) {
        return false;
    }
    if (issuer->source.keys == NULL) {
        return issuer->prefetched;
    }
    double age = now - issuer->fetched_at;
    return issuer->due || age >= LIMIT_KEYS_TTL || age < 0;
}

static void drop_stale(struct issuer *issuer, double now)
{
    if (issuer->source.keys != NULL && now - issuer->fetched_at > LIMIT_KEYS_STALE) {
        key_source_clear(&issuer->source);
        log_issuer(issuer, LOG_ERROR, "keys are too old to be used any longer", issuer->last_error);
    }
}

void issuers_tick(struct issuers *issuers)
{
    list_each(node, &issuers->list)
    {
        struct issuer *issuer = container_of(node, struct issuer, node);
        double now = now_of(issuer);
        drop_stale(issuer, now);
        if (due_now(issuer, now)) {
            take_off(issuer, STR(""));
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    issuers_tick(timer->data);
}

/* ---- the interface ---- */

struct issuers *issuers_new(uv_loop_t *loop, struct client *client, const char *folder)
{
    struct issuers *issuers = calloc(1, sizeof(*issuers));
    if (issuers == NULL) {
        return NULL;
    }
    issuers->folder = folder != NULL ? strdup(folder) : NULL;
    if (folder != NULL && issuers->folder == NULL) {
        free(issuers);
        return NULL;
    }
    issuers->loop = loop;
    issuers->client = client;
    issuers->now = system_now;
    issuers->open = 1;
    list_init(&issuers->list);
    uv_timer_init(loop, &issuers->timer);
    issuers->timer.data = issuers;
    uv_timer_start(&issuers->timer, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)&issuers->timer);
    return issuers;
}

void issuers_set_clock(struct issuers *issuers, double (*now)(void *arg), void *arg)
{
    issuers->now = now;
    issuers->now_arg = arg;
}

static void issuers_unref(struct issuers *issuers)
{
    if (--issuers->open == 0) {
        free(issuers->folder);
        free(issuers);
    }
}

static void issuer_free(struct issuer *issuer)
{
    key_source_clear(&issuer->source);
    issuer_store_free(&issuer->store);
    free(issuer->url);
    free(issuer->configured_uri);
    free(issuer->found_uri);
    free(issuer);
}

static void on_issuer_closed(uv_handle_t *handle)
{
    struct issuer *issuer = container_of((uv_timer_t *)(void *)handle, struct issuer, timer);
    struct issuers *issuers = issuer->all;
    issuer_free(issuer);
    issuers_unref(issuers);
}

static void on_issuers_closed(uv_handle_t *handle)
{
    issuers_unref(handle->data);
}

static void forget_waiters(struct list *list)
{
    list_each(node, list)
    {
        list_remove(node);
    }
}

void issuers_free(struct issuers *issuers)
{
    if (issuers == NULL) {
        return;
    }
    list_each(node, &issuers->list)
    {
        struct issuer *issuer = container_of(node, struct issuer, node);
        list_remove(&issuer->node);
        forget_waiters(&issuer->waiting);
        forget_waiters(&issuer->ready);
        if (issuer->call != NULL) {
            client_cancel(issuer->call);
            issuer->call = NULL;
        }
        issuer_store_unlock(&issuer->store);
        uv_close((uv_handle_t *)&issuer->timer, on_issuer_closed);
    }
    uv_close((uv_handle_t *)&issuers->timer, on_issuers_closed);
}

static void add_host(struct issuer *issuer, struct str url)
{
    struct client_url parts;
    if (client_parse_url(url, &parts, NULL) == 0) {
        unsigned at = issuer->host_count++;
        memcpy(issuer->host_text[at], parts.host, sizeof(parts.host));
        issuer->hosts[at] = str_from(issuer->host_text[at]);
        issuer->loopback = issuer->loopback || parts.loopback;
    }
}

/* The disk's set serves until the provider was asked, which is due at once. */
static void use_kept(struct issuer *issuer)
{
    double fetched_at;
    double now = now_of(issuer);
    struct err err;
    struct keyset *set = load_set(issuer, &fetched_at, &err);
    if (err.text[0] != '\0') {
        log_issuer(issuer, LOG_WARN, "kept keys are no key set, going on without", err.text);
    }
    if (set != NULL && now - fetched_at <= LIMIT_KEYS_STALE) {
        use_set(issuer, set, fetched_at);
        issuer->due = now - fetched_at >= FRESH;
    }
    keyset_unref(set);
}

static struct issuer *issuer_new(struct issuers *issuers, struct str url, struct str jwks_uri)
{
    struct issuer *issuer = calloc(1, sizeof(*issuer));
    if (issuer == NULL) {
        return NULL;
    }
    issuer->all = issuers;
    key_source_init(&issuer->source);
    list_init(&issuer->waiting);
    list_init(&issuer->ready);
    issuer->url = strndup(url.ptr, url.len);
    issuer->configured_uri = jwks_uri.len > 0 ? strndup(jwks_uri.ptr, jwks_uri.len) : NULL;
    if (issuer_store_init(&issuer->store, issuers->folder, url, jwks_uri) != 0 ||
        issuer->url == NULL || (jwks_uri.len > 0 && issuer->configured_uri == NULL)) {
        issuer_free(issuer);
        return NULL;
    }
    add_host(issuer, url);
    if (jwks_uri.len > 0) {
        add_host(issuer, jwks_uri);
    }
    uv_timer_init(issuers->loop, &issuer->timer);
    issuers->open++;
    list_push(&issuers->list, &issuer->node);
    use_kept(issuer);
    return issuer;
}

struct issuer *issuers_get(struct issuers *issuers, struct str url, struct str jwks_uri,
                           struct err *err)
{
    list_each(node, &issuers->list)
    {
        struct issuer *issuer = container_of(node, struct issuer, node);
        const char *uri = issuer->configured_uri != NULL ? issuer->configured_uri : "";
        if (str_eq(str_from(issuer->url), url) && str_eq(str_from(uri), jwks_uri)) {
            return issuer;
        }
    }
    if (discovery_check_url(url, true, err) != 0) {
        return NULL;
    }
    if (jwks_uri.len > 0 &&
        discovery_check_url(jwks_uri, str_starts_with(url, STR("http:")), err) != 0) {
        return NULL;
    }
    struct issuer *issuer = issuer_new(issuers, url, jwks_uri);
    if (issuer == NULL) {
        err_set(err, -ENOMEM, "out of memory");
    }
    return issuer;
}

struct key_source *issuer_keys(struct issuer *issuer)
{
    return &issuer->source;
}

struct issuer *issuers_by_source(struct issuers *issuers, const struct key_source *source)
{
    list_each(node, &issuers->list)
    {
        struct issuer *issuer = container_of(node, struct issuer, node);
        if (&issuer->source == source) {
            return issuer;
        }
    }
    return NULL;
}

/* May a flight begin for this kid? */
static bool may_fetch(struct issuer *issuer, struct str kid, double now)
{
    if (issuer->source.keys == NULL) {
        return now >= issuer->retry_at;
    }
    if (kid.len == 0 || kid.len > LIMIT_KID_BYTES ||
        keyset_find(issuer->source.keys, kid) != NULL) {
        return false;
    }
    return kid_gate_admit(&issuer->gate, kid, now);
}

int issuer_want(struct issuer *issuer, struct str kid, struct issuer_wait *wait)
{
    double now = now_of(issuer);
    drop_stale(issuer, now);
    list_init(&wait->node);
    if (issuer->state == ISSUER_IDLE) {
        if (!may_fetch(issuer, kid, now)) {
            return 0;
        }
        take_off(issuer, kid);
    }
    list_push(&issuer->waiting, &wait->node);
    return 1;
}

void issuer_cancel(struct issuer_wait *wait)
{
    list_remove(&wait->node);
}

void issuer_prefetch(struct issuer *issuer)
{
    issuer->prefetched = true;
    if (due_now(issuer, now_of(issuer))) {
        take_off(issuer, STR(""));
    }
}

bool issuer_is_failing(const struct issuer *issuer)
{
    return issuer->streak > 0;
}

bool issuers_ready(const struct issuers *issuers)
{
    list_each(node, &issuers->list)
    {
        const struct issuer *issuer = container_of(node, struct issuer, node);
        if (issuer->prefetched && issuer->source.keys == NULL) {
            return false;
        }
    }
    return true;
}

void issuer_stats(const struct issuer *issuer, struct issuer_stats *out)
{
    const struct keyset *keys = issuer->source.keys;
    *out = (struct issuer_stats){
        .url = str_from(issuer->url),
        .fetches = issuer->fetches,
        .failures = issuer->failures,
        .keys_age = keys != NULL ? fmax(now_of(issuer) - issuer->fetched_at, 0) : -1,
        .key_count = keys != NULL ? keyset_size(keys) : 0,
    };
    memcpy(out->last_error, issuer->last_error, sizeof(out->last_error));
}

void issuers_each(const struct issuers *issuers, void (*fn)(struct issuer *issuer, void *arg),
                  void *arg)
{
    list_each(node, &issuers->list)
    {
        fn(container_of(node, struct issuer, node), arg);
    }
}
