/* A call that is out: the time it has, where libcurl does not keep it, and its one end. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { TICK_MS = 200 };

/* ---- the end ---- */

static void keep_or_free_handle(struct client *client, CURL *easy)
{
    if (easy != NULL && client->multi != NULL && client->spare_count < CLIENT_SPARE_HANDLES) {
        curl_easy_reset(easy);
        client->spare[client->spare_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

void client_call_free(struct client_call *call)
{
    list_remove(&call->node);
    list_remove(&call->in_timed);
    list_remove(&call->in_lively);
    list_remove(&call->in_lookup);
    list_remove(&call->in_parked);
    list_remove(&call->in_resting);
    if (call->loan != NULL)
        call->credential.release(call->loan);
    client_socket_give_up(call);
    if (call->easy != NULL)
        keep_or_free_handle(call->client, call->easy);
    curl_slist_free_all(call->lines);
    curl_slist_free_all(call->found);
    decoding_free(call->decoder);
    curl_url_cleanup(call->url);
    buf_free(&call->received);
    buf_free(&call->sent);
    arena_free(&call->arena);
    free(call);
}

void client_call_end(struct client_call *call, int error, const char *text)
{
    curl_multi_remove_handle(call->client->multi, call->easy);
    struct client_response res = {.error = error, .error_text = text};
    if (call->authorization.len > 0)
        client_hide_token(call);
    if (error == 0 && client_read_head(call, &res) != 0)
        res = (struct client_response){.error = -ENOMEM, .error_text = "out of memory (ENOMEM)"};
    if (res.error == 0 || call->on_stream != NULL)
        res.body = buf_str(&call->received); /* of a stream, what came before an error counts */
    list_remove(&call->node);                /* first, as the callback may free the client */
    call->done(call->arg, &res);
    client_call_free(call);
}

/* ---- time ---- */

/* While nobody takes what came, or gives what is to be sent, the peer is not the one who is silent.
 */
static bool is_overdue(struct client_call *call, uint64_t now)
{
    if ((call->on_stream != NULL && call->received.len > 0) || call->body_waits)
        call->deadline = now + call->silence;
    return now >= call->deadline;
}

static void end_overdue(struct client_call *call)
{
    struct err err;
    if (!list_is_empty(&call->in_parked))
        err_set(&err, 0, "outbound '%.*s': no token in time (ETIMEDOUT)", STR_ARG(call->as));
    else
        err_set(&err, 0, "%s",
                list_is_empty(&call->in_lookup) ? "connection timed out (ETIMEDOUT)"
                                                : "host not found in time (ETIMEDOUT)");
    client_call_end(call, -ETIMEDOUT, err.text);
}

/* A callback may end any call: the walk begins anew after each. */
static bool end_one(struct client *client, uint64_t now)
{
    /* A call that ends leaves this list, which the check does not see. */
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    list_each(node, &client->timed)
    {
        struct client_call *call = container_of(node, struct client_call, in_timed);
        if (is_overdue(call, now)) {
            end_overdue(call);
            return true;
        }
    }
    return false;
}

static void on_tick(uv_timer_t *tick)
{
    struct client *client = tick->data;
    uint64_t now = uv_hrtime();
    while (client->multi != NULL && end_one(client, now)) {
    }
    if (client->multi != NULL && list_is_empty(&client->timed))
        uv_timer_stop(tick);
}

void client_call_watch(struct client_call *call)
{
    struct client *client = call->client;
    list_remove(&call->in_timed);
    list_push(&client->timed, &call->in_timed);
    if (!uv_is_active((uv_handle_t *)&client->tick))
        uv_timer_start(&client->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- the client's memory ---- */

void client_unref(struct client *client)
{
    if (--client->open == 0)
        free(client);
}

void client_on_handle_closed(uv_handle_t *handle)
{
    client_unref(handle->data);
}
