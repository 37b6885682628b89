/* One fetcher per issuer: who has one, who waits for it, and what is due when.
 *
 * One timer for all issuers ticks each second and starts what is due. It costs nothing measurable
 * and keeps the rules about time in one function (due_now) that a test can drive with its own
 * clock. Its handle does not keep the loop alive. */
#include "issuer/issuer_internal.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "auth/sealed.h"
#include "base/clock.h"
#include "issuer/discovery.h"
#include "issuer/introspection.h"
#include "issuer/outbound.h"

enum { TICK_MS = 1000 };

/* Goes on while the machine sleeps, as keys grow old then too. */
static double system_steady(void *arg)
{
    (void)arg;
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double system_wall(void *arg)
{
    (void)arg;
    return clock_now();
}

/* ---- time ---- */

static bool due_now(const struct issuer *issuer, double now)
{
    if (issuer->state != ISSUER_IDLE || now < issuer->retry_at || issuer->all->trusted != NULL)
        return false;
    if (issuer->source.keys == NULL)
        return issuer->promises > 0;
    double age = now - issuer->fetched.steady;
    return issuer->due || age >= LIMIT_KEYS_TTL || age < 0;
}

static void drop_stale(struct issuer *issuer, double now)
{
    if (issuer->source.keys != NULL && issuer->all->trusted == NULL &&
        now - issuer->fetched.steady > LIMIT_KEYS_STALE) {
        keyset_source_clear(&issuer->source);
        issuer_log(issuer, LOG_ERROR, "keys are too old to be used any longer", issuer->last_error);
    }
}

void issuers_tick(struct issuers *issuers)
{
    list_each(node, &issuers->list)
    {
        struct issuer *issuer = container_of(node, struct issuer, node);
        double now = issuer_now(issuer);
        drop_stale(issuer, now);
        if (due_now(issuer, now))
            issuer_take_off(issuer, STR(""));
        issuer_watch_wait(issuer);
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
    if (issuers == NULL)
        return NULL;
    issuers->folder = folder != NULL ? strdup(folder) : NULL;
    if (folder != NULL && issuers->folder == NULL) {
        free(issuers);
        return NULL;
    }
    issuers->loop = loop;
    issuers->client = client;
    issuers->steady = system_steady;
    issuers->wall = system_wall;
    issuers->open = 1;
    list_init(&issuers->list);
    list_init(&issuers->introspections);
    list_init(&issuers->outbounds);
    uv_timer_init(loop, &issuers->timer);
    issuers->timer.data = issuers;
    uv_timer_start(&issuers->timer, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)&issuers->timer);
    return issuers;
}

void issuers_set_clock(struct issuers *issuers, double (*steady)(void *arg),
                       double (*wall)(void *arg), void *arg)
{
    issuers->steady = steady;
    issuers->wall = wall;
    issuers->clock_arg = arg;
}

static void share_with(struct issuer *issuer)
{
    if (issuer->all->store == NULL)
        return;
    issuer->share.store = issuer->all->store;
    issuer->share.secret = issuer->all->secret;
    issuer->share.identity = issuer->store.identity;
}

void issuers_use_store(struct issuers *issuers, struct store *store, struct str secret)
{
    issuers->store = store;
    issuers->secret = secret.len >= SEALED_SECRET_MIN ? secret : STR("");
    list_each(node, &issuers->list)
    {
        share_with(container_of(node, struct issuer, node));
    }
}

void issuers_trust(struct issuers *issuers, struct keyset *keys)
{
    if (keys == NULL)
        return;
    issuers->trusted = keys;
    list_each(node, &issuers->list)
    {
        keyset_source_set(&container_of(node, struct issuer, node)->source, keys);
    }
}

static void issuers_unref(struct issuers *issuers)
{
    if (--issuers->open == 0) {
        introspections_free(issuers);
        outbounds_free(issuers);
        free(issuers->folder);
        free(issuers);
    }
}

static void issuer_free(struct issuer *issuer)
{
    keyset_source_clear(&issuer->source);
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
    issuer->all = NULL;
    if (issuer->users == 0)
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

static void stop(struct issuer *issuer)
{
    list_remove(&issuer->node);
    forget_waiters(&issuer->waiting);
    forget_waiters(&issuer->late);
    forget_waiters(&issuer->ready);
    if (issuer->call != NULL) {
        client_cancel(issuer->call);
        issuer->call = NULL;
    }
    issuer_share_put(&issuer->share, STR(""));
    issuer_share_cancel(&issuer->share);
    issuer_store_unlock(&issuer->store);
    uv_close((uv_handle_t *)&issuer->timer, on_issuer_closed);
}

void issuers_free(struct issuers *issuers)
{
    if (issuers == NULL)
        return;
    introspections_stop(issuers);
    outbounds_stop(issuers);
    list_each(node, &issuers->list)
    {
        stop(container_of(node, struct issuer, node));
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
    struct fetch_time fetched;
    double now = issuer_now(issuer);
    struct err err;
    struct keyset *set = issuer_load_set(issuer, &fetched, &err);
    if (err.text[0] != '\0')
        issuer_log(issuer, LOG_WARN, "kept keys are no key set, going on without", err.text);
    if (set != NULL && now - fetched.steady <= LIMIT_KEYS_STALE) {
        issuer_use_set(issuer, set, fetched);
        issuer->due = now - fetched.steady >= ISSUER_FRESH;
    }
    keyset_unref(set);
}

static struct issuer *issuer_new(struct issuers *issuers, struct str url, struct str jwks_uri)
{
    struct issuer *issuer = calloc(1, sizeof(*issuer));
    if (issuer == NULL)
        return NULL;
    issuer->all = issuers;
    keyset_source_init(&issuer->source);
    list_init(&issuer->waiting);
    list_init(&issuer->late);
    list_init(&issuer->ready);
    issuer->url = strndup(url.ptr, url.len);
    issuer->configured_uri = jwks_uri.len > 0 ? strndup(jwks_uri.ptr, jwks_uri.len) : NULL;
    if (issuer_store_init(&issuer->store, issuers->folder, url, jwks_uri) != 0 ||
        issuer->url == NULL || (jwks_uri.len > 0 && issuer->configured_uri == NULL)) {
        issuer_free(issuer);
        return NULL;
    }
    share_with(issuer);
    add_host(issuer, url);
    if (jwks_uri.len > 0)
        add_host(issuer, jwks_uri);
    uv_timer_init(issuers->loop, &issuer->timer);
    issuers->open++;
    list_push(&issuers->list, &issuer->node);
    if (issuers->trusted != NULL)
        keyset_source_set(&issuer->source, issuers->trusted);
    else
        use_kept(issuer);
    return issuer;
}

int issuers_check(struct str url, struct str jwks_uri, struct err *err)
{
    int rc = discovery_check_url(url, true, err);
    if (rc == 0 && jwks_uri.len > 0)
        rc = discovery_check_url(jwks_uri, str_starts_with(url, STR("http:")), err);
    return rc;
}

struct issuer *issuers_get(struct issuers *issuers, struct str url, struct str jwks_uri,
                           struct err *err)
{
    list_each(node, &issuers->list)
    {
        struct issuer *issuer = container_of(node, struct issuer, node);
        const char *uri = issuer->configured_uri != NULL ? issuer->configured_uri : "";
        if (str_eq(str_from(issuer->url), url) && str_eq(str_from(uri), jwks_uri))
            return issuer;
    }
    if (issuers_check(url, jwks_uri, err) != 0)
        return NULL;
    struct issuer *issuer = issuer_new(issuers, url, jwks_uri);
    if (issuer == NULL)
        err_set(err, -ENOMEM, "out of memory");
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
        if (&issuer->source == source)
            return issuer;
    }
    return NULL;
}

/* Can a flight look for it? */
static bool is_wanted_kid(struct str kid)
{
    return kid.len > 0 && kid.len <= LIMIT_KID_BYTES;
}

/* May a flight begin for this kid? */
static bool may_fetch(struct issuer *issuer, struct str kid, double now)
{
    if (issuer->source.keys == NULL)
        return now >= issuer->retry_at;
    if (!is_wanted_kid(kid) || keyset_find(issuer->source.keys, kid, ALG_NONE_KNOWN) != NULL)
        return false;
    return kid_gate_admit(&issuer->gate, kid, now);
}

/* The set that is on its way may be older than that kid. */
static bool is_late(const struct issuer *issuer, struct str kid)
{
    return issuer->state == ISSUER_KEYS && is_wanted_kid(kid) &&
           !str_eq(kid, str_from(issuer->wanted));
}

static void wait_for_next(struct issuer *issuer, struct str kid, struct issuer_wait *wait)
{
    if (issuer->next[0] == '\0') {
        memcpy(issuer->next, kid.ptr, kid.len);
        issuer->next[kid.len] = '\0';
    }
    list_push(&issuer->late, &wait->node);
}

int issuer_want(struct issuer *issuer, struct str kid, struct issuer_wait *wait)
{
    double now = issuer_now(issuer);
    list_init(&wait->node);
    if (issuer->all->trusted != NULL)
        return 0;
    drop_stale(issuer, now);
    if (issuer->state == ISSUER_IDLE) {
        if (!may_fetch(issuer, kid, now))
            return 0;
        issuer_take_off(issuer, kid);
    } else if (issuer->state == ISSUER_SHARING && issuer->wanted[0] == '\0' &&
               (issuer->source.keys == NULL ? is_wanted_kid(kid) : may_fetch(issuer, kid, now))) {
        issuer_want_kid(issuer, kid); /* a set that others have would be taken without it */
    } else if (kid.len > 0) {
        issuer->gate.refused++; /* many who wait for one flight are a flood already */
    }
    if (issuer->overdue)
        return 0;
    if (is_late(issuer, kid))
        wait_for_next(issuer, kid, wait);
    else
        list_push(&issuer->waiting, &wait->node);
    return 1;
}

void issuer_cancel(struct issuer_wait *wait)
{
    list_remove(&wait->node);
}

void issuer_use(struct issuer *issuer, bool promised)
{
    issuer->users++;
    issuer->promises += promised;
    if (due_now(issuer, issuer_now(issuer)))
        issuer_take_off(issuer, STR(""));
}

void issuer_leave(struct issuer *issuer, bool promised)
{
    issuer->promises -= promised;
    if (--issuer->users > 0)
        return;
    if (issuer->all == NULL) {
        issuer_free(issuer);
    } else if (!uv_is_closing((uv_handle_t *)&issuer->timer)) {
        assert(list_is_empty(&issuer->waiting) && list_is_empty(&issuer->late) &&
               list_is_empty(&issuer->ready));
        stop(issuer);
    }
}

bool issuer_is_failing(const struct issuer *issuer)
{
    return issuer->streak > 0 || issuer->overdue;
}

bool issuers_ready(const struct issuers *issuers)
{
    list_each(node, &issuers->list)
    {
        const struct issuer *issuer = container_of(node, struct issuer, node);
        if (issuer->promises > 0 && issuer->source.keys == NULL)
            return false;
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
        .keys_age = keys != NULL ? fmax(issuer_now(issuer) - issuer->fetched.steady, 0) : -1,
        .key_count = keys != NULL ? keyset_size(keys) : 0,
        .notes = keys != NULL ? keyset_notes(keys) : STR(""),
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
