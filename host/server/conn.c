/* What the protocols and the turns of the loop need of a connection: its way up, and its end. */
#include "server/conn.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/pool.h"
#include "http/forwarded.h"
#include "http/target.h"

const struct http_fault conn_no_room = {
    503, "client_memory", "Too much waits for clients that send or read slowly (limits.memory)"};

int conn_speak(struct conn *conn, const struct protocol *protocol)
{
    void *own = protocol->new (conn);
    if (own == NULL)
        return UV_ENOMEM;
    if (conn->own != NULL)
        conn->protocol->free(conn->own);
    conn->protocol = protocol;
    conn->own = own;
    return 0;
}

/* ---- the way in ---- */

/* A unix socket is a proxy's, which comes for many. */
bool conn_count_in(struct conn *conn)
{
    const struct server *server = conn->server;
    if (server->peers == NULL || conn->admin || str_eq(str_from(conn->ip), FORWARDED_UNIX))
        return true;
    conn->peer = peers_join(server->peers, conn->ip);
    return conn->peer != NULL;
}

/* As far as the kernel takes it. */
void conn_turn_away(struct conn *conn)
{
    static char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                           "Retry-After: 1\r\nConnection: close\r\n\r\n";
    uv_buf_t buf = uv_buf_init(answer, sizeof(answer) - 1);
    if (conn->server->tls == NULL)
        uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    conn->server->stats.refused++;
    conn_close(conn);
}

/* ---- the way up ---- */

/* A copy: the connection may be gone when it is looked at. */
static bool keep_cert(const struct conn *conn, struct exchange *ex)
{
    struct str cert = tls_client_cert(conn->tls);
    if (cert.len == 0)
        return true;
    ex->req.client_cert = arena_copy(&ex->arena, cert);
    return ex->req.client_cert.ptr != NULL;
}

/* Once a request, when its head is complete or it is refused. False: out of memory, and closed. */
static bool identify(struct conn *conn, struct exchange *ex)
{
    exchange_identify(ex);
    ex->req.scheme = conn->secure ? STR("https") : STR("http");
    ex->req.client_ip = arena_copy(&ex->arena, str_from(conn->ip));
    if (conn->tls != NULL && ex->req.client_ip.ptr != NULL && !keep_cert(conn, ex))
        ex->req.client_ip.ptr = NULL;
    if (ex->req.client_ip.ptr == NULL)
        conn_close(conn);
    return ex->req.client_ip.ptr != NULL;
}

static void tell_refused(const struct conn *conn, struct exchange *ex)
{
    const struct server_handlers *handlers = &conn->server->handlers;
    if (handlers->on_refused != NULL)
        handlers->on_refused(handlers->arg, ex);
}

void conn_refuse(struct conn *conn, struct exchange *ex, const struct http_fault *fault)
{
    if (!identify(conn, ex))
        return;
    tell_refused(conn, ex);
    exchange_refuse(ex, fault);
}

/* RFC 9110 section 15.4.9: the same method and body again. */
static void to_https(const struct conn *conn, struct exchange *ex)
{
    static const struct http_fault no_host = {400, "bad_request", "a Host header is needed"};
    int port = conn->server->https_port;
    struct arena *arena = &ex->arena;
    struct str host = target_authority_host(ex->req.host);
    struct str suffix = port != 443 ? arena_printf(arena, ":%d", port) : STR("");
    struct str to = arena_printf(arena, "https://%.*s%.*s%.*s", STR_ARG(host), STR_ARG(suffix),
                                 STR_ARG(ex->req.target));
    bool failed = suffix.ptr == NULL || to.ptr == NULL ||
                  headers_add(&ex->res.headers, arena, STR("Location"), to) != 0;
    tell_refused(conn, ex);
    if (host.len == 0 || failed) {
        exchange_refuse(ex, host.len == 0 ? &no_host : &fault_no_memory);
        return;
    }
    ex->res.status = 308;
    exchange_answer(ex);
}

void conn_pass_up(struct conn *conn, struct exchange *ex)
{
    const struct server_handlers *handlers = &conn->server->handlers;
    if (!identify(conn, ex))
        return;
    if (conn->redirects)
        to_https(conn, ex);
    else
        handlers->on_request(handlers->arg, ex);
}

/* ---- the ends of exchanges ---- */

void conn_finish(struct server *server, struct exchange *ex)
{
    if (server->handlers.on_finished != NULL)
        server->handlers.on_finished(server->handlers.arg, ex);
    if (ex->holding.bytes > 0)
        server_hold(server, ex, 0);
    ex->conn = NULL;
    exchange_release(ex);
}

/* Of what was put, the last bytes are those that were not taken. */
void conn_break_off(const struct conn *conn, struct exchange *ex, uint64_t unput)
{
    uint64_t lost = unput, taken = conn_taken(conn);
    if (ex->wire_end == CONN_NOT_HANDED)
        lost = ex->bytes_sent;
    else if (ex->wire_end > taken)
        lost += ex->wire_end - taken;
    ex->bytes_sent -= lost < ex->bytes_sent ? lost : ex->bytes_sent;
    const char *before = ex->error_code;
    exchange_detach(ex);
    ex->error_code = before;
    if (before == NULL)
        ex->error_code = conn->why != NULL ? conn->why : "client_gone";
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct server *server = conn->server;
    conn->protocol->free(conn->own);
    tls_session_free(conn->tls);
    if (conn->announced != NULL)
        buf_free(conn->announced);
    free(conn->announced);
    if (conn->peer != NULL)
        peers_leave(conn->peer);
    list_remove(&conn->in_server);
    pool_free(conn, sizeof(*conn));
    server_conn_closed(server);
}

/* Says good-bye, as far as the kernel takes it. */
static void tls_bye(struct conn *conn)
{
    if (conn->tls == NULL || conn->failed || conn->resets)
        return;
    tls_close(conn->tls);
    conn_send(conn, STR(""), STR(""), NULL);
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_OPEN)
        tls_bye(conn);
    conn->state = CONN_CLOSED;
    server_set_deadline(conn->server, &conn->read_deadline, DEADLINE_NONE);
    server_set_deadline(conn->server, &conn->write_deadline, DEADLINE_NONE);
    list_remove(&conn->in_dirty);
    conn->protocol->abandon(conn);
    if (!conn->resets || uv_tcp_close_reset(&conn->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

/* Our end is on its way behind the last bytes. */
static void ended(struct conn *conn, int error)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (error != 0 || conn->peer_eof)
        conn_close(conn);
    else
        server_set_deadline(conn->server, &conn->read_deadline, DEADLINE_LINGER);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    ended(req->data, status);
    free(req);
}

/* Behind what is still queued. False: it cannot be. */
static bool end_later(struct conn *conn)
{
    uv_shutdown_t *req = malloc(sizeof(*req));
    if (req == NULL)
        return false;
    req->data = conn;
    int error = uv_shutdown(req, (uv_stream_t *)&conn->tcp, on_shutdown);
    if (error != 0)
        free(req);
    return error == 0;
}

/* libuv would do it in its next turn, for which it asks the kernel for events once more. */
static int end_now(const struct conn *conn)
{
    uv_os_fd_t fd;
    int error = uv_fileno((const uv_handle_t *)&conn->tcp, &fd);
    return error != 0 ? error : shutdown(fd, SHUT_WR);
}

void conn_linger(struct conn *conn)
{
    conn->state = CONN_LINGER;
    conn->done_reading = true;
    server_set_deadline(conn->server, &conn->read_deadline, DEADLINE_NONE);
    conn->protocol->abandon(conn);
    if (conn->state == CONN_CLOSED)
        return;
    tls_bye(conn);
    if (conn_unsent(conn) == 0)
        ended(conn, end_now(conn));
    else if (!end_later(conn))
        conn_close(conn);
}

/* ---- the socket ---- */

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
