/* Taking connections, and what becomes of them when there is no room.
 *
 * A connection for which there is no memory is taken off the queue and closed. Where accept itself
 * fails (no descriptor, no buffers), libuv tries again and again within its callback and would
 * never come back to the loop; so the acceptor closes its handle, rests, and listens anew on a copy
 * of the descriptor that was kept for this. Meanwhile who is connected is served, and who comes
 * waits in the kernel's queue, or for another worker.
 *
 * Unix sockets are handles of TCP, too: libuv asks nothing of them that only TCP has, and what we
 * ask ourselves (TCP_CORK and the like) is refused by the kernel and not missed. */
#include "server/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pool.h"
#include "http/forwarded.h"
#include "server/conn.h"

enum { BACKLOG = 511, REST_MS = 100 };

struct acceptor {
    uv_tcp_t tcp; /* open unless `resting` or `gone` */
    struct server *server;
    struct list in_server;
    int fd; /* owned: of which `tcp` has a copy */
    enum server_door door;
    bool starved; /* a connection waits in libuv that could not be taken */
    bool resting;
    bool closing; /* `tcp` is */
    bool gone;    /* to be freed */
};

static void reject_next(struct acceptor *acceptor);
static void on_wake(uv_timer_t *timer);

static void on_rejected(uv_handle_t *handle)
{
    struct server *server = handle->data;
    server->rejecting = false;
    list_each(node, &server->acceptors)
    {
        struct acceptor *acceptor = container_of(node, struct acceptor, in_server);
        if (acceptor->starved) {
            reject_next(acceptor);
            break;
        }
    }
    server_handle_closed(server);
}

/* Without memory for a connection it is taken off the queue and closed: left there, it would keep
 * libuv from looking at the socket again. */
static void reject_next(struct acceptor *acceptor)
{
    struct server *server = acceptor->server;
    acceptor->starved = server->rejecting;
    if (server->rejecting || uv_tcp_init(server->loop, &server->reject) != 0)
        return;
    server->reject.data = server;
    server->rejecting = true;
    server->handles++;
    if (uv_accept((uv_stream_t *)&acceptor->tcp, (uv_stream_t *)&server->reject) == 0)
        server->stats.refused++;
    uv_close((uv_handle_t *)&server->reject, on_rejected);
}

/* ---- connections ---- */

static void read_address(struct conn *conn)
{
    struct sockaddr_storage address = {0};
    int len = sizeof(address);
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) == 0 &&
        address.ss_family == AF_UNIX)
        memcpy(conn->ip, FORWARDED_UNIX.ptr, FORWARDED_UNIX.len + 1);
    else
        uv_ip_name((struct sockaddr *)&address, conn->ip, sizeof(conn->ip));
    /* Of a listener for both: an IPv4 address is told as one (RFC 4291 2.5.5.2). */
    if (strncmp(conn->ip, "::ffff:", 7) == 0 && strchr(conn->ip, '.') != NULL)
        memmove(conn->ip, conn->ip + 7, strlen(conn->ip + 7) + 1);
}

/* Who the peer is will be told by itself, if it is a proxy that may. False: it is closed. */
static bool expect_announcement(struct conn *conn)
{
    const struct server_handlers *handlers = &conn->server->handlers;
    if (handlers->trusts(handlers->arg, str_from(conn->ip))) {
        conn->announced = calloc(1, sizeof(*conn->announced));
    } else if (conn->ip[0] != '\0') { /* else it has left already */
        log_message(LOG_DEBUG, "closed: %s is no proxy of `proxies`", conn->ip);
        conn->server->stats.unannounced++;
    }
    if (conn->announced == NULL)
        conn_close(conn);
    return conn->announced != NULL;
}

static struct conn *conn_new(struct server *server, enum server_door door)
{
    struct conn *conn = pool_take(sizeof(*conn));
    if (conn == NULL)
        return NULL;
    *conn = (struct conn){.server = server};
    bool speaks = conn_speak(conn, &h1_protocol) == 0;
    if (!speaks || uv_tcp_init(server->loop, &conn->tcp) != 0) {
        if (speaks)
            conn->protocol->free(conn->own);
        pool_free(conn, sizeof(*conn));
        return NULL;
    }
    conn->tcp.data = conn;
    conn->admin = door == SERVER_ADMIN;
    conn->redirects = door == SERVER_REDIRECT;
    conn->read_deadline.kind = DEADLINE_NONE;
    conn->write_deadline.kind = DEADLINE_NONE;
    list_init(&conn->in_dirty);
    list_init(&conn->read_deadline.node);
    list_init(&conn->write_deadline.node);
    list_push(&server->conns, &conn->in_server);
    server->handles++;
    server->stats.open++;
    return conn;
}

/* The next off the listener. UV_ENOMEM: it is still there. */
static int take_next(struct server *server, uv_stream_t *listener, enum server_door door)
{
    struct conn *conn = conn_new(server, door);
    if (conn == NULL)
        return UV_ENOMEM;
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0) {
        conn_close(conn);
        return 0;
    }
    read_address(conn);
    bool announced = server->handlers.trusts != NULL && !conn->admin;
    if (announced && !expect_announcement(conn))
        return 0;
    conn->secure = server->tls != NULL && door == SERVER_PUBLIC;
    if (server->stats.open > server->limits.connections || (!announced && !conn_count_in(conn))) {
        conn_turn_away(conn);
    } else if (conn->secure && (conn->tls = tls_session_new(server->tls)) == NULL) {
        conn_close(conn);
    } else {
        server->stats.accepted++;
        turn_pump(conn);
    }
    return 0;
}

/* ---- the handle ---- */

static void acceptor_free(struct acceptor *acceptor)
{
    close(acceptor->fd);
    free(acceptor);
}

static void on_closed(uv_handle_t *handle)
{
    struct acceptor *acceptor = handle->data;
    struct server *server = acceptor->server;
    acceptor->closing = false;
    if (acceptor->gone)
        acceptor_free(acceptor);
    server_handle_closed(server);
}

static void close_handle(struct acceptor *acceptor)
{
    acceptor->closing = true;
    uv_close((uv_handle_t *)&acceptor->tcp, on_closed);
}

static void rest(struct acceptor *acceptor)
{
    acceptor->resting = true;
    uv_timer_start(&acceptor->server->rest, on_wake, REST_MS, 0);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct acceptor *acceptor = stream->data;
    struct server *server = acceptor->server;
    if (status != 0) {
        server->stats.refused++;
        close_handle(acceptor);
        rest(acceptor);
        return;
    }
    server_start_clock(server);
    if (take_next(server, stream, acceptor->door) != 0)
        reject_next(acceptor);
}

/* Begins to listen. After an error the handle is closing. */
static int listen_anew(struct acceptor *acceptor)
{
    struct server *server = acceptor->server;
    int fd = fcntl(acceptor->fd, F_DUPFD_CLOEXEC, 0);
    int error = fd >= 0 ? uv_tcp_init(server->loop, &acceptor->tcp) : -errno;
    if (error != 0) {
        if (fd >= 0)
            close(fd);
        return error;
    }
    acceptor->tcp.data = acceptor;
    server->handles++;
    error = uv_tcp_open(&acceptor->tcp, fd);
    if (error != 0)
        close(fd);
    else
        error = uv_listen((uv_stream_t *)&acceptor->tcp, BACKLOG, on_connection);
    if (error != 0)
        close_handle(acceptor);
    return error;
}

/* Those that rest listen again, or rest on. */
static void on_wake(uv_timer_t *timer)
{
    struct server *server = timer->data;
    list_each(node, &server->acceptors)
    {
        struct acceptor *acceptor = container_of(node, struct acceptor, in_server);
        if (!acceptor->resting)
            continue;
        acceptor->resting = false;
        if (acceptor->closing || listen_anew(acceptor) != 0)
            rest(acceptor);
    }
}

/* ---- the interface ---- */

static void acceptor_close(struct acceptor *acceptor)
{
    list_remove(&acceptor->in_server);
    acceptor->gone = true;
    if (acceptor->resting && !acceptor->closing)
        acceptor_free(acceptor);
    else if (!acceptor->closing)
        close_handle(acceptor);
}

void acceptors_close(struct server *server, bool admin_too)
{
    list_each(node, &server->acceptors)
    {
        struct acceptor *acceptor = container_of(node, struct acceptor, in_server);
        if (admin_too || acceptor->door != SERVER_ADMIN)
            acceptor_close(acceptor);
    }
}

int acceptor_open(struct server *server, int fd, enum server_door door)
{
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    if (acceptor == NULL) {
        close(fd);
        return UV_ENOMEM;
    }
    const int unsent = LIMIT_KERNEL_UNSENT, on = 1; /* connections have it from their listener */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    acceptor->server = server;
    acceptor->fd = fd;
    acceptor->door = door;
    list_push(&server->acceptors, &acceptor->in_server);
    int error = listen_anew(acceptor);
    acceptor->resting = error != 0;
    if (error != 0)
        acceptor_close(acceptor);
    return error;
}
