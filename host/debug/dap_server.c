/* Connections of debuggers. A client that speaks nonsense, or that reads nothing of what it is
 * sent, is closed; what it had made stand goes on. */
#include "debug/dap_server.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "debug/dap_frame.h"

struct dap_server {
    uv_tcp_t tcp;
    struct dap_place place;
    struct list clients;
    unsigned handles; /* of the loop: our own and those of clients */
    bool closing;
};

struct client {
    uv_tcp_t tcp;
    struct list node;
    struct dap_server *server;
    struct dap *dap; /* owned; NULL: it is being closed */
    struct dap_frames frames;
    char in[16 * 1024];
};

struct writing {
    uv_write_t request;
    char head[64];
    char body[];
};

static void end_handle(struct dap_server *server)
{
    if (--server->handles == 0 && server->closing)
        free(server);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = container_of((uv_tcp_t *)handle, struct client, tcp);
    struct dap_server *server = client->server;
    dap_frame_free(&client->frames);
    free(client);
    end_handle(server);
}

static void close_client(struct client *client)
{
    struct dap *dap = client->dap;
    if (dap == NULL)
        return;
    client->dap = NULL;
    list_remove(&client->node);
    dap_free(dap);
    uv_close((uv_handle_t *)&client->tcp, on_client_closed);
}

/* The last words are read by whoever still reads. */
static void on_shut(uv_shutdown_t *request, int status)
{
    struct client *client = container_of((uv_tcp_t *)request->handle, struct client, tcp);
    (void)status;
    free(request);
    if (!uv_is_closing((uv_handle_t *)&client->tcp))
        uv_close((uv_handle_t *)&client->tcp, on_client_closed);
}

static void say_good_bye(struct client *client)
{
    struct dap *dap = client->dap;
    uv_shutdown_t *request = malloc(sizeof(*request));
    client->dap = NULL;
    list_remove(&client->node);
    dap_free(dap);
    uv_read_stop((uv_stream_t *)&client->tcp);
    if (request != NULL && uv_shutdown(request, (uv_stream_t *)&client->tcp, on_shut) == 0)
        return;
    free(request);
    uv_close((uv_handle_t *)&client->tcp, on_client_closed);
}

/* ---- out ---- */

static void on_written(uv_write_t *request, int status)
{
    struct client *client = container_of((uv_tcp_t *)request->handle, struct client, tcp);
    free(container_of(request, struct writing, request));
    if (status != 0)
        close_client(client);
}

/* May be called while a request of the client is handled, or from anywhere in the loop: so a client
 * that is lost is not closed here; its next read, or the write's end, tells. */
static void on_send(void *arg, struct str message)
{
    struct client *client = arg;
    struct writing *writing = client->dap != NULL ? malloc(sizeof(*writing) + message.len) : NULL;
    if (writing == NULL)
        return;
    memcpy(writing->body, message.ptr, message.len);
    int head =
        snprintf(writing->head, sizeof(writing->head), "Content-Length: %zu\r\n\r\n", message.len);
    const uv_buf_t parts[] = {uv_buf_init(writing->head, (unsigned)head),
                              uv_buf_init(writing->body, (unsigned)message.len)};
    uv_stream_t *stream = (uv_stream_t *)&client->tcp;
    if (uv_stream_get_write_queue_size(stream) > LIMIT_DEBUG_OUTPUT ||
        uv_write(&writing->request, stream, parts, 2, on_written) != 0)
        free(writing);
}

/* ---- in ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *client = container_of((uv_tcp_t *)handle, struct client, tcp);
    (void)suggested;
    *buf = uv_buf_init(client->in, sizeof(client->in));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct client *client = container_of((uv_tcp_t *)stream, struct client, tcp);
    struct str message;
    enum dap_frame frame = DAP_FRAME_MORE;
    if (client->dap == NULL || count == 0)
        return;
    if (count < 0 || !dap_frame_add(&client->frames, (struct str){buf->base, (size_t)count}) ||
        uv_stream_get_write_queue_size(stream) > LIMIT_DEBUG_OUTPUT) {
        close_client(client);
        return;
    }
    while ((frame = dap_frame_next(&client->frames, &message)) == DAP_FRAME_MESSAGE) {
        if (!dap_take(client->dap, message)) {
            say_good_bye(client);
            return;
        }
    }
    if (frame == DAP_FRAME_MORE)
        return;
    log_message(LOG_WARN, "a debugger's connection ends: %s", client->frames.why);
    close_client(client);
}

/* Who is not attached makes room, the one that came first. */
static void make_room(struct dap_server *server)
{
    unsigned count = 0;
    list_each(node, &server->clients) count++;
    list_each(node, &server->clients)
    {
        struct client *client = container_of(node, struct client, node);
        if (count >= LIMIT_DEBUG_CLIENTS && client->dap != server->place.attached) {
            close_client(client);
            return;
        }
    }
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct dap_server *server = container_of((uv_tcp_t *)stream, struct dap_server, tcp);
    if (status != 0)
        return;
    make_room(server);
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL || uv_tcp_init(server->tcp.loop, &client->tcp) != 0) {
        free(client);
        return;
    }
    server->handles++;
    client->server = server;
    list_init(&client->node);
    list_push(&server->clients, &client->node);
    client->dap = dap_new(&server->place, on_send, client);
    if (uv_accept(stream, (uv_stream_t *)&client->tcp) == 0 && client->dap != NULL &&
        uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read) == 0)
        return;
    list_remove(&client->node);
    dap_free(client->dap);
    client->dap = NULL;
    uv_close((uv_handle_t *)&client->tcp, on_client_closed);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
    end_handle(container_of((uv_tcp_t *)handle, struct dap_server, tcp));
}

struct dap_server *dap_server_new(uv_loop_t *loop, int fd, const struct dap_options *options)
{
    struct dap_server *server = calloc(1, sizeof(*server));
    if (server == NULL || uv_tcp_init(loop, &server->tcp) != 0) {
        free(server);
        return NULL;
    }
    server->place.options = *options;
    server->handles = 1;
    list_init(&server->clients);
    if (uv_tcp_open(&server->tcp, fd) == 0 &&
        uv_listen((uv_stream_t *)&server->tcp, LIMIT_DEBUG_CLIENTS, on_connection) == 0)
        return server;
    dap_server_close(server);
    return NULL;
}

void dap_server_reloaded(struct dap_server *server)
{
    if (server != NULL && server->place.attached != NULL)
        dap_reloaded(server->place.attached);
}

void dap_server_begin_run(struct dap_server *server)
{
    debugger_begin_run(&server->place.debugger);
}

bool dap_server_stands(const struct dap_server *server)
{
    return debugger_stands(&server->place.debugger);
}

bool dap_server_is_attached(const struct dap_server *server)
{
    return server->place.attached != NULL;
}

void dap_server_terminate(struct dap_server *server)
{
    if (server->place.attached != NULL)
        dap_terminate(server->place.attached);
}

void dap_server_tell(struct dap_server *server, struct str text)
{
    const struct debugger_listener *listener = server->place.debugger.listener;
    if (server->place.attached != NULL)
        listener->output(listener->arg, text, NULL, 0);
}

void dap_server_close(struct dap_server *server)
{
    if (server == NULL)
        return;
    server->closing = true;
    while (!list_is_empty(&server->clients))
        close_client(container_of(server->clients.next, struct client, node));
    uv_close((uv_handle_t *)&server->tcp, on_closed);
}
