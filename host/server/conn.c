/* One connection: its beginning, its reading and deadlines, its end. */
#include "server/conn.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/limits.h"

enum { DISCARD_BYTES = 256 * 1024 };

const struct http_fault conn_no_room = {
    503, "client_memory", "Too much waits for clients that send or read slowly (limits.memory)"};

void conn_finish(struct server *server, struct exchange *ex)
{
    if (server->handlers.on_finished != NULL)
        server->handlers.on_finished(server->handlers.arg, ex);
    if (ex->holding.bytes > 0)
        server_hold(server, ex, 0);
    ex->conn = NULL;
    exchange_release(ex);
}

void conn_abandon(struct conn *conn, struct exchange *ex)
{
    list_remove(&ex->in_conn);
    conn->pipeline_len--;
    if (conn->reading == ex)
        conn->reading = NULL;
    if (ex->started_ns == 0) {
        server_hold(conn->server, ex, 0);
        exchange_release(ex);
        return;
    }
    conn_break_off(conn, ex);
    conn_finish(conn->server, ex);
}

static void abandon_all(struct conn *conn)
{
    while (!list_is_empty(&conn->pipeline))
        conn_abandon(conn, container_of(conn->pipeline.next, struct exchange, in_conn));
}

static void abandon_sending(struct conn *conn)
{
    conn_settle(conn);
    while (!list_is_empty(&conn->sending)) {
        struct exchange *ex = container_of(conn->sending.next, struct exchange, in_conn);
        list_remove(&ex->in_conn);
        conn_break_off(conn, ex);
        conn_finish(conn->server, ex);
    }
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *conn = handle->data;
    *buf = uv_buf_init(conn->server->input, CONN_INPUT_BYTES);
}

/* What was asked is still answered, what waits to be parsed too. */
void conn_eof(struct conn *conn)
{
    conn->peer_eof = true;
    conn->is_reading = false;
    uv_read_stop((uv_stream_t *)&conn->tcp); /* TLS has an end of its own */
    if (conn->state == CONN_LINGER || conn->h2 != NULL)
        conn_close(conn);
    else
        conn_pump(conn);
}

/* Before the last answer is out little is read; afterwards all, for the time of a linger: a byte
 * that is left unread would break the connection, and the answer might be lost (RFC 9112 9.6). */
static void discard(struct conn *conn, size_t count)
{
    conn->discarded += count;
    if (conn->discarded > DISCARD_BYTES && conn->state != CONN_LINGER) {
        uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->is_reading = false;
    }
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    if (count == UV_EOF) {
        conn_eof(conn);
    } else if (count < 0) {
        conn_close(conn);
    } else if (conn->state == CONN_LINGER || conn->done_reading) {
        discard(conn, (size_t)count);
    } else if (count > 0) {
        struct str bytes = {buf->base, (size_t)count};
        if (conn->tls != NULL)
            conn_tls_input(conn, bytes);
        else
            conn_input(conn, bytes);
        /* A read that fills its room is followed by the next at once, unless it is stopped. */
        if (bytes.len == CONN_INPUT_BYTES)
            conn_pump(conn);
        else
            server_gather(conn);
    }
}

static void update_reading(struct conn *conn)
{
    bool room = conn->done_reading || (conn->stash.len == 0 && conn_may_take(conn));
    bool wanted = !conn->peer_eof &&
                  (conn->state == CONN_LINGER || (room && conn->discarded <= DISCARD_BYTES));
    if (wanted == conn->is_reading)
        return;
    uv_stream_t *stream = (uv_stream_t *)&conn->tcp;
    int error = wanted ? uv_read_start(stream, on_alloc, on_read) : uv_read_stop(stream);
    if (error != 0)
        conn_close(conn);
    else
        conn->is_reading = wanted;
}

/* ---- deadlines ---- */

static enum deadline_kind deadline_of(const struct conn *conn)
{
    enum deadline_kind idle = conn->server->draining ? DEADLINE_DRAIN : DEADLINE_IDLE;
    if (conn->tls != NULL && !tls_is_open(conn->tls))
        return conn->server->draining ? DEADLINE_DRAIN : DEADLINE_HANDSHAKE;
    if (!conn->is_reading || conn->done_reading)
        return DEADLINE_NONE;
    if (conn->h2 != NULL && h2_is_reading(conn->h2))
        return DEADLINE_BODY;
    if (conn->h2 != NULL && !h2_is_idle(conn->h2))
        return DEADLINE_NONE;
    if (conn_is_in_body(conn))
        return DEADLINE_BODY;
    if (conn->reading != NULL)
        return DEADLINE_HEAD;
    if (list_is_empty(&conn->pipeline) && conn_unsent(conn) == 0)
        return idle;
    return DEADLINE_NONE;
}

static void update_deadline(struct conn *conn)
{
    enum deadline_kind kind = deadline_of(conn);
    bool goes_on = kind == DEADLINE_BODY && conn->fresh && conn->reading != NULL;
    if (kind != conn->read_deadline.kind || goes_on)
        deadline_set(conn->server, &conn->read_deadline, kind);
    conn->fresh = false;
}

bool conn_has_input(const struct conn *conn)
{
    uv_os_fd_t fd;
    char byte;
    return uv_fileno((const uv_handle_t *)&conn->tcp, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool conn_can_move(const struct conn *conn, short how)
{
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&conn->tcp, &fd) != 0)
        return false;
    struct pollfd one = {.fd = fd, .events = how};
    return poll(&one, 1, 0) > 0 && (one.revents & how) != 0;
}

static void on_idle_deadline(struct conn *conn)
{
    if (conn->is_reading && conn_has_input(conn)) {
        update_deadline(conn);
        return;
    }
    if (conn->h2 != NULL) {
        h2_end(conn->h2);
        conn_flush(conn);
    }
    conn_close(conn);
}

void conn_on_deadline(struct conn *conn, enum deadline_kind kind)
{
    if (kind == DEADLINE_WRITE) {
        conn_on_write_deadline(conn);
    } else if (kind == DEADLINE_IDLE || kind == DEADLINE_DRAIN) {
        on_idle_deadline(conn);
    } else if (kind == DEADLINE_LINGER) {
        conn_close(conn);
    } else if (kind == DEADLINE_HANDSHAKE) {
        conn->server->stats.timeouts++;
        conn_close(conn);
    } else if (conn->h2 != NULL) {
        conn->server->stats.timeouts += h2_time_out(conn->h2);
        conn_pump(conn);
    } else if (kind == DEADLINE_BODY) {
        conn_time_out_body(conn);
        conn_pump(conn);
    } else if (conn->reading != NULL) {
        conn->server->stats.timeouts++;
        conn_refuse(conn, conn->reading, &fault_late);
        conn_pump(conn);
    }
}

/* A peer whose body has to wait is not heard: what he breaks is asked for. */
void conn_look(struct conn *conn)
{
    uv_os_fd_t fd;
    if (conn->state == CONN_OPEN && conn->h2 != NULL && h2_end_late(conn->h2))
        server_mark_dirty(conn);
    if (conn->state != CONN_OPEN || conn->is_reading || !conn_is_in_body(conn) ||
        uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0)
        return;
    struct pollfd broken = {.fd = fd};
    if (poll(&broken, 1, 0) > 0 && (broken.revents & (POLLERR | POLLHUP)) != 0)
        conn_close(conn);
}

/* ---- the turn and the end ---- */

/* Nothing under way, and nothing more to expect. */
static bool is_over(const struct conn *conn)
{
    return conn->done_reading && list_is_empty(&conn->pipeline) && conn_unsent(conn) == 0;
}

/* A peer that may still be sending has to have time to read the answer. */
static void end(struct conn *conn)
{
    if (conn->unread || conn->skipping)
        conn_linger(conn);
    else
        conn_close(conn);
}

void conn_pump(struct conn *conn)
{
    conn_take_stash(conn);
    if (conn->peer_eof && conn->stash.len == 0 && conn->state == CONN_OPEN && !conn->done_reading)
        conn_end_input(conn);
    if (conn->h2 != NULL)
        h2_take_ready(conn->h2);
    if (conn->h2 != NULL && conn->server->draining)
        h2_drain(conn->h2);
    conn_flush(conn);
    if (conn->h2 != NULL ? h2_may_take_ready(conn->h2) : conn->stash.len > 0 && conn_may_take(conn))
        server_mark_dirty(conn); /* others first */
    if (conn->state == CONN_OPEN && conn->failed)
        conn_close(conn);
    else if (conn->state == CONN_OPEN && is_over(conn))
        end(conn);
    if (conn->state != CONN_CLOSED)
        update_reading(conn);
    if (conn->state == CONN_OPEN)
        update_deadline(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct server *server = conn->server;
    h2_free(conn->h2);
    tls_session_free(conn->tls);
    if (conn->peer != NULL)
        peers_leave(conn->peer);
    parser_free(&conn->parser);
    buf_free(&conn->stash);
    list_remove(&conn->in_server);
    free(conn);
    server_conn_closed(server);
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->tls != NULL && conn->state == CONN_OPEN)
        conn_tls_bye(conn);
    conn->state = CONN_CLOSED;
    deadline_set(conn->server, &conn->read_deadline, DEADLINE_NONE);
    deadline_set(conn->server, &conn->write_deadline, DEADLINE_NONE);
    list_remove(&conn->in_dirty);
    abandon_sending(conn);
    abandon_all(conn);
    if (conn->h2 != NULL)
        h2_abandon(conn->h2);
    if (!conn->resets || uv_tcp_close_reset(&conn->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *conn = req->data;
    if (conn->state == CONN_CLOSED)
        return;
    if (status != 0 || conn->peer_eof)
        conn_close(conn);
    else
        deadline_set(conn->server, &conn->read_deadline, DEADLINE_LINGER);
}

void conn_linger(struct conn *conn)
{
    conn->state = CONN_LINGER;
    conn->done_reading = true;
    deadline_set(conn->server, &conn->read_deadline, DEADLINE_NONE);
    abandon_all(conn);
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->tls != NULL)
        conn_tls_bye(conn);
    conn->shutdown.data = conn;
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) != 0)
        conn_close(conn);
}

/* ---- the beginning ---- */

static void read_address(struct conn *conn)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) == 0)
        uv_ip_name((struct sockaddr *)&address, conn->ip, sizeof(conn->ip));
    /* Of a listener for both: an IPv4 address is told as one (RFC 4291 2.5.5.2). */
    if (strncmp(conn->ip, "::ffff:", 7) == 0 && strchr(conn->ip, '.') != NULL)
        memmove(conn->ip, conn->ip + 7, strlen(conn->ip + 7) + 1);
}

/* False: its address has as many as it may. */
static bool count_in(struct conn *conn)
{
    struct peers *peers = conn->server->peers;
    if (peers == NULL || conn->admin)
        return true;
    conn->peer = peers_join(peers, conn->ip);
    return conn->peer != NULL;
}

/* Over a limit: says so without reading, as far as the kernel takes it. */
static void turn_away(struct conn *conn)
{
    static char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                           "Retry-After: 1\r\nConnection: close\r\n\r\n";
    uv_buf_t buf = uv_buf_init(answer, sizeof(answer) - 1);
    if (conn->server->tls == NULL)
        uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    conn->server->stats.refused++;
    conn_close(conn);
}

static struct conn *conn_new(struct server *server, enum server_door door)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL || uv_tcp_init(server->loop, &conn->tcp) != 0) {
        free(conn);
        return NULL;
    }
    conn->tcp.data = conn;
    conn->server = server;
    conn->admin = door == SERVER_ADMIN;
    conn->redirects = door == SERVER_REDIRECT;
    conn->read_deadline.kind = DEADLINE_NONE;
    conn->write_deadline.kind = DEADLINE_NONE;
    list_init(&conn->in_dirty);
    list_init(&conn->pipeline);
    list_init(&conn->sending);
    list_init(&conn->read_deadline.node);
    list_init(&conn->write_deadline.node);
    parser_init(&conn->parser, &server->parser_limits);
    list_push(&server->conns, &conn->in_server);
    server->handles++;
    server->stats.open++;
    return conn;
}

int conn_accept(struct server *server, uv_stream_t *listener, enum server_door door)
{
    struct conn *conn = conn_new(server, door);
    if (conn == NULL)
        return UV_ENOMEM;
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0) {
        conn_close(conn);
        return 0;
    }
    read_address(conn);
    if (server->stats.open > server->limits.connections || !count_in(conn)) {
        turn_away(conn);
    } else if (server->tls != NULL && door == SERVER_PUBLIC && conn_tls_start(conn) != 0) {
        conn_close(conn);
    } else {
        server->stats.accepted++;
        uv_tcp_nodelay(&conn->tcp, 1);
        conn_pump(conn);
    }
    return 0;
}
