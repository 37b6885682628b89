/* libcurl's multi interface on the loop.
 *
 * libcurl says which sockets to watch (on_socket) and when to be woken (on_timeout); both wake-ups
 * end in drive(), which takes the finished transfers out and is the only place that calls back.
 * None of it runs inside of libcurl, so a callback may start, cancel or free what it likes. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"

/* A socket of libcurl's under watch. */
struct watch {
    struct list node;
    uv_poll_t poll;
    struct client *client;
    curl_socket_t fd; /* borrowed from libcurl */
};

/* ---- turns ---- */

static bool is_sound(struct client *client);

/* Takes out what has ended. The client's memory outlives this, even if a callback frees it. */
static void drain(struct client *client)
{
    CURLMsg *message;
    int left;
    while (client->multi != NULL &&
           (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        CURLcode result = message->data.result; /* the message goes with its handle */
        char *arg = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &arg);
        struct client_call *call = (struct client_call *)(void *)arg;
        call->on_end(call, result);
    }
}

/* Calls whose sockets could not be watched: nothing would wake them but their timeout. */
static void end_unwatched(struct client *client)
{
    while (client->multi != NULL && client->unwatched) {
        struct client_call *found = NULL;
        /* A call that ends leaves this list, which the check does not see. */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        list_each(node, &client->calls)
        {
            struct client_call *call = container_of(node, struct client_call, node);
            if (call->unwatched) /* NOLINT(clang-analyzer-unix.Malloc) */
                found = call;
        }
        client->unwatched = found != NULL;
        if (found != NULL)
            client_call_end(found, -ENOMEM, "out of memory (ENOMEM)");
    }
}

/* Out of memory, in the midst of which call is not told: all end, and so does the handle.
 * libcurl 7.88 leaves the entry of a socket half made and keeps it beyond the connection's end; it
 * divides by zero when a socket of the same number comes to it. */
static void lose_calls(struct client *client)
{
    list_each(node, &client->calls)
    {
        struct client_call *call = container_of(node, struct client_call, node);
        curl_multi_remove_handle(client->multi, call->easy);
        call->unwatched = true;
    }
    client->unwatched = client->spoilt = true;
    (void)!is_sound(client); /* if not now, then before the next call */
}

static void drive(struct client *client, curl_socket_t fd, int events)
{
    int running;
    CURLMcode code = curl_multi_socket_action(client->multi, fd, events, &running);
    if (code == CURLM_OUT_OF_MEMORY)
        lose_calls(client);
    client->open++; /* callbacks may free the client */
    client_stream_tell(client);
    drain(client);
    end_unwatched(client);
    client_unref(client);
}

static void on_timer(uv_timer_t *timer)
{
    drive(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = container_of(poll, struct watch, poll);
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    drive(watch->client, watch->fd, flags);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = container_of((uv_poll_t *)(void *)handle, struct watch, poll);
    client_unref(watch->client);
    free(watch);
}

static void watch_close(struct watch *watch)
{
    list_remove(&watch->node);
    /* Off the descriptor at once: libcurl closes it as soon as we return. */
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *watch_new(struct client *client, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL || uv_poll_init_socket(client->loop, &watch->poll, fd) != 0) {
        free(watch);
        return NULL;
    }
    watch->client = client;
    watch->fd = fd;
    list_push(&client->watches, &watch->node);
    client->open++;
    return watch;
}

static void mark_unwatched(struct client *client, CURL *easy)
{
    list_each(node, &client->calls)
    {
        struct client_call *call = container_of(node, struct client_call, node);
        call->unwatched |= call->easy == easy;
    }
    client->unwatched = true;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct client *client = arg;
    struct watch *watch = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL) {
            curl_multi_assign(client->multi, fd, NULL);
            watch_close(watch);
        }
        return 0;
    }
    if (watch == NULL) {
        watch = watch_new(client, fd);
        if (watch == NULL) { /* an error here would end the multi handle for good */
            mark_unwatched(client, easy);
            return 0;
        }
        curl_multi_assign(client->multi, fd, watch);
    }
    int events = (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    uv_poll_start(&watch->poll, events, on_poll);
    return 0;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct client *client = arg;
    if (timeout_ms < 0)
        return uv_timer_stop(&client->timer);
    return uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
}

/* ---- the handle ---- */

bool client_multi_open(struct client *client)
{
    CURLM *multi = curl_multi_init();
    if (multi == NULL)
        return false;
    client->multi = multi;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_FETCH_CONNECTIONS);
    return true;
}

void client_multi_close(struct client *client)
{
    curl_multi_cleanup(client->multi); /* still reports the sockets that it closes */
    client->multi = NULL;
    list_each(node, &client->watches) watch_close(container_of(node, struct watch, node));
}

/* One that ran out of memory is replaced here; false where there is no memory for another. */
static bool is_sound(struct client *client)
{
    if (!client->spoilt)
        return true;
    CURLM *spoilt = client->multi;
    if (!client_multi_open(client))
        return false;
    CURLM *sound = client->multi;
    client->multi = spoilt;
    client_multi_close(client);
    client->multi = sound;
    client->spoilt = false;
    return true;
}

int client_multi_add(struct client_call *call, void (*on_end)(struct client_call *, CURLcode))
{
    call->on_end = on_end;
    return is_sound(call->client) &&
                   curl_multi_add_handle(call->client->multi, call->easy) == CURLM_OK
               ? 0
               : -ENOMEM;
}
