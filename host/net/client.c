/* libcurl's multi interface on the loop.
 *
 * libcurl says which sockets to watch (on_socket) and when to be woken (on_timeout); both wake-ups
 * end in drive(), which takes the finished transfers out and is the only place that calls back.
 * None of it runs inside of libcurl, so a callback may start, cancel or free what it likes. */
#include "net/client_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/client_rules.h"

/* A socket of libcurl's under watch. */
struct watch {
    struct list node;
    uv_poll_t poll;
    struct client *client;
    curl_socket_t fd; /* borrowed from libcurl */
};

/* ---- the end of a call ---- */

static void keep_or_free_handle(struct client *client, CURL *easy)
{
    if (easy != NULL && client->multi != NULL && client->spare_count < CLIENT_SPARE_HANDLES) {
        curl_easy_reset(easy);
        client->spare[client->spare_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

static void call_free(struct client_call *call)
{
    list_remove(&call->node);
    list_remove(&call->in_streams);
    list_remove(&call->in_lively);
    if (call->easy != NULL)
        keep_or_free_handle(call->client, call->easy);
    curl_slist_free_all(call->lines);
    curl_url_cleanup(call->url);
    buf_free(&call->received);
    arena_free(&call->arena);
    free(call);
}

void client_call_end(struct client_call *call, int error, const char *text)
{
    curl_multi_remove_handle(call->client->multi, call->easy);
    struct client_response res = {.error = error, .error_text = text};
    if (call->on_stream != NULL)
        res.body = buf_str(&call->received); /* what came before an error counts */
    char *url = NULL;
    if (error == 0) {
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &res.status);
        curl_url_get(call->url, CURLUPART_URL, &url, 0);
        res.url = str_from(url);
        res.body = buf_str(&call->received);
        if (client_collect_headers(call, &res) != 0) {
            res =
                (struct client_response){.error = -ENOMEM, .error_text = "out of memory (ENOMEM)"};
        }
    }
    list_remove(&call->node); /* first, as the callback may free the client */
    call->done(call->arg, &res);
    curl_free(url);
    call_free(call);
}

/* A transfer has ended: go on with its redirect, or report. */
static void on_hop_done(struct client_call *call, CURLcode result)
{
    struct err err = {.text = ""};
    curl_multi_remove_handle(call->client->multi, call->easy);
    if (result != CURLE_OK) {
        int code = client_explain(call, result, &err);
        client_call_end(call, code, err.text);
        return;
    }
    const char *location = client_hop_location(call);
    int code = location != NULL ? client_hop_follow(call, location, &err) : 0;
    if (code != 0 && err.text[0] == '\0') {
        client_describe_errno(&err, code);
    }
    if (location == NULL || code != 0) {
        client_call_end(call, code, err.text);
    }
}

/* ---- the loop ---- */

/* Takes out what has ended. The client's memory outlives this, even if a callback frees it. */
static void drain(struct client *client)
{
    CURLMsg *message;
    int left;
    while (client->multi != NULL &&
           (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        CURLcode result = message->data.result; /* the message goes with its handle */
        char *call = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        on_hop_done((struct client_call *)(void *)call, result);
    }
}

static void client_unref(struct client *client)
{
    if (--client->open == 0) {
        free(client);
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

static void drive(struct client *client, curl_socket_t fd, int events)
{
    int running;
    CURLMcode code = curl_multi_socket_action(client->multi, fd, events, &running);
    if (code == CURLM_OUT_OF_MEMORY) { /* in the midst of which call is not told */
        list_each(node, &client->calls) container_of(node, struct client_call, node)->unwatched =
            true;
        client->unwatched = true;
    }
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
    if (timeout_ms < 0) {
        return uv_timer_stop(&client->timer);
    }
    return uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
}

/* ---- the interface ---- */

struct client *client_new(uv_loop_t *loop)
{
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return NULL;
    }
    initialised = true;
    struct client *client = calloc(1, sizeof(*client));
    CURLM *multi = client != NULL ? curl_multi_init() : NULL;
    if (multi == NULL) {
        free(client);
        return NULL;
    }
    client->loop = loop;
    client->multi = multi;
    client->open = 1;
    list_init(&client->calls);
    list_init(&client->watches);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    client_stream_open(client);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_FETCH_CONNECTIONS);
    return client;
}

void client_on_handle_closed(uv_handle_t *handle)
{
    client_unref(handle->data);
}

void client_free(struct client *client)
{
    if (client == NULL) {
        return;
    }
    list_each(node, &client->calls)
    {
        client_cancel(container_of(node, struct client_call, node));
    }
    while (client->spare_count > 0) {
        curl_easy_cleanup(client->spare[--client->spare_count]);
    }
    curl_multi_cleanup(client->multi); /* still reports the sockets that it closes */
    client->multi = NULL;
    list_each(node, &client->watches)
    {
        watch_close(container_of(node, struct watch, node));
    }
    client_stream_close(client);
    uv_close((uv_handle_t *)&client->timer, client_on_handle_closed);
}

/* Copies what the caller lent. 0, -EINVAL for a header that cannot be sent, -ENOMEM. */
static int copy_request(struct client_call *call, const struct client_request *req, struct err *err)
{
    call->method = arena_copy(&call->arena, req->method.len > 0 ? req->method : STR("GET"));
    call->body = req->body.ptr != NULL ? arena_copy(&call->arena, req->body) : req->body;
    call->headers = arena_alloc(&call->arena, (req->header_count + 1) * sizeof(struct header));
    if (call->method.ptr == NULL || call->headers == NULL ||
        (req->body.ptr != NULL && call->body.ptr == NULL)) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (!header_name_is_valid(call->method)) {
        return err_set(err, -EINVAL, "method is not valid");
    }
    for (unsigned i = 0; i < req->header_count; i++) {
        struct header from = req->headers[i];
        struct header to = {arena_copy(&call->arena, from.name),
                            arena_copy(&call->arena, str_trim(from.value))};
        if (!header_name_is_valid(from.name) || !header_value_is_valid(from.value)) {
            return err_set(err, -EINVAL, "header %u is not valid", i + 1);
        }
        if (to.name.ptr == NULL || to.value.ptr == NULL) {
            return err_set(err, -ENOMEM, "out of memory");
        }
        if (!client_header_is_left_out(from.name)) {
            call->headers[call->header_count++] = to;
        }
    }
    return 0;
}

static int start_fake(struct client_call *call, const struct client_request *req, struct err *err)
{
    if (call->on_stream != NULL) {
        call_free(call);
        return err_set(err, -EINVAL, "a streamed answer cannot be had in a test");
    }
    call->client->fake->start(call->client->fake->arg, call, req);
    return 0;
}

int client_start(struct client *client, const struct client_request *req, client_done_fn done,
                 void *arg, struct client_call **out, struct err *err)
{
    unsigned reach;
    int code;
    CURLU *url = client_url_admit(&req->rules, client_url_parse(req->url, err), &reach, &code, err);
    if (url == NULL) {
        return code;
    }
    struct client_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        curl_url_cleanup(url);
        return err_set(err, -ENOMEM, "out of memory");
    }
    *call = (struct client_call){.client = client,
                                 .url = url,
                                 .rules = req->rules,
                                 .reach = reach,
                                 .max_redirects = req->max_redirects,
                                 .fresh = req->fresh,
                                 .deadline = uv_hrtime() + (uint64_t)(req->timeout * 1e9),
                                 .max_bytes = req->max_bytes,
                                 .done = done,
                                 .on_stream = req->on_stream,
                                 .silence = (uint64_t)(req->timeout * 1e9),
                                 .arg = arg};
    arena_init(&call->arena);
    list_init(&call->in_streams);
    list_init(&call->in_lively);
    list_push(&client->calls, &call->node);
    code = copy_request(call, req, err);
    if (code == 0 && client->fake != NULL) {
        code = start_fake(call, req, err);
        *out = code == 0 ? call : NULL;
        return code;
    }
    call->easy = client->spare_count > 0 ? client->spare[--client->spare_count] : curl_easy_init();
    if (code == 0 && (call->easy == NULL || (code = client_hop_begin(call)) != 0)) {
        code = client_describe_errno(err, code != 0 ? code : -ENOMEM);
    }
    if (code != 0) {
        call_free(call);
        return code;
    }
    *out = call;
    return 0;
}

void client_cancel(struct client_call *call)
{
    if (call->easy != NULL) {
        curl_multi_remove_handle(call->client->multi, call->easy);
    } else {
        call->client->fake->gone(call->client->fake->arg, call);
    }
    call_free(call);
}

/* ---- instead of the network ---- */

void client_set_fake(struct client *client, const struct client_fake *fake)
{
    client->fake = fake;
}

void client_answer(struct client_call *call, const struct client_response *res)
{
    list_remove(&call->node);
    call->done(call->arg, res);
    call_free(call);
}

const char *client_library_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}
