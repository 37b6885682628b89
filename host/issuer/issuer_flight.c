/* A flight: the way from wanting keys to having them, or to knowing that they cannot be had.
 *
 * IDLE -> SHARING -> (DISCOVERY (twice) ->) KEYS -> IDLE, always from the loop. SHARING looks for
 * what another worker, or another machine, has brought and tries to become the worker that fetches;
 * see issuer_store.h and issuer_share.h.
 * Waiters are called at the end of the flight, good or not, or when it is LIMIT_KEYS_WAIT old: then
 * it goes on without them, and nobody waits again before a flight has ended in time. */
#include "issuer/issuer_internal.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/response.h"
#include "issuer/discovery.h"

/* How often who waits looks for what another worker brings, or another machine. */
enum { SHARE_MS = 50, SHARE_STORE_MS = 100 };

double issuer_now(const struct issuer *issuer)
{
    return issuer->all->steady(issuer->all->clock_arg);
}

void issuer_log(const struct issuer *issuer, enum log_level level, const char *message,
                const char *error)
{
    if (!log_wants(level))
        return;
    struct log_line line;
    log_begin(&line, level, message);
    log_str(&line, "issuer", str_from(issuer->url));
    if (error != NULL)
        log_str(&line, "error", str_from(error));
    log_end(&line);
}

static void set_state(struct issuer *issuer, enum issuer_state state)
{
    static const char *const names[] = {"idle", "sharing", "discovery", "keys"};
    static const unsigned next[] = {
        [ISSUER_IDLE] = 1u << ISSUER_SHARING,
        [ISSUER_SHARING] = 1u << ISSUER_IDLE | 1u << ISSUER_DISCOVERY | 1u << ISSUER_KEYS,
        [ISSUER_DISCOVERY] = 1u << ISSUER_IDLE | 1u << ISSUER_DISCOVERY | 1u << ISSUER_KEYS,
        [ISSUER_KEYS] = 1u << ISSUER_IDLE | 1u << ISSUER_DISCOVERY,
    };
    assert((next[issuer->state] & 1u << state) != 0);
    if (log_wants(LOG_DEBUG) && log_format() == LOG_FORMAT_JSON) {
        log_message(LOG_DEBUG, "issuer %s: %s -> %s", issuer->url, names[issuer->state],
                    names[state]);
    }
    issuer->state = state;
}

static double wall_now(const struct issuer *issuer)
{
    return issuer->all->wall(issuer->all->clock_arg);
}

static bool has_key(const struct issuer *issuer, const char *kid)
{
    return issuer->source.keys != NULL &&
           (kid[0] == '\0' ||
            keyset_find(issuer->source.keys, str_from(kid), ALG_NONE_KNOWN) != NULL);
}

/* ---- the end of a flight ---- */

/* The last thing to do: a callback may want again, cancel others, or free everything. */
static void call_ready(struct issuer *issuer)
{
    while (!list_is_empty(&issuer->ready)) {
        struct issuer_wait *wait = container_of(issuer->ready.next, struct issuer_wait, node);
        list_remove(&wait->node);
        wait->done(wait);
    }
}

/* Who came too late for the set that has come is judged by another one. */
static void go_on_for_late(struct issuer *issuer)
{
    char kid[sizeof(issuer->next)];
    memcpy(kid, issuer->next, sizeof(kid));
    issuer->next[0] = '\0';
    bool again = kid[0] != '\0' && issuer->streak == 0 && !has_key(issuer, kid) &&
                 kid_gate_admit(&issuer->gate, str_from(kid), issuer_now(issuer));
    list_append(again ? &issuer->waiting : &issuer->ready, &issuer->late);
    if (again)
        issuer_take_off(issuer, str_from(kid));
}

static void land(struct issuer *issuer)
{
    issuer_share_put(&issuer->share, STR("")); /* where nothing was fetched: others may */
    issuer_store_unlock(&issuer->store);
    uv_timer_stop(&issuer->timer);
    set_state(issuer, ISSUER_IDLE);
    list_append(&issuer->ready, &issuer->waiting);
    go_on_for_late(issuer);
    call_ready(issuer);
}

/* ---- a flight that takes too long goes on without those who wait for it ---- */

static double wait_left(const struct issuer *issuer)
{
    return fmax(issuer->began + LIMIT_KEYS_WAIT - issuer_now(issuer), 0);
}

static void send_waiters_away(struct issuer *issuer)
{
    issuer->overdue = true;
    if (issuer->last_error[0] == '\0') {
        snprintf(issuer->last_error, sizeof(issuer->last_error), "no answer for %g s",
                 LIMIT_KEYS_WAIT);
    }
    issuer->next[0] = '\0';
    list_append(&issuer->ready, &issuer->waiting);
    list_append(&issuer->ready, &issuer->late);
    call_ready(issuer);
}

static void on_overdue(uv_timer_t *timer)
{
    send_waiters_away(container_of(timer, struct issuer, timer));
}

void issuer_watch_wait(struct issuer *issuer)
{
    bool calling = issuer->state == ISSUER_DISCOVERY || issuer->state == ISSUER_KEYS;
    if (calling && !issuer->overdue)
        uv_timer_start(&issuer->timer, on_overdue, (uint64_t)ceil(wait_left(issuer) * 1000), 0);
}

static double backoff(const struct issuer *issuer)
{
    double most = issuer->source.keys != NULL ? LIMIT_KEYS_COOLDOWN : LIMIT_KEYS_RETRY;
    return fmin(ldexp(1.0, issuer->streak < 16 ? (int)issuer->streak - 1 : 16), most);
}

/* The flight has brought nothing; what there is stays. */
static void fail(struct issuer *issuer, const char *text)
{
    double now = issuer_now(issuer);
    bool news = issuer->streak++ == 0;
    issuer->overdue = wait_left(issuer) == 0;
    issuer->failures++;
    issuer->retry_at = now + backoff(issuer);
    snprintf(issuer->last_error, sizeof(issuer->last_error), "%s", text);
    if (news) {
        issuer_log(issuer, LOG_WARN,
                   issuer->source.keys != NULL ? "keys cannot be refreshed, going on with the last"
                                               : "keys cannot be fetched",
                   issuer->last_error);
    }
    if (issuer->wanted[0] != '\0' && issuer->source.keys != NULL)
        kid_gate_missed(&issuer->gate, str_from(issuer->wanted), false, now);
    land(issuer);
}

/* A good set is in place. */
static void succeed(struct issuer *issuer)
{
    if (issuer->streak > 0)
        issuer_log(issuer, LOG_INFO, "keys can be fetched again", NULL);
    issuer->streak = 0;
    issuer->overdue = false;
    issuer->retry_at = 0;
    issuer->last_error[0] = '\0';
    issuer->due = false;
    /* A set that is older than the wish does not tell that there is no such key. */
    if (!has_key(issuer, issuer->wanted))
        kid_gate_missed(&issuer->gate, str_from(issuer->wanted),
                        issuer->fetched.steady >= issuer->began, issuer_now(issuer));
    land(issuer);
}

/* Which keys of the provider go unused, and why: once, not at each refresh. */
static void log_notes(const struct issuer *issuer, const struct keyset *before,
                      const struct keyset *set)
{
    struct str notes = keyset_notes(set), line;
    if (before != NULL && str_eq(keyset_notes(before), notes))
        return;
    while (str_split_next(&notes, '\n', &line) && line.len > 0) {
        struct err text;
        err_set(&text, 0, "%.*s", STR_ARG(line));
        issuer_log(issuer, LOG_WARN, "a key of the issuer is left out", text.text);
    }
}

void issuer_use_set(struct issuer *issuer, struct keyset *set, struct fetch_time fetched)
{
    log_notes(issuer, issuer->source.keys, set);
    keyset_source_set(&issuer->source, set);
    issuer->fetched = fetched;
}

/* ---- fetching ---- */

static void begin_keys(struct issuer *issuer);
static void begin_discovery(struct issuer *issuer);

/* Of a set that was `age` seconds old when it was asked for. What took its time on the way may have
 * been overtaken by a rotation there, so that time counts as age. */
static struct fetch_time time_of(const struct issuer *issuer, double age, struct str text)
{
    double steady = issuer->asked - age;
    return (struct fetch_time){steady, wall_now(issuer) - (issuer_now(issuer) - steady),
                               str_hash(text)};
}

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
        const char *reason = response_reason((int)res->status);
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
    issuer_use_set(issuer, set, time_of(issuer, 0, res->body));
    keyset_unref(set);
    issuer_store_save(&issuer->store, res->body, issuer->fetched.wall);
    issuer_share_put(&issuer->share, res->body);
    succeed(issuer);
}

static char *discovery_place(const struct issuer *issuer)
{
    struct str name = str_from(issuer->url);
    return issuer->no_openid ? discovery_oauth_url(name) : discovery_url(name);
}

/* Not there at all: an authorization server that knows no OpenID may say it elsewhere. Where it
 * does not either, the first place is the one to name. True: that is looked at. */
static bool look_elsewhere(struct issuer *issuer, const struct client_response *res,
                           struct err *err)
{
    bool absent = res->error == 0 && res->status >= 400 && res->status < 500;
    if (!issuer->no_openid && absent) {
        snprintf(issuer->absent_error, sizeof(issuer->absent_error), "%.255s", err->text);
        issuer->no_openid = true;
        begin_discovery(issuer);
        return true;
    }
    if (issuer->no_openid)
        err_set(err, 0, "%s", issuer->absent_error);
    return false;
}

static void on_discovery(void *arg, const struct client_response *res)
{
    struct issuer *issuer = arg;
    struct err err;
    char *url = discovery_place(issuer);
    char *found = NULL;
    bool slash = false;
    int code = -EIO;
    issuer->call = NULL;
    issuer->discovered = true;
    if (is_good(res))
        code = discovery_read(res->body, str_from(issuer->url), &found, &slash, &err);
    else
        describe_failure(url != NULL ? url : issuer->url, res, &err);
    free(url);
    if (!is_good(res) && look_elsewhere(issuer, res, &err))
        return;
    if (code != 0) {
        fail(issuer, err.text);
        return;
    }
    if (slash && !issuer->slash_warned) {
        issuer->slash_warned = true;
        issuer_log(issuer, LOG_WARN,
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
        .fresh = true, /* one fetch is one request, whatever happens to the connection */
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
        return;
    }
    issuer_watch_wait(issuer);
}

static void begin_keys(struct issuer *issuer)
{
    set_state(issuer, ISSUER_KEYS);
    issuer->asked = issuer_now(issuer);
    begin_call(issuer, keys_uri(issuer), LIMIT_JWKS_BYTES, on_keys);
}

static void begin_discovery(struct issuer *issuer)
{
    char *url = discovery_place(issuer);
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
static bool is_as_good(const struct issuer *issuer, struct keyset *set, struct fetch_time fetched)
{
    double age = issuer_now(issuer) - fetched.steady;
    bool is_ours = fetched.wall == issuer->fetched.wall || fetched.steady <= issuer->fetched.steady;
    if (issuer->source.keys != NULL && is_ours)
        return false;
    if (age < -ISSUER_FRESH)
        return false; /* the clock was set back since: how old it is cannot be told */
    if (issuer->wanted[0] == '\0')
        return age < LIMIT_KEYS_TTL;
    /* Among machines sets come late: what is to be new has to be of this flight's time. */
    double fresh = issuer->share.store != NULL ? issuer_now(issuer) - issuer->began : ISSUER_FRESH;
    return age < fresh || (age < LIMIT_KEYS_TTL &&
                           keyset_find(set, str_from(issuer->wanted), ALG_NONE_KNOWN) != NULL);
}

struct keyset *issuer_load_set(struct issuer *issuer, struct fetch_time *fetched, struct err *err)
{
    struct buf text = BUF_INIT;
    struct keyset *set = NULL;
    err->text[0] = '\0';
    if (issuer_store_load(&issuer->store, &text, &fetched->wall) == 0 &&
        keyset_parse(buf_str(&text), &set, err) != 0)
        set = NULL;
    if (set != NULL) {
        fetched->steady = issuer_now(issuer) - (wall_now(issuer) - fetched->wall);
        fetched->hash = str_hash(buf_str(&text));
    }
    buf_free(&text);
    return set;
}

static bool take_shared(struct issuer *issuer)
{
    struct fetch_time fetched;
    struct err err;
    struct keyset *set = issuer_load_set(issuer, &fetched, &err);
    bool good = set != NULL && is_as_good(issuer, set, fetched);
    if (good)
        issuer_use_set(issuer, set, fetched);
    keyset_unref(set);
    return good;
}

static void on_share(uv_timer_t *timer);

static void begin_fetch(struct issuer *issuer)
{
    issuer->fetches++;
    if (keys_uri(issuer) != NULL)
        begin_keys(issuer);
    else
        begin_discovery(issuer);
}

/* Another one fetches. */
static void wait_for_other(struct issuer *issuer, unsigned ms)
{
    if (issuer_now(issuer) >= issuer->share_until) {
        fail(issuer, "another worker's fetch took too long");
        return;
    }
    uv_timer_start(&issuer->timer, on_share, ms, 0);
    if (wait_left(issuer) == 0)
        send_waiters_away(issuer);
}

static void ask_others(struct issuer *issuer, bool lease);

/* Where it is newer than ours it is used, also an old one where there is none at all. When it was
 * fetched is known less well than here, so the same text is the same fetch for a while. */
static void use_from_store(struct issuer *issuer, const struct issuer_share_answer *answer,
                           struct fetch_time fetched)
{
    double later = fetched.steady - issuer->fetched.steady;
    bool is_same = fetched.hash == issuer->fetched.hash && later < LIMIT_KEYS_TTL / 10;
    if (answer->age < -ISSUER_FRESH || answer->age > LIMIT_KEYS_STALE ||
        (issuer->source.keys != NULL && later <= 0))
        return;
    if (issuer->source.keys != NULL && is_same) {
        issuer->fetched.steady = fetched.steady;
        return;
    }
    issuer_use_set(issuer, answer->set, fetched);
    issuer_store_save(&issuer->store, answer->text, fetched.wall);
}

static void on_others(void *arg, const struct issuer_share_answer *answer)
{
    struct issuer *issuer = arg;
    const struct fetch_time fetched = time_of(issuer, answer->age, answer->text);
    bool good = answer->set != NULL && is_as_good(issuer, answer->set, fetched);
    double pause = issuer->source.keys != NULL ? ISSUER_FRESH - fabs(answer->age) : 0;
    if (answer->set != NULL)
        use_from_store(issuer, answer, fetched);
    keyset_unref(answer->set);
    if (good) {
        succeed(issuer);
    } else if (answer->status != 0 || answer->leased) {
        begin_fetch(issuer);
    } else if (pause > 0) { /* unknown kids let nobody ask more often */
        wait_for_other(issuer, (unsigned)(pause * 1000) + 1);
    } else if (!issuer->asks_lease) {
        ask_others(issuer, true);
    } else {
        wait_for_other(issuer, SHARE_STORE_MS);
    }
}

static void ask_others(struct issuer *issuer, bool lease)
{
    issuer->asks_lease = lease;
    issuer->asked = issuer_now(issuer);
    if (issuer_share_ask(&issuer->share, lease, on_others, issuer) != 0)
        begin_fetch(issuer);
}

static void on_share(uv_timer_t *timer)
{
    struct issuer *issuer = container_of(timer, struct issuer, timer);
    /* In this order: a worker that gave the lock back has written the file before. */
    bool ours = issuer_store_lock(&issuer->store);
    if (take_shared(issuer))
        succeed(issuer);
    else if (!ours)
        wait_for_other(issuer, SHARE_MS);
    else if (issuer->share.store != NULL)
        ask_others(issuer, issuer->asks_lease);
    else
        begin_fetch(issuer);
}

void issuer_want_kid(struct issuer *issuer, struct str kid)
{
    size_t len = kid.len < sizeof(issuer->wanted) ? kid.len : 0;
    if (len > 0)
        memcpy(issuer->wanted, kid.ptr, len);
    issuer->wanted[len] = '\0';
    issuer->began = issuer_now(issuer);
    issuer->share_until = issuer->began + LIMIT_KEYS_FETCH_TIMEOUT;
}

void issuer_take_off(struct issuer *issuer, struct str kid)
{
    issuer_want_kid(issuer, kid);
    issuer->discovered = false;
    issuer->no_openid = false;
    issuer->asks_lease = false;
    set_state(issuer, ISSUER_SHARING);
    uv_timer_start(&issuer->timer, on_share, 0, 0);
}
