/* Where a request goes whose head is complete: up, or away from a listener that knows only where
 * HTTPS is. */
#include "http/target.h"
#include "server/conn.h"

/* RFC 9110 section 15.4.9: the same method and body again. */
static void to_https(struct conn *conn, struct exchange *ex)
{
    static const struct http_fault no_host = {400, "bad_request", "a Host header is needed"};
    struct server *server = conn->server;
    struct arena *arena = &ex->arena;
    struct str host = authority_host(ex->req.host);
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
        conn_answer_fault(conn, ex, &fault_no_memory);
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
