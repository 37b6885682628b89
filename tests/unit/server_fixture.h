/* A server over real sockets: server and clients share one loop, nobody sleeps. */
#pragma once

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "server/server.h"

enum { BIG = 3 * 1024 * 1024, PATIENCE_MS = 20000 };

#define H "Host: a\r\n"

struct fixture {
    uv_loop_t loop;
    uv_timer_t patience;
    struct server *server;
    int port;
    unsigned heads, requests, finished, gone, drained;
    bool done;
    bool client_ip_seen;
    const char *error_code; /* of the last finished exchange */
    int status;
    struct exchange *held; /* a reference of ours; NULL when none */
    int watched[4];        /* clients' ends, for /look and /slow */
    unsigned watched_count;
    unsigned seen;              /* of them had an answer when the last of those ran */
    uint64_t first_ns, last_ns; /* when the first and the last of them ran */
};

static struct fixture *fixture; /* for callbacks that carry an exchange alone */
static char big[BIG];

/* ---- the handlers under the server ---- */

static inline void on_gone(struct exchange *ex)
{
    assert_ptr_equal(ex, fixture->held);
    assert_null(ex->conn);
    fixture->gone++;
}

static inline void on_drained(struct exchange *ex)
{
    assert_ptr_equal(ex, fixture->held);
    fixture->drained++;
}

static inline void answer(struct exchange *ex, int status, struct str body)
{
    assert_int_equal(response_set_body(&ex->res, &ex->arena, status, STR("text/plain"), body), 0);
    exchange_answer(ex);
}

static inline void hold(struct fixture *f, struct exchange *ex)
{
    exchange_hold(ex);
    ex->on_gone = on_gone;
    f->held = ex;
}

/* How many answers are out already? */
static inline void look(struct fixture *f)
{
    char c;
    f->last_ns = uv_hrtime();
    if (f->first_ns == 0)
        f->first_ns = f->last_ns;
    f->seen = 0;
    for (unsigned i = 0; i < f->watched_count; i++)
        f->seen += recv(f->watched[i], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static inline void burn(uint64_t ns)
{
    for (uint64_t until = uv_hrtime() + ns; uv_hrtime() < until;)
        ;
}

static inline void on_body(struct exchange *ex)
{
    struct fixture *f = fixture;
    struct str path = ex->req.path;
    if (exchange_body_fault(ex) != NULL) {
        exchange_refuse(ex, exchange_body_fault(ex));
        return;
    }
    f->requests++;
    f->client_ip_seen = str_eq(ex->req.client_ip, STR("127.0.0.1"));
    assert_int_equal(ex->state, EXCHANGE_WORKING);
    if (str_eq(path, STR("/hold"))) {
        hold(f, ex);
    } else if (str_eq(path, STR("/stream"))) {
        hold(f, ex);
        ex->res.status = 200;
        ex->res.streamed = true;
        exchange_answer(ex);
    } else if (str_eq(path, STR("/echo"))) {
        answer(ex, 200, ex->req.body);
    } else if (str_eq(path, STR("/big"))) {
        answer(ex, 200, (struct str){big, BIG});
    } else if (str_eq(path, STR("/204"))) {
        answer(ex, 204, STR("never"));
    } else if (str_eq(path, STR("/304"))) {
        answer(ex, 304, STR("never"));
    } else if (str_eq(path, STR("/100"))) {
        answer(ex, 100, STR("never"));
    } else if (str_eq(path, STR("/twice"))) {
        answer(ex, 200, STR("first"));
        exchange_answer_error(ex, 500, STR("second"), STR("second"));
    } else if (str_eq(path, STR("/look")) || str_eq(path, STR("/slow"))) {
        look(f);
        burn(str_eq(path, STR("/slow")) ? 1000000 : 0);
        answer(ex, 200, STR("looked"));
    } else if (str_eq(path, STR("/admin"))) {
        answer(ex, 200, ex->admin ? STR("admin") : STR("public"));
    } else {
        answer(ex, 200, STR("hello"));
    }
}

static inline void on_request(void *arg, struct exchange *ex)
{
    struct fixture *f = arg;
    f->heads++;
    assert_int_equal(ex->state, EXCHANGE_HEAD);
    if (str_eq(ex->req.path, STR("/deny")))
        exchange_answer_error(ex, 401, STR("denied"), STR("no"));
    else if (exchange_limit_body(ex, LIMIT_BODY_BYTES) != NULL)
        exchange_refuse(ex, exchange_body_fault(ex));
    else
        exchange_read_whole(ex, on_body);
}

static inline void on_finished(void *arg, struct exchange *ex)
{
    struct fixture *f = arg;
    f->finished++;
    f->error_code = ex->error_code;
    f->status = ex->res.status;
    assert_true(ex->started_ns > 0);
    assert_true(ex->request_id[0] != '\0');
}

/* ---- clients ---- */

struct client {
    int fd;
    uv_poll_t poll;
    struct buf in;
    bool eof;
    bool reset;
};

static inline void on_patience(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing happened for too long");
}

/* Turns the loop until the condition holds. */
#define AWAIT(f, condition)                                                                        \
    do {                                                                                           \
        uv_timer_start(&(f)->patience, on_patience, PATIENCE_MS, 0);                               \
        while (!(condition))                                                                       \
            uv_run(&(f)->loop, UV_RUN_ONCE);                                                       \
        uv_timer_stop(&(f)->patience);                                                             \
    } while (0)

/* An error, as a reset is, stops the poll: then all that is there is read at once. */
static inline void on_readable(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    char piece[65536];
    ssize_t count;
    (void)events;
    do {
        count = recv(c->fd, piece, sizeof(piece), MSG_DONTWAIT);
        if (count > 0)
            buf_add(&c->in, piece, (size_t)count);
    } while (count > 0 && status != 0);
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        c->eof = true;
        c->reset = count < 0;
        uv_poll_stop(poll);
    }
}

static inline void client_listen(struct client *c)
{
    assert_int_equal(uv_poll_start(&c->poll, UV_READABLE, on_readable), 0);
}

static inline struct client *client_to(struct fixture *f, int port)
{
    struct client *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(uv_poll_init(&f->loop, &c->poll, c->fd), 0);
    c->poll.data = c;
    client_listen(c);
    return c;
}

static inline struct client *client_new(struct fixture *f)
{
    return client_to(f, f->port);
}

static inline void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    buf_free(&c->in);
    free(c);
}

static inline void client_close(struct client *c)
{
    uv_close((uv_handle_t *)&c->poll, on_client_closed);
    close(c->fd);
}

static inline void client_reset(struct client *c)
{
    struct linger abort_now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
    client_close(c);
}

static inline void client_send(struct client *c, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(c->fd, text, len, MSG_NOSIGNAL), len);
}

static inline unsigned occurrences(const struct client *c, const char *text)
{
    unsigned count = 0;
    size_t len = strlen(text);
    if (c->in.len == 0)
        return 0;
    const char *at = c->in.data;
    const char *end = at + c->in.len;
    while ((at = memmem(at, (size_t)(end - at), text, len)) != NULL) {
        count++;
        at += len;
    }
    return count;
}

static inline bool has(const struct client *c, const char *text)
{
    return occurrences(c, text) > 0;
}

/* Sends on a connection of its own and waits for the end of it. */
static inline struct client *exchange_all(struct fixture *f, const char *text)
{
    struct client *c = client_new(f);
    client_send(c, text);
    AWAIT(f, c->eof);
    return c;
}

/* ---- the fixture ---- */

static inline int listen_on_loopback(struct fixture *f, bool admin)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(server_listen_fd(f->server, fd, admin ? SERVER_ADMIN : SERVER_PUBLIC), 0);
    return ntohs(address.sin_port);
}

static inline struct fixture *start(const struct server_limits *limits)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    fixture = f;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->patience), 0);
    struct server_handlers handlers = {
        .on_request = on_request, .on_finished = on_finished, .arg = f};
    f->server = server_new(&f->loop, &handlers, limits);
    assert_non_null(f->server);
    f->port = listen_on_loopback(f, false);
    return f;
}

static inline struct fixture *start_default(void)
{
    struct server_limits limits;
    server_limits_init(&limits);
    return start(&limits);
}

/* For one limit that is tried alone: of several, a busy machine chooses which strikes first. */
static inline struct server_limits patient_limits(void)
{
    struct server_limits limits;
    server_limits_init(&limits);
    limits.head_timeout = limits.body_timeout = 600;
    limits.idle_timeout = limits.write_timeout = 600;
    return limits;
}

static inline void on_done(void *arg)
{
    *(bool *)arg = true;
}

static inline void stop(struct fixture *f)
{
    bool closed = false;
    server_close(f->server, on_done, &closed);
    AWAIT(f, closed);
    assert_int_equal(server_stats(f->server).open, 0);
    server_free(f->server);
    if (f->held != NULL)
        exchange_release(f->held);
    uv_close((uv_handle_t *)&f->patience, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    exchange_pool_free();
    free(f);
}

static inline void answer_held(struct fixture *f, struct str body)
{
    struct exchange *ex = f->held;
    f->held = NULL;
    answer(ex, 200, body);
    exchange_release(ex);
}
