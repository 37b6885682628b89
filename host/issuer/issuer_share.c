#include "issuer/issuer_share.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/sealed.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/exchange.h"
#include "issuer/issuer_store.h"

static const char PURPOSE[] = "key set";

/* Lives until the store gives it back. */
struct issuer_share_call {
    struct store_request request;
    struct issuer_share *share; /* NULL: cancelled */
    struct buf text;            /* what the request needs */
    void (*done)(void *arg, const struct issuer_share_answer *answer);
    void *arg;
};

static void free_call(struct issuer_share_call *call)
{
    buf_free(&call->text);
    buf_free(&call->request.out);
    free(call);
}

/* The request's texts are put into call->text by the caller, the key first. */
static struct issuer_share_call *new_call(struct issuer_share *share)
{
    struct issuer_share_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->share = share;
    buf_add_str(&call->text, str_from(share->identity));
    buf_add_str(&call->text, str_from(share->token));
    return call;
}

/* Of texts that do not move any more. */
static void point_at_texts(struct issuer_share_call *call)
{
    size_t key = strlen(call->share->identity), token = strlen(call->share->token);
    const char *text = call->text.data;
    call->request.key = (struct str){text, key};
    call->request.id = (struct str){text + key, token};
    if (call->text.len > key + token)
        call->request.value =
            (struct store_value){STORE_TEXT, {text + key + token, call->text.len - key - token}};
}

static void submit(struct issuer_share *share, struct issuer_share_call *call)
{
    point_at_texts(call);
    store_submit(share->store, &call->request);
}

/* ---- reading ---- */

static void warn_once(struct issuer_share *share, const char *why)
{
    if (share->warned)
        return;
    share->warned = true;
    struct log_line line;
    log_begin(&line, LOG_WARN, "a key set in KV_URL's store is not used");
    log_str(&line, "set", str_from(share->identity));
    log_str(&line, "error", str_from(why));
    log_end(&line);
}

/* What lies there, unsealed. */
static bool open_text(const struct issuer_share *share, struct str there, struct buf *out)
{
    if (share->secret.len == 0) {
        buf_add_str(out, there);
        return !buf_failed(out);
    }
    return sealed_read(&share->secret, 1, PURPOSE, there, out) == 0;
}

static struct keyset *read_set(struct issuer_share *share, struct str there, double *at,
                               struct buf *jwks)
{
    struct buf text = BUF_INIT;
    struct keyset *set = NULL;
    struct err err;
    if (!open_text(share, there, &text))
        warn_once(share, "it was not sealed with the password of KV_URL");
    else if (issuer_store_read(share->identity, buf_str(&text), jwks, at) != 0)
        warn_once(share, "it is none, or of another issuer");
    else if (keyset_parse(buf_str(jwks), &set, &err) != 0)
        warn_once(share, err.text);
    buf_free(&text);
    return set;
}

static void on_asked(struct store_request *request)
{
    struct issuer_share_call *call = container_of(request, struct issuer_share_call, request);
    struct issuer_share *share = call->share;
    struct issuer_share_answer answer = {.status = request->status, .age = HUGE_VAL};
    struct buf jwks = BUF_INIT;
    double at = 0;
    if (share == NULL) {
        free_call(call);
        return;
    }
    share->call = NULL;
    if (request->status == 0) {
        share->now_ms = (int64_t)request->reset_ms;
        share->leased = answer.leased = request->changed;
        if (request->out.len > 0)
            answer.set = read_set(share, buf_str(&request->out), &at, &jwks);
        else if (request->number != 0 && request->number == share->stamp)
            at = (double)share->stamp / 1000;
        if (answer.set != NULL)
            share->stamp = request->number;
        answer.text = buf_str(&jwks);
        answer.age = at > 0 ? (double)share->now_ms / 1000 - at : HUGE_VAL;
    }
    call->done(call->arg, &answer);
    buf_free(&jwks);
    free_call(call);
}

int issuer_share_ask(struct issuer_share *share, bool lease,
                     void (*done)(void *arg, const struct issuer_share_answer *answer), void *arg)
{
    if (share->token[0] == '\0')
        exchange_make_id(share->token);
    struct issuer_share_call *call = new_call(share);
    if (call == NULL || buf_failed(&call->text)) {
        if (call != NULL)
            free_call(call);
        return -ENOMEM;
    }
    call->done = done;
    call->arg = arg;
    call->request.kind = STORE_KEYS;
    call->request.number = share->stamp;
    call->request.ttl_ms = lease ? LIMIT_KEYS_LEASE : 0;
    call->request.done = on_asked;
    share->call = call;
    submit(share, call);
    return 0;
}

void issuer_share_cancel(struct issuer_share *share)
{
    if (share->call != NULL)
        share->call->share = NULL;
    share->call = NULL;
}

/* ---- writing ---- */

static void on_put(struct store_request *request)
{
    free_call(container_of(request, struct issuer_share_call, request));
}

static int add_set(const struct issuer_share *share, struct str jwks, double at, struct buf *out)
{
    struct buf text = BUF_INIT;
    int rc = 0;
    issuer_store_write(share->identity, jwks, at, &text);
    if (share->secret.len > 0)
        rc =
            buf_failed(&text) ? -ENOMEM : sealed_write(share->secret, PURPOSE, buf_str(&text), out);
    else
        buf_add_str(out, buf_str(&text));
    buf_free(&text);
    return rc;
}

void issuer_share_put(struct issuer_share *share, struct str jwks)
{
    if (!share->leased)
        return;
    share->leased = false;
    int64_t stamp = share->now_ms;
    struct issuer_share_call *call = new_call(share);
    size_t before = call != NULL ? call->text.len : 0;
    if (call != NULL && jwks.len > 0 &&
        (add_set(share, jwks, (double)stamp / 1000, &call->text) != 0 ||
         call->text.len - before > LIMIT_KV_VALUE_BYTES))
        call->text.len = before; /* the right runs out, and who is next fetches */
    if (call == NULL || buf_failed(&call->text)) {
        if (call != NULL)
            free_call(call);
        return;
    }
    if (call->text.len > before)
        share->stamp = stamp;
    call->request.kind = STORE_KEYS_PUT;
    call->request.number = stamp;
    call->request.ttl_ms = (uint64_t)(LIMIT_KEYS_STALE * 1000);
    call->request.done = on_put;
    submit(share, call);
}
