/* The host's own tokens for other APIs. */
#include "issuer/outbound.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/siphash.h"
#include "issuer/discovery.h"
#include "issuer/issuer_internal.h"
#include "issuer/outbound_request.h"

struct outbound {
    struct list node;
    struct issuers *all; /* NULL: they are gone, users hold mere memory */
    unsigned users;
    struct arena arena;
    struct outbound_spec spec; /* copies, in the arena */
    struct str fingerprint;    /* of all that makes it what it is */
    struct str host;           /* what the operator named may be private */
    bool loopback;
    uint64_t key[2];
    struct list lenders; /* who was used last is last */
    unsigned count;
    unsigned failures; /* in a row */
    double retry_at;
    char trouble[200]; /* why nobody asks until then */
};

/* What is lent to one caller, or, without exchange, to all. */
struct lender {
    struct list node;
    struct outbound *owner;
    unsigned calls;
    struct siphash hash; /* of the subject */
    char *subject;       /* owned */
    double expires;      /* of the subject, seconds since 1970; NaN: not known */
    struct buf value;    /* owned: of Authorization; empty: none yet */
    double until, refresh_at;
    double futile_until; /* an API does not take even a new one */
    double retry_at;     /* the endpoint does not want this caller */
    char trouble[200];
    struct client_call *call; /* that asks; NULL: none */
    double began;             /* of that */
    struct list parked;
};

static double now_of(const struct outbound *o)
{
    return o->all->steady(o->all->clock_arg);
}

static double random_part(void)
{
    uint32_t bits = 0;
    if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
        bits = UINT32_MAX / 2;
    return (double)bits / UINT32_MAX;
}

/* ---- asking ---- */

static void complain(struct outbound *o, char *trouble, const char *text)
{
    char before[200];
    snprintf(before, sizeof(before), "%s", trouble);
    snprintf(trouble, sizeof(o->trouble), "outbound '%.*s': %s", STR_ARG(o->spec.name), text);
    if (strcmp(before, trouble) != 0) /* said once, not at each try */
        log_message(LOG_WARN, "%s", trouble);
}

static void keep(struct lender *l, struct outbound_answer *answer)
{
    struct outbound *o = l->owner;
    double life = answer->life;
    if (!isnan(l->expires)) {
        double left = l->expires - o->all->wall(o->all->clock_arg) + now_of(o) - l->began;
        life = fmin(life, fmax(left, 0));
    }
    /* What is on its way when it ends is lost; of a short life a third is as much as can be spared.
     */
    double usable = life - fmin(LIMIT_OUTBOUND_MARGIN, life / 3);
    buf_free(&l->value);
    l->value = answer->value;
    l->until = l->began + usable;
    l->refresh_at = l->began + usable * (0.75 + random_part() / 10);
    if (o->trouble[0] != '\0')
        log_message(LOG_INFO, "outbound '%.*s': has a token again", STR_ARG(o->spec.name));
    o->failures = 0;
    o->trouble[0] = l->trouble[0] = '\0';
}

static void fail(struct lender *l, enum outbound_verdict verdict,
                 const struct outbound_answer *answer)
{
    struct outbound *o = l->owner;
    o->all->outbound_failures++;
    if (verdict == OUTBOUND_REFUSED_CALLER) {
        complain(o, l->trouble, answer->trouble);
        l->retry_at = now_of(o) + LIMIT_OUTBOUND_REFUSED;
        return;
    }
    double rest = LIMIT_OUTBOUND_REFUSED;
    if (verdict == OUTBOUND_FAILED) {
        rest = fmin(LIMIT_OUTBOUND_RETRY * exp2(fmin(o->failures, 10)), LIMIT_OUTBOUND_RETRY_MOST);
        rest = fmax(rest * (0.75 + random_part() / 2), answer->retry_after);
        o->failures++;
    }
    complain(o, o->trouble, answer->trouble);
    o->retry_at = now_of(o) + rest;
}

static void on_answer(void *arg, const struct client_response *res)
{
    struct lender *l = arg;
    struct outbound_answer answer;
    struct err err = {.text = ""};
    char *value = NULL;
    int error = 0;
    l->call = NULL;
    enum outbound_verdict verdict = outbound_answer_read(&l->owner->spec, res, &answer);
    if (verdict == OUTBOUND_GIVEN) {
        keep(l, &answer);
        value = strdup(l->value.data); /* its own, as callbacks may free the lender */
        error = value == NULL ? err_set(&err, -ENOMEM, "out of memory") : 0;
    } else {
        buf_free(&answer.value);
        fail(l, verdict, &answer);
        error = err_set(&err, -EACCES, "outbound '%.*s': %s", STR_ARG(l->owner->spec.name),
                        answer.trouble);
    }
    client_unpark(&l->parked, str_from(value != NULL ? value : ""), error, err.text);
    free(value);
}

static int send_form(struct lender *l, struct str form, struct str authorization, struct err *err)
{
    struct outbound *o = l->owner;
    const struct header headers[] = {
        {STR("Accept"), STR("application/json")},
        {STR("Content-Type"), STR("application/x-www-form-urlencoded")},
        {STR("Authorization"), authorization},
    };
    const struct client_request req = {
        .method = STR("POST"),
        .url = o->spec.token_url,
        .headers = headers,
        .header_count = authorization.len > 0 ? 3 : 2,
        .body = form,
        .timeout = LIMIT_OUTBOUND_TIMEOUT,
        .max_bytes = LIMIT_OUTBOUND_BYTES,
        .fresh = true,
        .rules = {.hosts = &o->host,
                  .host_count = 1,
                  .any_public = true,
                  .allow_loopback = o->loopback,
                  .https_only = true},
    };
    o->all->outbound_requests++;
    l->began = now_of(o);
    return client_start(o->all->client, &req, on_answer, l, &l->call, err);
}

static int ask(struct lender *l, struct err *err)
{
    struct outbound *o = l->owner;
    struct buf form = BUF_INIT, authorization = BUF_INIT;
    double wall = o->all->wall(o->all->clock_arg);
    struct err reason;
    int rc = outbound_request_write(&o->spec, str_from(l->subject), wall, &form, &authorization,
                                    &reason);
    if (rc == 0)
        rc = send_form(l, buf_str(&form), buf_str(&authorization), &reason);
    buf_free(&form);
    buf_free(&authorization);
    return rc == 0 ? 0
                   : err_set(err, rc, "outbound '%.*s': %s", STR_ARG(o->spec.name), reason.text);
}

/* ---- lending ---- */

static void lender_free(struct lender *l)
{
    if (l->call != NULL)
        client_cancel(l->call);
    list_remove(&l->node);
    list_remove(&l->parked);
    l->owner->count--;
    buf_free(&l->value);
    free(l->subject);
    free(l);
}

/* Makes room for one more. False: all are in use. */
static bool make_room(struct outbound *o)
{
    if (o->count < LIMIT_OUTBOUND_CALLERS)
        return true;
    list_each(node, &o->lenders)
    {
        struct lender *l = container_of(node, struct lender, node);
        if (l->calls == 0) {
            lender_free(l);
            return true;
        }
    }
    return false;
}

static struct lender *find(struct outbound *o, struct siphash hash)
{
    list_each(node, &o->lenders)
    {
        struct lender *l = container_of(node, struct lender, node);
        if (l->hash.low == hash.low && l->hash.high == hash.high)
            return l;
    }
    return NULL;
}

static struct lender *lender_new(struct outbound *o, struct siphash hash,
                                 const struct outbound_loan *loan)
{
    struct lender *l = make_room(o) ? calloc(1, sizeof(*l)) : NULL;
    char *subject = l != NULL
                        ? strndup(loan->subject.len > 0 ? loan->subject.ptr : "", loan->subject.len)
                        : NULL;
    if (subject == NULL) {
        free(l);
        return NULL;
    }
    *l = (struct lender){.owner = o, .hash = hash, .subject = subject, .expires = loan->expires};
    list_init(&l->parked);
    list_push(&o->lenders, &l->node);
    o->count++;
    return l;
}

static void *on_borrow(const struct client_credential *credential, struct err *err)
{
    const struct outbound_loan *loan =
        container_of(credential, const struct outbound_loan, credential);
    struct outbound *o = loan->from;
    struct siphash hash = siphash(o->key, loan->subject);
    struct lender *l = find(o, hash);
    if (l == NULL)
        l = lender_new(o, hash, loan);
    if (l == NULL) {
        err_set(err, -ENOMEM, "outbound '%.*s': out of memory, or more than %d callers at once",
                STR_ARG(o->spec.name), LIMIT_OUTBOUND_CALLERS);
        return NULL;
    }
    list_remove(&l->node);
    list_push(&o->lenders, &l->node);
    l->calls++;
    outbound_use(o);
    return l;
}

static void on_release(void *arg)
{
    struct lender *l = arg;
    l->calls--;
    outbound_leave(l->owner);
}

static int on_want(void *arg, struct client_call *call, struct str *value, struct err *err)
{
    struct lender *l = arg;
    struct outbound *o = l->owner;
    if (o->all == NULL)
        return err_set(err, -EACCES, "the host ends");
    double now = now_of(o);
    bool may_ask = l->call == NULL && now >= o->retry_at && now >= l->retry_at;
    if (l->value.len > 0 && now < l->until) {
        struct err ignored; /* it is told when the token is needed */
        if (now >= l->refresh_at && may_ask)
            (void)!ask(l, &ignored);
        *value = str_from(l->value.data);
        return 1;
    }
    if (l->call == NULL && !may_ask)
        return err_set(err, -EACCES, "%s", now < o->retry_at ? o->trouble : l->trouble);
    if (l->call == NULL) {
        int rc = ask(l, err);
        if (rc != 0)
            return rc;
    }
    client_park(call, &l->parked);
    return 0;
}

static bool on_refused(void *arg, struct str value, bool again)
{
    struct lender *l = arg;
    struct outbound *o = l->owner;
    if (o->all == NULL)
        return false;
    double now = now_of(o);
    if (again)
        l->futile_until = now + LIMIT_OUTBOUND_FUTILE;
    if (now < l->futile_until)
        return false;
    if (l->value.len == 0 || !str_eq(str_from(l->value.data), value) || now >= l->until)
        return true; /* there is another one, or will be */
    if (now < o->retry_at || now < l->retry_at)
        return false;
    l->until = 0;
    return true;
}

void outbound_loan_init(struct outbound_loan *loan, struct outbound *from, struct str subject,
                        double expires)
{
    *loan = (struct outbound_loan){
        .credential = {on_borrow, on_want, on_refused, on_release},
        .from = from,
        .subject = subject,
        .expires = expires,
    };
}

/* ---- identities ---- */

static void outbound_free(struct outbound *o)
{
    list_each(node, &o->lenders)
    {
        lender_free(container_of(node, struct lender, node));
    }
    arena_free(&o->arena);
    free(o);
}

static void on_key_end(void *arg)
{
    key_unref(arg);
}

static struct str fingerprint_of(const struct outbound_spec *s, struct arena *arena)
{
    return arena_printf(arena, "%d %d %d|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s",
                        (int)s->grant, (int)s->in_body, (int)s->alg, STR_ARG(s->name),
                        STR_ARG(s->token_url), STR_ARG(s->client_id), STR_ARG(s->client_secret),
                        STR_ARG(s->private_key), STR_ARG(s->assertion_audience), STR_ARG(s->scope),
                        STR_ARG(s->audience), STR_ARG(s->resource),
                        STR_ARG(s->key != NULL ? key_kid(s->key) : STR("")));
}

/* Copies what `from` borrows. False: out of memory. */
static bool copy_spec(struct outbound *o, const struct outbound_spec *from)
{
    struct outbound_spec *to = &o->spec;
    struct str *texts[] = {&to->name,          &to->token_url,   &to->client_id,
                           &to->client_secret, &to->private_key, &to->assertion_audience,
                           &to->scope,         &to->audience,    &to->resource};
    *to = *from;
    to->hosts = NULL;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        bool absent = texts[i]->ptr == NULL;
        if (!absent && (*texts[i] = arena_copy(&o->arena, *texts[i])).ptr == NULL)
            return false;
    }
    if (to->key != NULL && arena_defer(&o->arena, on_key_end, key_ref(to->key)) != 0) {
        key_unref(to->key);
        return false;
    }
    o->fingerprint = fingerprint_of(to, &o->arena);
    return o->fingerprint.ptr != NULL;
}

static struct outbound *outbound_new(struct issuers *issuers, const struct outbound_spec *spec)
{
    struct client_url parts;
    struct outbound *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return NULL;
    o->all = issuers;
    arena_init(&o->arena);
    list_init(&o->lenders);
    if (!copy_spec(o, spec) || client_parse_url(spec->token_url, &parts, NULL) != 0 ||
        (o->host = arena_copy(&o->arena, str_from(parts.host))).ptr == NULL ||
        getrandom(o->key, sizeof(o->key), 0) != sizeof(o->key)) {
        outbound_free(o);
        return NULL;
    }
    o->loopback = parts.loopback;
    list_push(&issuers->outbounds, &o->node);
    return o;
}

int outbound_check(const struct outbound_spec *spec, struct err *err)
{
    return discovery_check_url(spec->token_url, true, err);
}

struct outbound *outbound_get(struct issuers *issuers, const struct outbound_spec *spec,
                              struct err *err)
{
    struct arena arena;
    struct outbound *found = NULL;
    if (outbound_check(spec, err) != 0)
        return NULL;
    arena_init(&arena);
    struct str fingerprint = fingerprint_of(spec, &arena);
    list_each(node, &issuers->outbounds)
    {
        struct outbound *other = container_of(node, struct outbound, node);
        if (fingerprint.ptr != NULL && str_eq(other->fingerprint, fingerprint))
            found = other;
    }
    arena_free(&arena);
    if (found == NULL)
        found = outbound_new(issuers, spec);
    if (found == NULL)
        err_set(err, -ENOMEM, "out of memory");
    return found;
}

static void stop_asking(struct outbound *o)
{
    list_each(node, &o->lenders)
    {
        struct lender *l = container_of(node, struct lender, node);
        if (l->call != NULL)
            client_cancel(l->call);
        l->call = NULL;
    }
    o->retry_at = INFINITY; /* nobody asks any more */
    snprintf(o->trouble, sizeof(o->trouble), "the host ends");
}

void outbound_use(struct outbound *o)
{
    o->users++;
}

void outbound_leave(struct outbound *o)
{
    if (--o->users > 0)
        return;
    if (o->all != NULL)
        list_remove(&o->node);
    outbound_free(o);
}

void outbound_count(const struct issuers *issuers, uint64_t *requests, uint64_t *failures)
{
    *requests = issuers->outbound_requests;
    *failures = issuers->outbound_failures;
}

void outbounds_stop(struct issuers *issuers)
{
    list_each(node, &issuers->outbounds)
    {
        stop_asking(container_of(node, struct outbound, node));
    }
}

void outbounds_free(struct issuers *issuers)
{
    list_each(node, &issuers->outbounds)
    {
        struct outbound *o = container_of(node, struct outbound, node);
        list_remove(node);
        o->all = NULL;
        if (o->users == 0)
            outbound_free(o);
    }
}
