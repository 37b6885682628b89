/* Asking about tokens. What is known is kept in tables without chains: of two tokens that want the
 * same place the later one has it, and the other is asked for again. */
#include "issuer/introspection.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "auth/opaque.h"
#include "json/strict.h"
#include "base/siphash.h"
#include "issuer/client_auth.h"
#include "issuer/discovery.h"
#include "issuer/issuer_internal.h"

/* Seconds between two lines about answers that are none: anybody can cause one. */
static const double QUIET = 60;

enum { WAYS = 4 };

struct answer {
    struct siphash hash;
    double until;          /* steady; 0: no answer */
    struct claims *claims; /* owned; NULL: no answer */
};

struct refusal {
    struct siphash hash;
    double until; /* steady */
    bool unclear; /* not refused: its answer said nothing */
};

struct introspection {
    struct list node;
    struct opaque_source source;
    struct issuers *all; /* NULL: they are gone, users hold mere memory */
    unsigned users;
    char *url;           /* owned */
    char *authorization; /* owned: the header's value */
    char host_text[256];
    struct str host; /* slice of host_text: what the operator named may be private */
    bool loopback;
    double ttl;
    uint64_t key[2];
    struct list flights;
    unsigned flying;
    bool taken;        /* our credentials: there has been a plain answer */
    unsigned failures; /* in a row */
    double retry_at;   /* while they are LIMIT_INTROSPECTION_FAILURES */
    double quiet_until;
    char trouble[256]; /* what came last in place of a plain answer */
    struct answer answers[LIMIT_INTROSPECTION_ANSWERS];
    struct refusal refusals[LIMIT_INTROSPECTION_ANSWERS];
};

/* One question under way. */
struct flight {
    struct list node;
    struct introspection *owner;
    struct siphash hash;
    struct client_call *call;
    struct list waiting;
};

static double now_of(const struct introspection *in)
{
    return in->all->steady(in->all->clock_arg);
}

static bool same_hash(struct siphash a, struct siphash b)
{
    return a.low == b.low && a.high == b.high;
}

/* ---- what is known ---- */

/* Where a set of WAYS places begins, any of which may hold what is known of a token: what many
 * others bring must not drive out what one has. */
static size_t set_of(struct siphash hash)
{
    return hash.low % (LIMIT_INTROSPECTION_ANSWERS / WAYS) * WAYS;
}

/* The answer about that token, or the place for one, which is that of what ends first. */
static struct answer *place_of(struct introspection *in, struct siphash hash)
{
    struct answer *set = &in->answers[set_of(hash)], *place = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (same_hash(set[i].hash, hash))
            return &set[i];
        if (set[i].until < place->until)
            place = &set[i];
    }
    return place;
}

/* The same for refusals. */
static size_t refusal_at(const struct introspection *in, struct siphash hash)
{
    size_t set = set_of(hash), place = set;
    for (size_t i = set; i < set + WAYS; i++) {
        if (same_hash(in->refusals[i].hash, hash))
            return i;
        if (in->refusals[i].until < in->refusals[place].until)
            place = i;
    }
    return place;
}

/* Takes the claims over; NULL: none are known any more. */
static void keep(struct introspection *in, struct siphash hash, struct claims *claims, double until)
{
    struct answer *answer = place_of(in, hash);
    if (claims == NULL && !same_hash(answer->hash, hash))
        return;
    claims_unref(answer->claims);
    *answer = (struct answer){hash, until, claims};
}

static void refuse(struct introspection *in, struct siphash hash, double seconds, bool unclear)
{
    in->refusals[refusal_at(in, hash)] = (struct refusal){hash, now_of(in) + seconds, unclear};
    if (!unclear)
        keep(in, hash, NULL, 0);
}

/* NULL: none that is still in force. */
static const struct refusal *find_refusal(const struct introspection *in, struct siphash hash)
{
    const struct refusal *refusal = &in->refusals[refusal_at(in, hash)];
    return now_of(in) < refusal->until && same_hash(refusal->hash, hash) ? refusal : NULL;
}

static enum opaque_state find(struct opaque_source *source, struct str token,
                              struct claims **claims)
{
    struct introspection *in = container_of(source, struct introspection, source);
    struct siphash hash = siphash(in->key, token);
    const struct answer *answer = place_of(in, hash);
    if (now_of(in) < answer->until && same_hash(answer->hash, hash)) {
        *claims = answer->claims;
        return OPAQUE_ACTIVE;
    }
    const struct refusal *refusal = find_refusal(in, hash);
    return refusal != NULL && !refusal->unclear ? OPAQUE_INACTIVE : OPAQUE_UNKNOWN;
}

/* ---- asking ---- */

static void land(struct flight *flight)
{
    list_remove(&flight->node);
    flight->owner->flying--;
    while (!list_is_empty(&flight->waiting)) {
        struct issuer_wait *wait = container_of(flight->waiting.next, struct issuer_wait, node);
        list_remove(&wait->node);
        wait->done(wait);
    }
    free(flight);
}

static bool is_down(const struct introspection *in)
{
    return in->failures >= LIMIT_INTROSPECTION_FAILURES;
}

static void complain(struct introspection *in, const char *why)
{
    double now = now_of(in);
    snprintf(in->trouble, sizeof(in->trouble), "%s", why);
    if (now < in->quiet_until)
        return;
    log_message(LOG_WARN, "introspection %s: %s", in->url, in->trouble);
    in->quiet_until = now + QUIET;
}

/* The endpoint has not answered. */
static void say_failed(struct introspection *in, const char *why)
{
    in->failures++;
    in->retry_at = now_of(in) + LIMIT_INTROSPECTION_RETRY;
    complain(in, why);
}

static void say_plain(struct introspection *in)
{
    if (is_down(in)) {
        log_message(LOG_INFO, "introspection %s: answers again", in->url);
        in->quiet_until = 0;
    }
    in->taken = true;
    in->failures = 0;
}

/* An answer of the endpoint, as RFC 7662 section 2.2 has it. Takes the JSON over. */
static void take_answer(struct introspection *in, struct siphash hash, struct str text,
                        json_t *json)
{
    say_plain(in);
    if (!json_is_true(json_object_get(json, "active"))) {
        json_decref(json);
        refuse(in, hash, LIMIT_INTROSPECTION_INACTIVE, false);
        return;
    }
    struct claims *claims = claims_new(json, text, ALG_NONE_KNOWN, CLAIMS_ANY);
    if (claims == NULL) {
        complain(in, "out of memory");
        return;
    }
    double left = claims->expires - in->all->wall(in->all->clock_arg);
    keep(in, hash, claims, now_of(in) + (left < in->ttl ? fmax(left, 1) : in->ttl));
}

/* What is no plain answer: the endpoint's failure, or this token's alone. `why` its JSON could not
 * be read; may be NULL. */
static void take_trouble(struct introspection *in, struct siphash hash,
                         const struct client_response *res, const char *why)
{
    char text[200];
    bool ours = !in->taken && (res->status == 401 || res->status == 403);
    bool too_large = res->error == -EMSGSIZE, refused = res->status >= 400 && res->status < 500;
    snprintf(text, sizeof(text), "status %ld without a plain answer%s%s%s", res->status,
             why != NULL ? ": " : "", why != NULL ? why : "",
             ours ? "; are client_id and client_secret right?" : "");
    if ((res->error != 0 && !too_large) || res->status >= 500) {
        refuse(in, hash, LIMIT_INTROSPECTION_RETRY, true);
        say_failed(in, res->error != 0 ? res->error_text : text);
        return;
    }
    in->failures = 0;
    /* A 4xx may mean our request as well, until the endpoint has once liked it. */
    refused = refused && in->taken && res->status != 408 && res->status != 425 &&
              res->status != 429; /* "later" is no refusal */
    refuse(in, hash, refused ? LIMIT_INTROSPECTION_INACTIVE : LIMIT_INTROSPECTION_RETRY, !refused);
    complain(in, too_large ? res->error_text : text);
}

static void on_answer(void *arg, const struct client_response *res)
{
    struct flight *flight = arg;
    struct introspection *in = flight->owner;
    const char *why = NULL;
    flight->call = NULL;
    json_t *json = res->error == 0 && res->status == 200
                       ? strict_json_load_wide(res->body, JSON_REJECT_DUPLICATES, &why)
                       : NULL;
    if (json_is_boolean(json_object_get(json, "active"))) {
        take_answer(in, flight->hash, res->body, json);
    } else {
        json_decref(json);
        take_trouble(in, flight->hash, res, why);
    }
    land(flight);
}

static int start(struct introspection *in, struct flight *flight, struct str body)
{
    const struct header headers[] = {
        {STR("Accept"), STR("application/json")},
        {STR("Authorization"), str_from(in->authorization)},
        {STR("Content-Type"), STR("application/x-www-form-urlencoded")},
    };
    const struct client_request req = {
        .method = STR("POST"),
        .url = str_from(in->url),
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .body = body,
        .timeout = LIMIT_KEYS_WAIT,
        .max_bytes = LIMIT_INTROSPECTION_BYTES,
        .rules = {.hosts = &in->host,
                  .host_count = 1,
                  .any_public = true,
                  .allow_loopback = in->loopback,
                  .https_only = true},
    };
    struct err err;
    int rc = client_start(in->all->client, &req, on_answer, flight, &flight->call, &err);
    if (rc != 0)
        say_failed(in, err.text);
    return rc;
}

static struct flight *take_off(struct introspection *in, struct siphash hash, struct str token)
{
    struct buf body = BUF_INIT;
    struct flight *flight = calloc(1, sizeof(*flight));
    if (flight == NULL)
        return NULL;
    flight->owner = in;
    flight->hash = hash;
    list_init(&flight->waiting);
    buf_add_str(&body, STR("token_type_hint=access_token&token="));
    client_auth_add_form(&body, token);
    bool ok = !buf_failed(&body) && start(in, flight, buf_str(&body)) == 0;
    buf_free(&body);
    if (!ok) {
        free(flight);
        return NULL;
    }
    list_push(&in->flights, &flight->node);
    in->flying++;
    return flight;
}

static struct flight *flight_of(struct introspection *in, struct siphash hash)
{
    list_each(node, &in->flights)
    {
        struct flight *flight = container_of(node, struct flight, node);
        if (same_hash(flight->hash, hash))
            return flight;
    }
    return NULL;
}

const char *introspection_trouble(const struct opaque_source *source)
{
    return container_of(source, struct introspection, source)->trouble;
}

static bool may_ask(struct introspection *in, struct siphash hash)
{
    const struct answer *before = place_of(in, hash);
    bool is_known = before->claims != NULL && same_hash(before->hash, hash);
    unsigned most = is_known ? LIMIT_INTROSPECTIONS : LIMIT_INTROSPECTION_NEWCOMERS;
    return in->all->trusted == NULL && in->flying < most && find_refusal(in, hash) == NULL &&
           !(is_down(in) && now_of(in) < in->retry_at);
}

int introspection_want(struct opaque_source *source, struct str token, struct issuer_wait *wait)
{
    struct introspection *in = container_of(source, struct introspection, source);
    struct siphash hash = siphash(in->key, token);
    struct flight *flight = flight_of(in, hash);
    list_init(&wait->node);
    if (flight == NULL && may_ask(in, hash))
        flight = take_off(in, hash, token);
    if (flight == NULL)
        return 0;
    list_push(&flight->waiting, &wait->node);
    return 1;
}

/* ---- endpoints ---- */

/* To be freed; NULL when out of memory. */
static char *basic(struct str id, struct str secret)
{
    struct buf text = BUF_INIT;
    client_auth_add_basic(&text, id, secret);
    buf_add_char(&text, '\0');
    if (buf_failed(&text))
        buf_free(&text);
    return text.data;
}

static void introspection_free(struct introspection *in)
{
    for (size_t i = 0; i < LIMIT_INTROSPECTION_ANSWERS; i++)
        claims_unref(in->answers[i].claims);
    free(in->url);
    free(in->authorization);
    free(in);
}

static struct introspection *introspection_new(struct issuers *issuers,
                                               const struct introspection_spec *spec,
                                               char *authorization)
{
    struct client_url parts;
    struct introspection *in = calloc(1, sizeof(*in));
    if (in == NULL) {
        free(authorization);
        return NULL;
    }
    in->all = issuers;
    in->source.find = find;
    in->authorization = authorization;
    in->url = strndup(spec->url.ptr, spec->url.len);
    list_init(&in->flights);
    if (in->url == NULL || getrandom(in->key, sizeof(in->key), 0) != sizeof(in->key)) {
        introspection_free(in);
        return NULL;
    }
    if (client_parse_url(spec->url, &parts, NULL) == 0) {
        memcpy(in->host_text, parts.host, sizeof(parts.host));
        in->loopback = parts.loopback;
    }
    in->host = str_from(in->host_text);
    list_push(&issuers->introspections, &in->node);
    return in;
}

struct opaque_source *introspection_get(struct issuers *issuers,
                                        const struct introspection_spec *spec, struct err *err)
{
    if (discovery_check_url(spec->url, true, err) != 0)
        return NULL;
    char *authorization = basic(spec->client_id, spec->client_secret);
    struct introspection *in = NULL;
    list_each(node, &issuers->introspections)
    {
        struct introspection *other = container_of(node, struct introspection, node);
        if (authorization != NULL && str_eq(str_from(other->url), spec->url) &&
            strcmp(other->authorization, authorization) == 0)
            in = other;
    }
    if (in != NULL)
        free(authorization);
    else if (authorization != NULL)
        in = introspection_new(issuers, spec, authorization);
    if (in == NULL) {
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    in->ttl = spec->cache;
    return &in->source;
}

static void stop_flights(struct introspection *in)
{
    list_each(at, &in->flights)
    {
        struct flight *flight = container_of(at, struct flight, node);
        list_each(waiting, &flight->waiting)
        {
            list_remove(waiting);
        }
        client_cancel(flight->call);
        list_remove(&flight->node);
        free(flight);
    }
    in->flying = LIMIT_INTROSPECTIONS; /* none any more */
}

void introspection_use(struct opaque_source *source)
{
    container_of(source, struct introspection, source)->users++;
}

void introspection_leave(struct opaque_source *source)
{
    struct introspection *in = container_of(source, struct introspection, source);
    if (--in->users > 0)
        return;
    if (in->all != NULL) {
        stop_flights(in); /* those that nobody waits for any more */
        list_remove(&in->node);
    }
    introspection_free(in);
}

void introspections_stop(struct issuers *issuers)
{
    list_each(node, &issuers->introspections)
    {
        stop_flights(container_of(node, struct introspection, node));
    }
}

void introspections_free(struct issuers *issuers)
{
    list_each(node, &issuers->introspections)
    {
        struct introspection *in = container_of(node, struct introspection, node);
        list_remove(node);
        in->all = NULL;
        if (in->users == 0)
            introspection_free(in);
    }
}
