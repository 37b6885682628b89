/* Where a request goes whose head is complete: up, or away from a listener that knows only where
 * HTTPS is. */
#include "server/conn.h"

static struct str without_port(struct str host)
{
    size_t end = 0;
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] == ':' && host.ptr[0] != '[')
            return (struct str){host.ptr, i};
        if (host.ptr[i] == ']')
            end = i + 1;
    }
    return end > 0 ? (struct str){host.ptr, end} : host;
}

/* RFC 9110 section 15.4.9: the same method and body again. */
static void to_https(struct conn *conn, struct exchange *ex)
{
    static const struct http_fault no_host = {400, "bad_request", "a Host header is needed"};
    static const struct http_fault no_memory = {500, "internal_error", "out of memory"};
    struct server *server = conn->server;
    struct arena *arena = &ex->arena;
    struct str host = without_port(ex->req.host);
    if (host.len == 0) {
        conn_answer_fault(conn, ex, &no_host);
        return;
    }
    struct str port =
        server->https_port != 443 ? arena_printf(arena, ":%d", server->https_port) : STR("");
    struct str to = arena_printf(arena, "https://%.*s%.*s%.*s", STR_ARG(host), STR_ARG(port),
                                 STR_ARG(ex->req.target));
    if (port.ptr == NULL || to.ptr == NULL ||
        headers_add(&ex->res.headers, arena, STR("Location"), to) != 0) {
        conn_answer_fault(conn, ex, &no_memory);
        return;
    }
    if (server->handlers.on_refused != NULL)
        server->handlers.on_refused(server->handlers.arg, ex);
    ex->res.status = 308;
    exchange_answer(ex);
}

void conn_pass_up(struct conn *conn, struct exchange *ex)
{
    const struct server_handlers *handlers = &conn->server->handlers;
    if (conn->redirects)
        to_https(conn, ex);
    else
        handlers->on_request(handlers->arg, ex);
}
