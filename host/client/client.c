/* Outbound calls: the client, and how a call begins. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "client/client_rules.h"

struct client *client_new(uv_loop_t *loop)
{
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    initialised = true;
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->loop = loop;
    client->open = 1;
    list_init(&client->calls);
    list_init(&client->timed);
    list_init(&client->lively);
    list_init(&client->watches);
    list_init(&client->sockets);
    list_init(&client->resting);
    if (client_lookup_open(client) != 0) {
        free(client);
        return NULL;
    }
    if (!client_multi_open(client)) {
        client_lookup_close(client);
        client_unref(client);
        return NULL;
    }
    uv_timer_init(loop, &client->timer);
    uv_timer_init(loop, &client->tick);
    uv_timer_init(loop, &client->rest);
    client->timer.data = client->tick.data = client->rest.data = client;
    client->open += 2;
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    while (!list_is_empty(&client->calls)) /* the end of one may end others: those of its token */
        client_cancel(container_of(client->calls.next, struct client_call, node));
    while (client->spare_count > 0)
        curl_easy_cleanup(client->spare[--client->spare_count]);
    client_multi_close(client);
    client_lookup_close(client);
    uv_close((uv_handle_t *)&client->rest, client_on_handle_closed);
    uv_close((uv_handle_t *)&client->tick, client_on_handle_closed);
    uv_close((uv_handle_t *)&client->timer, client_on_handle_closed);
}

/* A method as it is sent: case counts on the wire, but nobody means "post". The Fetch standard's
 * list: "patch" is another method than "PATCH". */
struct str client_method_normal(struct str method)
{
    static const char *const names[] = {"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq_nocase(method, str_from(names[i])))
            return str_from(names[i]);
    return method;
}

/* Copies what the caller lent. 0, -EINVAL for a header that cannot be sent, -ENOMEM. */
static int copy_request(struct client_call *call, const struct client_request *req, struct err *err)
{
    call->method = arena_copy(&call->arena,
                              req->method.len > 0 ? client_method_normal(req->method) : STR("GET"));
    call->body = req->body.ptr != NULL ? arena_copy(&call->arena, req->body) : req->body;
    call->headers = arena_alloc(&call->arena, (req->header_count + 1) * sizeof(struct header));
    if (req->as.len > 0 && (call->as = arena_copy(&call->arena, req->as)).ptr == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (call->method.ptr == NULL || call->headers == NULL ||
        (req->body.ptr != NULL && call->body.ptr == NULL))
        return err_set(err, -ENOMEM, "out of memory");
    if (!header_name_is_valid(call->method))
        return err_set(err, -EINVAL, "method is not valid");
    for (unsigned i = 0; i < req->header_count; i++) {
        struct header from = req->headers[i];
        struct header to = {arena_copy(&call->arena, from.name),
                            arena_copy(&call->arena, str_trim(from.value))};
        if (!header_name_is_valid(from.name) || !header_value_is_valid(from.value))
            return err_set(err, -EINVAL, "header %u is not valid", i + 1);
        if (to.name.ptr == NULL || to.value.ptr == NULL)
            return err_set(err, -ENOMEM, "out of memory");
        if (!client_header_is_left_out(from.name))
            call->headers[call->header_count++] = to;
    }
    return 0;
}

static void ask_fake(struct client_call *call)
{
    const struct client_fake *fake = call->client->fake;
    const struct client_request seen = {.method = call->method,
                                        .url = call->asked,
                                        .headers = call->headers,
                                        .header_count = call->header_count,
                                        .body = call->body,
                                        .as = call->as};
    fake->start(fake->arg, call, &seen);
}

static int start_fake(struct client_call *call, const struct client_request *req, struct err *err)
{
    call->asked = arena_copy(&call->arena, req->url);
    if (call->on_stream != NULL || call->asked.ptr == NULL) {
        int code = call->on_stream != NULL ? -EINVAL : -ENOMEM;
        client_call_free(call);
        return err_set(err, code, "%s",
                       code == -ENOMEM ? "out of memory"
                                       : "a streamed answer cannot be had in a test");
    }
    ask_fake(call);
    return 0;
}

static struct client_call *call_new(struct client *client, const struct client_request *req,
                                    CURLU *url, unsigned reach)
{
    struct client_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    *call = (struct client_call){.client = client,
                                 .url = url,
                                 .rules = req->rules,
                                 .reach = reach,
                                 .max_redirects = req->max_redirects,
                                 .fresh = req->fresh,
                                 .no_redirect = req->no_redirect,
                                 .deadline = uv_hrtime() + (uint64_t)(req->timeout * 1e9),
                                 .max_bytes = req->max_bytes,
                                 .on_stream = req->on_stream,
                                 .read_body = req->read_body,
                                 .body_arg = req->body_arg,
                                 .body_size = req->body_size,
                                 .silence = (uint64_t)(req->timeout * 1e9)};
    if (req->retry != NULL)
        call->retry = *req->retry;
    if (req->credential != NULL)
        call->credential = *req->credential;
    arena_init(&call->arena);
    list_init(&call->in_timed);
    list_init(&call->in_lively);
    list_init(&call->in_lookup);
    list_init(&call->in_parked);
    list_init(&call->in_resting);
    list_push(&client->calls, &call->node);
    return call;
}

/* On its way, but for a fake. 0 or a negative errno with the reason. */
static int send_out(struct client_call *call, const struct client_request *req, struct err *err)
{
    struct client *client = call->client;
    call->easy = client->spare_count > 0 ? client->spare[--client->spare_count] : curl_easy_init();
    if (call->easy == NULL)
        return client_describe_errno(err, -ENOMEM);
    if (req->credential != NULL &&
        (call->loan = req->credential->borrow(req->credential, err)) == NULL)
        return -ENOMEM;
    return client_hop_start(call, err);
}

int client_start(struct client *client, const struct client_request *req, client_done_fn done,
                 void *arg, struct client_call **out, struct err *err)
{
    unsigned reach;
    int code;
    CURLU *url = client_url_admit(&req->rules, client_url_parse(req->url, err), &reach, &code, err);
    if (url == NULL)
        return code;
    struct client_call *call = call_new(client, req, url, reach);
    if (call == NULL) {
        curl_url_cleanup(url);
        return err_set(err, -ENOMEM, "out of memory");
    }
    call->done = done;
    call->arg = arg;
    code = copy_request(call, req, err);
    if (code == 0 && client->fake != NULL) {
        code = start_fake(call, req, err);
        *out = code == 0 ? call : NULL;
        return code;
    }
    if (code == 0)
        code = send_out(call, req, err);
    if (code != 0) {
        client_call_free(call);
        return code;
    }
    *out = call;
    return 0;
}

void client_cancel(struct client_call *call)
{
    if (call->easy != NULL)
        curl_multi_remove_handle(call->client->multi, call->easy);
    else
        call->client->fake->gone(call->client->fake->arg, call);
    client_call_free(call);
}

/* ---- instead of the network ---- */

bool client_is_faked(const struct client *client)
{
    return client->fake != NULL;
}

void client_set_fake(struct client *client, const struct client_fake *fake)
{
    client->fake = fake;
}

void client_answer(struct client_call *call, const struct client_response *res)
{
    if (client_again_on_fake(call, res)) {
        ask_fake(call);
        return;
    }
    list_remove(&call->node);
    call->done(call->arg, res);
    client_call_free(call);
}

const char *client_library_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}
