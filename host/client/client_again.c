/* What makes a call be sent again: a credential that was not taken, or a retry that its caller has
 * asked for. And how it waits until then. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "client/client_rules.h"
#include "http/date.h"

/* ---- in whose name ---- */

static int take(struct client_call *call, struct str value, struct err *err)
{
    call->authorization = arena_copy(&call->arena, value);
    call->identified = true;
    return call->authorization.ptr != NULL ? 0 : client_describe_errno(err, -ENOMEM);
}

int client_again_identify(struct client_call *call,
                          int (*go_on)(struct client_call *call, struct err *err), struct err *err)
{
    if (call->loan == NULL || call->identified)
        return go_on(call, err);
    struct str value;
    call->go_on = go_on;
    buf_clear(&call->received);
    int rc = call->credential.want(call->loan, call, &value, err);
    if (rc > 0) {
        rc = take(call, value, err);
        return rc != 0 ? rc : go_on(call, err);
    }
    return rc;
}

void client_park(struct client_call *call, struct list *parked)
{
    list_push(parked, &call->in_parked);
    client_call_watch(call);
}

void client_unpark(struct list *parked, struct str value, int error, const char *text)
{
    struct list calls;
    list_init(&calls);
    list_append(&calls, parked);
    while (!list_is_empty(&calls)) {
        struct client_call *call = container_of(calls.next, struct client_call, in_parked);
        struct err err;
        list_remove(&call->in_parked);
        int rc = error != 0 ? err_set(&err, error, "%s", text) : take(call, value, &err);
        if (rc == 0)
            rc = call->go_on(call, &err);
        if (rc != 0)
            client_call_end(call, rc, err.text);
    }
}

static bool wants_another(struct client_call *call, long status)
{
    if (status != 401 || call->authorization.len == 0)
        return false;
    bool worth = call->credential.refused(call->loan, call->authorization, call->renewed);
    if (!worth || call->renewed || call->read_body != NULL)
        return false;
    call->renewed = true;
    call->identified = false;
    return true;
}

/* ---- retries ---- */

static bool is_listed(const struct client_retry *retry, long status)
{
    for (unsigned i = 0; i < retry->status_count; i++)
        if (retry->status[i] == status)
            return true;
    return false;
}

/* Seconds that the answer asks for (RFC 9110 10.2.3); 0: none. */
static double asked_rest(struct client_call *call)
{
    struct curl_header *h;
    if (curl_easy_header(call->easy, "Retry-After", 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return 0;
    struct str text = str_trim((struct str){h->value, strcspn(h->value, "\r\n")});
    if (text.len > 0 && text.len < 10 && strspn(text.ptr, "0123456789") == text.len)
        return strtod(text.ptr, NULL);
    int64_t when = date_parse(text);
    return when < 0 ? 0 : (double)when - clock_now();
}

/* Is there a repeat left, and time for it after so many seconds at least? */
static bool can_rest(struct client_call *call, double least)
{
    const struct client_retry *retry = &call->retry;
    if (call->repeats >= retry->times || call->read_body != NULL)
        return false;
    uint64_t now = uv_hrtime(), last = call->deadline;
    if (retry->until < last)
        last = retry->until;
    double rest = retry->backoff * (double)(1U << call->repeats);
    rest += rest / 4 * (double)(now % 1000) / 1000; /* not all at the same time */
    if (rest < least)
        rest = least;
    if (now >= last || rest * 1e9 >= (double)(last - now))
        return false;
    call->rest_until = now + (uint64_t)(rest * 1e9);
    return true;
}

bool client_again_on_head(struct client_call *call, long status)
{
    call->again_as = AGAIN_NOT;
    if (wants_another(call, status))
        call->again_as = AGAIN_IDENTIFIED;
    else if (is_listed(&call->retry, status) && can_rest(call, asked_rest(call)))
        call->again_as = AGAIN_RESTED;
    return call->again_as != AGAIN_NOT;
}

bool client_again_on_fault(struct client_call *call, int error)
{
    static const int passing[] = {-ECONNREFUSED, -ECONNRESET, -ENETUNREACH, -EHOSTUNREACH,
                                  -ENOENT,       -ETIMEDOUT,  -EPIPE};
    long sent = 0;
    bool passes = false;
    if (call->retry.times == 0)
        return false;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        passes = passes || passing[i] == error;
    curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    return passes && (sent == 0 || client_method_is_idempotent(call->method)) && can_rest(call, 0);
}

bool client_again_on_fake(struct client_call *call, const struct client_response *res)
{
    bool is = res->error == 0 && is_listed(&call->retry, res->status) &&
              call->repeats < call->retry.times;
    call->repeats += is;
    return is;
}

/* ---- rest ---- */

static void on_rest_over(uv_timer_t *timer);

/* The timer ends with the first of them. */
static void arm(struct client *client)
{
    uint64_t now = uv_hrtime(), first = UINT64_MAX;
    list_each(node, &client->resting)
    {
        uint64_t until = container_of(node, struct client_call, in_resting)->rest_until;
        first = until < first ? until : first;
    }
    if (first == UINT64_MAX)
        return;
    uv_update_time(client->loop);
    uv_timer_start(&client->rest, on_rest_over, first > now ? (first - now) / 1000000 + 1 : 0, 0);
}

/* A callback may end any call: the walk begins anew after each. */
static bool wake_one(struct client *client, uint64_t now)
{
    list_each(node, &client->resting)
    {
        struct client_call *call = container_of(node, struct client_call, in_resting);
        struct err err;
        if (call->rest_until > now)
            continue;
        list_remove(&call->in_resting);
        int rc = call->go_on(call, &err);
        if (rc != 0)
            client_call_end(call, rc, err.text);
        return true;
    }
    return false;
}

static void on_rest_over(uv_timer_t *timer)
{
    struct client *client = timer->data;
    uint64_t now = uv_hrtime();
    client->open++; /* callbacks may free the client */
    while (client->multi != NULL && wake_one(client, now)) {
    }
    if (client->multi != NULL)
        arm(client);
    client_unref(client);
}

void client_again_rest(struct client_call *call,
                       int (*go_on)(struct client_call *call, struct err *err))
{
    call->repeats++;
    if (call->authorization.len > 0)
        call->identified = false; /* what it has may be over by then */
    call->go_on = go_on;
    buf_clear(&call->received);
    list_push(&call->client->resting, &call->in_resting);
    arm(call->client);
}
