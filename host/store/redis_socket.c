/* What is called back may drop the socket: `user` is NULL then, and the memory stays until libuv is
 * done with it. */
#include "store/redis_socket.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/limits.h"
#include "store/redis_command.h"
#include "store/redis_tls.h"

enum { READ_BYTES = 64 * 1024 };

struct redis_socket {
    uv_tcp_t *tcp;                        /* owned; its `data` is this */
    uv_idle_t slice;                      /* runs while replies that were read wait for a turn */
    unsigned handles;                     /* of these two, that are open */
    const struct redis_socket_user *user; /* NULL: dropped */
    void *arg;
    struct redis_session *session; /* NULL: no TLS */
    redisReader *reader;
    uv_write_t write;
    struct buf commands; /* that wait for TLS */
    struct buf sending;
    struct buf plain; /* what TLS held */
    bool writing;
    char input[READ_BYTES];
};

/* ---- its end ---- */

static void free_handle(uv_handle_t *tcp)
{
    free(tcp);
}

static void on_closed(uv_handle_t *handle)
{
    struct redis_socket *socket = handle->data;
    if (--socket->handles > 0)
        return;
    redis_tls_end(socket->session);
    redisReaderFree(socket->reader);
    buf_free(&socket->commands);
    buf_free(&socket->sending);
    buf_free(&socket->plain);
    free(socket->tcp);
    free(socket);
}

void redis_socket_drop(struct redis_socket *socket)
{
    if (socket == NULL)
        return;
    socket->user = NULL;
    uv_close((uv_handle_t *)socket->tcp, on_closed);
    uv_close((uv_handle_t *)&socket->slice, on_closed);
}

static void lose(struct redis_socket *socket, const char *why, bool closed)
{
    if (socket->user != NULL)
        socket->user->on_lost(socket->arg, why, closed);
}

/* By what was called back. */
static bool is_dropped(const struct redis_socket *socket)
{
    return socket->user == NULL;
}

/* ---- out ---- */

static void write_out(struct redis_socket *socket);

static void on_written(uv_write_t *write, int status)
{
    struct redis_socket *socket = container_of(write, struct redis_socket, write);
    socket->writing = false;
    redis_command_clear(&socket->sending);
    if (socket->user == NULL)
        return;
    if (status < 0)
        lose(socket, uv_strerror(status), false);
    else
        write_out(socket);
    if (socket->user != NULL && redis_socket_has_room(socket))
        socket->user->on_room(socket->arg);
}

/* Without TLS what is to be sent is what was given. */
static int fill(struct redis_socket *socket, struct err *err)
{
    if (socket->session != NULL)
        return redis_tls_give(socket->session, &socket->commands, &socket->sending, err);
    struct buf empty = socket->sending;
    socket->sending = socket->commands;
    socket->commands = empty;
    return 0;
}

static void write_out(struct redis_socket *socket)
{
    struct err err;
    if (socket->writing)
        return;
    if (fill(socket, &err) != 0) {
        lose(socket, err.text, false);
        return;
    }
    if (socket->sending.len == 0)
        return;
    const uv_buf_t bytes = uv_buf_init(socket->sending.data, (unsigned)socket->sending.len);
    socket->writing = true;
    int rc = uv_write(&socket->write, (uv_stream_t *)socket->tcp, &bytes, 1, on_written);
    if (rc < 0)
        lose(socket, uv_strerror(rc), false);
}

bool redis_socket_has_room(const struct redis_socket *socket)
{
    return !socket->writing && socket->commands.len == 0;
}

void redis_socket_send(struct redis_socket *socket, struct buf *commands)
{
    struct buf empty = socket->commands;
    socket->commands = *commands;
    *commands = empty;
    write_out(socket);
}

/* ---- in ---- */

static void on_slice(uv_idle_t *slice);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct redis_socket *socket = handle->data;
    (void)size;
    *buf = uv_buf_init(socket->input, READ_BYTES);
}

/* Who is answered goes on at once: what takes longer than a slice goes on in the next turn. */
static void give_replies(struct redis_socket *socket)
{
    uint64_t end_ns = uv_hrtime() + LIMIT_KV_SLICE_NS;
    void *reply;
    do {
        if (redisReaderGetReply(socket->reader, &reply) != REDIS_OK) {
            lose(socket, socket->reader->errstr, false);
            return;
        }
        if (reply == NULL) {
            uv_idle_stop(&socket->slice);
            uv_read_start((uv_stream_t *)socket->tcp, on_alloc, on_read);
            return;
        }
        socket->user->on_reply(socket->arg, reply);
        freeReplyObject(reply);
        if (!is_dropped(socket) && uv_hrtime() >= end_ns) {
            uv_read_stop((uv_stream_t *)socket->tcp);
            uv_idle_start(&socket->slice, on_slice);
            return;
        }
    } while (!is_dropped(socket));
}

static void on_slice(uv_idle_t *slice)
{
    give_replies(slice->data);
}

static void take(struct redis_socket *socket, struct str bytes)
{
    struct err err;
    if (socket->session != NULL) {
        buf_clear(&socket->plain);
        if (redis_tls_take(socket->session, bytes, &socket->plain, &err) != 0) {
            lose(socket, err.text, false);
            return;
        }
        bytes = buf_str(&socket->plain);
        write_out(socket);
    }
    if (socket->user == NULL || bytes.len == 0)
        return;
    if (redisReaderFeed(socket->reader, bytes.ptr, bytes.len) != REDIS_OK)
        lose(socket, socket->reader->errstr, false);
    else
        give_replies(socket);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct redis_socket *socket = stream->data;
    if (count < 0)
        lose(socket, count == UV_EOF ? "it closed the connection" : uv_strerror((int)count), true);
    else if (count > 0)
        take(socket, (struct str){buf->base, (size_t)count});
}

/* ---- the interface ---- */

static struct redis_socket *make(uv_tcp_t *tcp, struct redis_server *server, const char *host,
                                 struct err *err)
{
    struct redis_socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL || (socket->reader = redisReaderCreate()) == NULL) {
        free(socket);
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    if (server->address->tls) {
        socket->session = redis_tls_begin(&server->tls, server->address, host, err);
        if (socket->session == NULL) {
            redisReaderFree(socket->reader);
            free(socket);
            return NULL;
        }
    }
    socket->tcp = tcp;
    return socket;
}

struct redis_socket *redis_socket_new(uv_tcp_t *tcp, struct redis_server *server, const char *host,
                                      const struct redis_socket_user *user, void *arg,
                                      struct err *err)
{
    struct redis_socket *socket = make(tcp, server, host, err);
    if (socket == NULL) {
        uv_close((uv_handle_t *)tcp, free_handle);
        return NULL;
    }
    socket->user = user;
    socket->arg = arg;
    socket->handles = 2;
    uv_idle_init(tcp->loop, &socket->slice);
    socket->slice.data = tcp->data = socket;
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, 60);
    int rc = uv_read_start((uv_stream_t *)tcp, on_alloc, on_read);
    if (rc == 0)
        return socket;
    err_set(err, rc, "%s", uv_strerror(rc));
    redis_socket_drop(socket);
    return NULL;
}
