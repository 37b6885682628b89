/* Streamed answers: told piece by piece, held back while nobody takes them.
 *
 * libcurl's callbacks only note what has come; the owners are told when libcurl has returned. */
#include "client/client_internal.h"

#include <stdio.h>

#include "base/limits.h"

static void note(struct client_call *call)
{
    list_remove(&call->in_lively);
    list_push(&call->client->lively, &call->in_lively);
}

/* ---- from within libcurl ---- */

void client_stream_on_head(struct client_call *call)
{
    call->head_done = true;
    curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, 0L); /* silence is limited, not the whole */
    call->deadline = uv_hrtime() + call->silence;
    client_call_watch(call);
    note(call);
}

/* Keeps what a request that is made again begins with, as long as it is little. */
static void keep_sent(struct client_call *call, const char *bytes, size_t len)
{
    if (!call->sent_more && call->sent.len + len <= LIMIT_FETCH_STREAM)
        buf_add(&call->sent, bytes, len);
    else
        call->sent_more = true;
    call->sent_more |= buf_failed(&call->sent);
    if (call->sent_more)
        buf_free(&call->sent);
    call->resent = call->sent.len;
}

size_t client_stream_read_body(char *out, size_t size, size_t count, void *arg)
{
    struct client_call *call = arg;
    struct str again = str_skip(buf_str(&call->sent), call->resent);
    if (again.len > 0) {
        again.len = again.len < size * count ? again.len : size * count;
        memcpy(out, again.ptr, again.len);
        call->resent += again.len;
        return again.len;
    }
    long got = call->read_body(call->body_arg, out, size * count);
    call->body_waits = got == 0;
    if (got == CLIENT_BODY_END)
        return 0;
    if (got == CLIENT_BODY_BROKEN)
        return CURL_READFUNC_ABORT;
    if (got == 0)
        return CURL_READFUNC_PAUSE;
    call->deadline = uv_hrtime() + call->silence;
    keep_sent(call, out, (size_t)got);
    return (size_t)got;
}

int client_stream_on_rewind(void *arg, curl_off_t offset, int origin)
{
    struct client_call *call = arg;
    if (offset != 0 || origin != SEEK_SET || call->sent_more)
        return CURL_SEEKFUNC_FAIL;
    call->resent = 0;
    return CURL_SEEKFUNC_OK;
}

size_t client_stream_on_body(struct client_call *call, const char *bytes, size_t len)
{
    if (!call->head_done)
        return len;
    if (call->received.len >= LIMIT_FETCH_STREAM) {
        call->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    buf_add(&call->received, bytes, len);
    if (buf_failed(&call->received)) {
        call->fault = FAULT_MEMORY;
        return 0;
    }
    call->deadline = uv_hrtime() + call->silence;
    note(call);
    return len;
}

/* ---- to the owners ---- */

void client_stream_tell(struct client *client)
{
    while (client->multi != NULL && !list_is_empty(&client->lively)) {
        struct client_call *call = container_of(client->lively.next, struct client_call, in_lively);
        list_remove(&call->in_lively);
        call->on_stream(call->arg);
    }
}

bool client_stream_head(struct client_call *call, struct client_response *res)
{
    return call->head_done && client_read_head(call, res) == 0;
}

struct str client_stream_bytes(const struct client_call *call)
{
    return buf_str(&call->received);
}

void client_stream_take(struct client_call *call)
{
    buf_clear(&call->received);
    if (!call->paused)
        return;
    call->paused = false;
    /* may bring bytes before it returns */
    curl_easy_pause(call->easy, call->body_waits ? CURLPAUSE_SEND : CURLPAUSE_CONT);
}

void client_body_ready(struct client_call *call)
{
    if (!call->body_waits)
        return;
    call->body_waits = false;
    curl_easy_pause(call->easy, call->paused ? CURLPAUSE_RECV : CURLPAUSE_CONT);
}
