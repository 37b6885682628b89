/* Listening sockets and their connections: HTTP/1.1 over TCP (and whatever the connection interface
 * gains).
 *
 * The server knows nothing of routes and functions: requests go up through `on_request` when their
 * head is complete.
 */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "http/exchange.h"

struct server;

struct server_limits {
    size_t header_bytes;
    size_t memory; /* bytes of requests and answers that clients have not sent or taken */
    unsigned connections, connections_per_address;                  /* the latter 0: as many */
    double head_timeout, body_timeout, idle_timeout, write_timeout; /* seconds */
    bool h2c; /* HTTP/2 on a plain listener when its preface comes; else the preface is refused */
};

void server_limits_init(struct server_limits *limits); /* the defaults of limits.h */

struct server_handlers {
    /* A request whose head has arrived; must lead to exchange_answer, now or later. Nothing of its
     * body is read before somebody asks for it (exchange_read_whole, exchange_read_piece). What is
     * unread at the answer is read over, up to LIMIT_BODY_SKIPPED; more ends the connection. */
    void (*on_request)(void *arg, struct exchange *ex);
    /* Once for every exchange that was passed up, and for those that the server refused itself
     * (400, 408 ...): it was answered and its bytes handed to the kernel, or its client left. For
     * log and metrics. */
    void (*on_finished)(void *arg, struct exchange *ex);
    void *arg;
    /* The server is about to refuse this exchange itself (400, 408, 413 ...), or to redirect it; it
     * knows as much of the request as was read. May set `decorate`. May be NULL. */
    void (*on_refused)(void *arg, struct exchange *ex);
    /* Each connection but those of admin sockets begins with a PROXY header (proxy_header.h): may
     * this peer ("127.0.0.1", "unix") send one? Any other is closed. NULL: there are no such
     * headers. */
    bool (*trusts)(void *arg, struct str peer);
};

struct server_stats {
    uint64_t accepted, refused, timeouts, parse_errors;
    uint64_t unannounced; /* closed: no good PROXY header, or of a peer that may not send one */
    uint64_t given_up;    /* requests and answers, for want of room for what waits for clients */
    size_t held;          /* bytes that wait for them now */
    unsigned open;
};

/* NULL when out of memory. Handlers and limits are copied. `connections` is lowered where the
 * process may not open as many files; those above it, and those of an address that has as many as
 * it may, get 503, but for an address's admin connections. The process must ignore SIGPIPE. */
struct server *server_new(uv_loop_t *loop, const struct server_handlers *handlers,
                          const struct server_limits *limits);

/* From now on connections speak TLS, but for those of admin sockets. The server owns it, and looks
 * for new files at each server_refresh. 0 or -ENOMEM. */
struct tls;
int server_use_tls(struct server *server, struct tls *tls) __attribute__((warn_unused_result));
/* True when there is another certificate. */
bool server_refresh(struct server *server);

enum server_door {
    SERVER_PUBLIC,
    SERVER_ADMIN,   /* its exchanges are marked so: ex->admin */
    SERVER_REDIRECT /* plain: each request is sent to the first public listener, by 308 */
};

/* Serves a socket that is bound already; the server owns the descriptor from here on. 0 or a
 * negative errno. */
int server_listen_fd(struct server *server, int fd, enum server_door door)
    __attribute__((warn_unused_result));

/* A drain will come: from now on the last answer of a connection says that it is (Connection:
 * close, GOAWAY), while new connections are still taken. */
void server_announce_drain(struct server *server);

/* Stops accepting (but on admin sockets). Who is connected is answered once more, with Connection:
 * close or GOAWAY, as a request may be on its way that nobody else will see; a connection that
 * stays silent for LIMIT_DRAIN_GRACE is closed. `done` is called when the last one is gone. */
void server_drain(struct server *server, void (*done)(void *arg), void *arg);

/* Closes everything at once, once; a drain under way is not reported any more. `done` when all
 * handles are closed; then server_free. */
void server_close(struct server *server, void (*done)(void *arg), void *arg);
void server_free(struct server *server);

/* What waits for its clients; for as long as the server lives. */
const struct holdings *server_holdings(const struct server *server);
struct server_stats server_stats(const struct server *server);
