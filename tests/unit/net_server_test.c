/* The server over real sockets: server and clients share one loop, nobody sleeps. */
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
#include "net/server.h"

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
};

static struct fixture *fixture; /* for callbacks that carry an exchange alone */
static char big[BIG];

/* ---- the handlers under the server ---- */

static void on_gone(struct exchange *ex)
{
    assert_ptr_equal(ex, fixture->held);
    assert_null(ex->conn);
    fixture->gone++;
}

static void on_drained(struct exchange *ex)
{
    assert_ptr_equal(ex, fixture->held);
    fixture->drained++;
}

static void answer(struct exchange *ex, int status, struct str body)
{
    assert_int_equal(response_set_body(&ex->res, &ex->arena, status, STR("text/plain"), body), 0);
    exchange_answer(ex);
}

static void hold(struct fixture *f, struct exchange *ex)
{
    exchange_hold(ex);
    ex->on_gone = on_gone;
    f->held = ex;
}

static void on_head(void *arg, struct exchange *ex)
{
    struct fixture *f = arg;
    f->heads++;
    if (str_eq(ex->req.path, STR("/deny")))
        exchange_answer_error(ex, 401, STR("denied"), STR("no"));
}

static void on_request(void *arg, struct exchange *ex)
{
    struct fixture *f = arg;
    struct str path = ex->req.path;
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
    } else if (str_eq(path, STR("/admin"))) {
        answer(ex, 200, exchange_is_admin(ex) ? STR("admin") : STR("public"));
    } else {
        answer(ex, 200, STR("hello"));
    }
}

static void on_finished(void *arg, struct exchange *ex)
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

static void on_patience(uv_timer_t *timer)
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

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    char piece[65536];
    (void)events;
    assert_int_equal(status, 0);
    ssize_t count = recv(c->fd, piece, sizeof(piece), MSG_DONTWAIT);
    if (count > 0) {
        buf_add(&c->in, piece, (size_t)count);
    } else if (count == 0 || errno != EAGAIN) {
        c->eof = true;
        c->reset = count < 0;
        uv_poll_stop(poll);
    }
}

static void client_listen(struct client *c)
{
    assert_int_equal(uv_poll_start(&c->poll, UV_READABLE, on_readable), 0);
}

static struct client *client_to(struct fixture *f, int port)
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

static struct client *client_new(struct fixture *f)
{
    return client_to(f, f->port);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    buf_free(&c->in);
    free(c);
}

static void client_close(struct client *c)
{
    uv_close((uv_handle_t *)&c->poll, on_client_closed);
    close(c->fd);
}

static void client_reset(struct client *c)
{
    struct linger abort_now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
    client_close(c);
}

static void client_send(struct client *c, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(c->fd, text, len, MSG_NOSIGNAL), len);
}

static unsigned occurrences(const struct client *c, const char *text)
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

static bool has(const struct client *c, const char *text)
{
    return occurrences(c, text) > 0;
}

/* Sends on a connection of its own and waits for the end of it. */
static struct client *exchange_all(struct fixture *f, const char *text)
{
    struct client *c = client_new(f);
    client_send(c, text);
    AWAIT(f, c->eof);
    return c;
}

/* ---- the fixture ---- */

static int listen_on_loopback(struct fixture *f, bool admin)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(server_listen_fd(f->server, fd, admin), 0);
    return ntohs(address.sin_port);
}

static struct fixture *start(const struct server_limits *limits)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    fixture = f;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->patience), 0);
    struct server_handlers handlers = {on_head, on_request, on_finished, f};
    f->server = server_new(&f->loop, &handlers, limits);
    assert_non_null(f->server);
    f->port = listen_on_loopback(f, false);
    return f;
}

static struct fixture *start_default(void)
{
    struct server_limits limits;
    server_limits_init(&limits);
    return start(&limits);
}

static struct server_limits short_limits(void)
{
    struct server_limits limits;
    server_limits_init(&limits);
    limits.head_timeout = limits.body_timeout = 0.06;
    limits.idle_timeout = limits.write_timeout = 0.06;
    return limits;
}

static void on_done(void *arg)
{
    *(bool *)arg = true;
}

static void stop(struct fixture *f)
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

static void answer_held(struct fixture *f, struct str body)
{
    struct exchange *ex = f->held;
    f->held = NULL;
    answer(ex, 200, body);
    exchange_release(ex);
}

/* ---- tests ---- */

static void test_keep_alive(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, has(c, "\r\n\r\nhello"));
    assert_true(f->client_ip_seen);
    assert_false(has(c, "Connection:"));
    client_send(c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    AWAIT(f, occurrences(c, "hello") == 2);
    assert_true(has(c, "Connection: keep-alive\r\n"));
    client_send(c, "GET / HTTP/1.0\r\n\r\nGET /ignored HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, c->eof);
    assert_int_equal(occurrences(c, "hello"), 3);
    assert_true(has(c, "Connection: close\r\n"));
    assert_int_equal(f->requests, 3);
    assert_int_equal(f->finished, 3);
    assert_int_equal(server_stats(f->server).accepted, 1);
    client_close(c);
    stop(f);
}

static void test_pipeline_stops_at_the_bad_one(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct buf all = BUF_INIT;
    for (int i = 0; i < 100; i++) {
        if (i == 70)
            buf_add_str(&all, STR("GET / HTTP/1.1\r\n" H "Bad : x\r\n\r\n"));
        else
            buf_printf(&all, "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n<%02d>", i);
    }
    buf_add_char(&all, '\0');
    struct client *c = exchange_all(f, all.data);
    assert_false(c->reset);
    assert_int_equal(occurrences(c, "HTTP/1.1 200 OK"), 70);
    assert_int_equal(occurrences(c, "HTTP/1.1 400 Bad Request"), 1);
    assert_int_equal(f->requests, 70);
    assert_int_equal(f->finished, 71);
    assert_string_equal(f->error_code, "bad_request");
    const char *at = c->in.data;
    const char *end = at + c->in.len;
    for (int i = 0; i < 70; i++) { /* in order */
        char mark[16];
        snprintf(mark, sizeof(mark), "<%02d>", i);
        at = memmem(at, (size_t)(end - at), mark, 4);
        assert_non_null(at);
    }
    assert_non_null(memmem(at, (size_t)(end - at), "HTTP/1.1 400", 12));
    buf_free(&all);
    client_close(c);
    stop(f);
}

static void test_a_slow_answer_holds_the_next(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET /hold HTTP/1.1\r\n" H "\r\nGET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->requests == 2);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(c->in.len, 0);
    answer_held(f, STR("held"));
    AWAIT(f, has(c, "hello"));
    assert_true(memmem(c->in.data, c->in.len, "held", 4) <
                memmem(c->in.data, c->in.len, "hello", 5));
    assert_int_equal(f->gone, 0);
    client_close(c);
    stop(f);
}

static void test_the_pipeline_has_an_end(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET /hold HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 200; i++)
        client_send(c, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->requests == LIMIT_PIPELINE);
    for (int i = 0; i < 20; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->requests, LIMIT_PIPELINE);
    answer_held(f, STR("held"));
    AWAIT(f, occurrences(c, "hello") == 200);
    client_close(c);
    stop(f);
}

static void test_answers_without_body(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *has;
        const char *has_not;
    } cases[] = {
        {"HEAD / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "Content-Length: 5\r\n", "hello"},
        {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "\r\n\r\nhello", "204"},
        {"GET /204 HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "HTTP/1.1 204 No Content\r\n",
         "Content-Length"},
        {"GET /304 HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n",
         "never"},
        {"GET /100 HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
         "HTTP/1.1 500 Internal Server Error\r\n", "HTTP/1.1 100"},
        {"GET /twice HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "first", "second"},
    };
    struct fixture *f = start_default();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *c = exchange_all(f, cases[i].request);
        assert_true(has(c, cases[i].has));
        assert_false(has(c, cases[i].has_not));
        assert_int_equal(occurrences(c, "HTTP/1.1 "), 1);
        client_close(c);
    }
    stop(f);
}

static void test_bodies(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nab");
    AWAIT(f, f->heads == 1);
    assert_int_equal(f->requests, 0);
    client_send(c, "c\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n");
    AWAIT(f, has(c, "\r\n\r\nabcde"));
    client_send(c, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\n");
    client_send(c, "xyz\r\n"); /* old clients end a body with an empty line */
    AWAIT(f, has(c, "\r\n\r\nxyz"));
    client_send(c, "POST /echo HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n");
    AWAIT(f, has(c, "Content-Length: 0\r\n"));
    assert_int_equal(f->heads, 2);
    assert_int_equal(f->requests, 3);
    client_close(c);
    stop(f);
}

static void test_large_answer(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)('a' + i % 23);
    struct client *c = exchange_all(f, "GET /big HTTP/1.1\r\n" H "\r\n"
                                       "GET /big HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
    assert_false(c->reset);
    assert_int_equal(occurrences(c, "Content-Length: 3145728\r\n"), 2);
    assert_memory_equal(c->in.data + c->in.len - BIG, big, BIG);
    assert_int_equal(f->finished, 2);
    client_close(c);
    stop(f);
}

static void test_expect_continue(void **state)
{
    (void)state;
#define EXPECT "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "POST /echo HTTP/1.1\r\n" H EXPECT);
    AWAIT(f, has(c, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_int_equal(f->requests, 0);
    client_send(c, "abc");
    AWAIT(f, has(c, "\r\n\r\nabc"));
    assert_int_equal(occurrences(c, "HTTP/1.1 100"), 1);
    client_close(c);

    c = exchange_all(f, "POST /deny HTTP/1.1\r\n" H EXPECT);
    assert_true(has(c, "HTTP/1.1 401 Unauthorized\r\n"));
    assert_true(has(c, "Connection: close\r\n"));
    assert_false(has(c, "HTTP/1.1 100"));
    client_close(c);

    c = exchange_all(f, "POST /echo HTTP/1.0\r\n" EXPECT "abc");
    assert_false(has(c, "HTTP/1.1 100"));
    assert_true(has(c, "\r\n\r\nabc"));
    client_close(c);

    c = exchange_all(f, "POST /echo HTTP/1.1\r\n" H "Expect: foo\r\nContent-Length: 3\r\n\r\n");
    assert_true(has(c, "HTTP/1.1 417 Expectation Failed\r\n"));
    client_close(c);
    stop(f);
}

/* The 100 of a pipelined request must not overtake the answer before it. */
static void test_continue_waits_its_turn(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET /hold HTTP/1.1\r\n" H "\r\nPOST /echo HTTP/1.1\r\n" H EXPECT);
    AWAIT(f, f->heads == 1);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(c->in.len, 0);
    answer_held(f, STR("held"));
    AWAIT(f, has(c, "heldHTTP/1.1 100 Continue\r\n\r\n"));
    client_send(c, "abc");
    AWAIT(f, has(c, "\r\n\r\nabc"));
    client_close(c);
    stop(f);
}

static void test_half_closed_client_is_answered(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET / HTTP/1.1\r\n" H "\r\nGET /hold HTTP/1.1\r\n" H "\r\nGET /half");
    shutdown(c->fd, SHUT_WR);
    AWAIT(f, f->held != NULL && has(c, "hello"));
    assert_false(c->eof);
    answer_held(f, STR("held"));
    AWAIT(f, c->eof);
    assert_true(has(c, "held"));
    assert_false(c->reset);
    assert_int_equal(f->gone, 0);
    assert_int_equal(f->finished, 2);
    client_close(c);
    stop(f);
}

static void test_refusals_reach_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *status;
        const char *code;
    } cases[] = {
        {"GET / HTTP/1.1\nGET / HTTP/1.1\r\n" H "\r\n", "400 Bad Request", "bad_request"},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\nbody", "413 Content Too Large",
         "payload_too_large"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "501 Not Implemented", "not_implemented"},
        {"GET / HTTP/3.0\r\n\r\n", "505 HTTP Version Not Supported", "http_version_not_supported"},
    };
    struct fixture *f = start_default();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *c = exchange_all(f, cases[i].request);
        assert_false(c->reset);
        assert_true(has(c, cases[i].status));
        assert_true(has(c, "{\"error\":\""));
        assert_true(has(c, "Content-Type: application/json\r\n"));
        assert_true(has(c, "Connection: close\r\n"));
        assert_int_equal(occurrences(c, "\r\nDate: "), 1);
        assert_string_equal(f->error_code, cases[i].code);
        client_close(c);
    }
    assert_int_equal(f->requests, 0);
    assert_int_equal(f->heads, 0);
    assert_int_equal(server_stats(f->server).parse_errors, 4);
    stop(f);
}

/* A client that goes on sending a refused body gets the answer, not a reset. */
static void test_refused_body_is_drained(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "POST /deny HTTP/1.1\r\n" H "Content-Length: 200000\r\n\r\n");
    big[99999] = '\0';
    memset(big, 'x', 99999);
    client_send(c, big);
    AWAIT(f, has(c, "401 Unauthorized"));
    client_send(c, big);
    AWAIT(f, c->eof);
    assert_false(c->reset);
    assert_int_equal(f->requests, 0);
    client_close(c);
    stop(f);
}

static void test_timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        bool answered;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost:", true},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab", true},
        {"\r\n", false},
    };
    struct server_limits limits = short_limits();
    struct fixture *f = start(&limits);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client *c = exchange_all(f, cases[i].request);
        assert_int_equal(has(c, "HTTP/1.1 408 Request Timeout\r\n"), cases[i].answered);
        assert_int_equal(c->in.len > 0, cases[i].answered);
        client_close(c);
    }
    struct client *c = client_new(f);
    client_send(c, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, c->eof); /* idle after its answer */
    assert_int_equal(occurrences(c, "HTTP/1.1 "), 1);
    assert_int_equal(server_stats(f->server).timeouts, 2);
    assert_int_equal(f->finished, 3);
    client_close(c);
    stop(f);
}

/* Bytes that trickle in do not prolong the head's time. */
static void test_slow_head_ends_in_time(void **state)
{
    (void)state;
    struct server_limits limits = short_limits();
    limits.idle_timeout = 30;
    struct fixture *f = start(&limits);
    struct client *c = client_new(f);
    uint64_t began = uv_hrtime();
    while (!c->eof) {
        send(c->fd, "G", 1, MSG_NOSIGNAL);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_true(uv_hrtime() - began < 10000000000u);
    assert_true(has(c, "HTTP/1.1 "));
    client_close(c);
    stop(f);
}

static void test_client_that_does_not_read(void **state)
{
    (void)state;
    struct server_limits limits = short_limits();
    limits.write_timeout = 0.2;
    struct fixture *f = start(&limits);
    struct client *c = client_new(f);
    uv_poll_stop(&c->poll);
    for (int i = 0; i < 50; i++)
        client_send(c, "GET /big HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, server_stats(f->server).timeouts == 1);
    assert_true(f->requests < 10); /* no more was taken than was bearable */
    AWAIT(f, server_stats(f->server).open == 0);
    assert_int_equal(f->finished, f->requests);
    client_close(c);
    stop(f);
}

static void test_client_leaves(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET /hold HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->held != NULL);
    client_reset(c);
    AWAIT(f, f->gone == 1);
    assert_int_equal(f->finished, 1);
    assert_string_equal(f->error_code, "client_gone");
    answer_held(f, STR("nobody listens"));
    AWAIT(f, server_stats(f->server).open == 0);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->finished, 1);
    stop(f);
}

static void test_resets_anywhere(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "",
        "GET / HT",
        "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab",
        "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        "GET / HTTP/1.1\r\n" H "\r\n",
        "GET /big HTTP/1.1\r\n" H "\r\nGET /big HTTP/1.1\r\n" H "\r\n",
        "GET / HTTP/9.1\r\n" H "\r\n",
    };
    struct fixture *f = start_default();
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        for (int turns = 0; turns < 4; turns++) {
            uint64_t before = server_stats(f->server).accepted;
            struct client *c = client_new(f);
            if (pieces[i][0] != '\0')
                client_send(c, pieces[i]);
            AWAIT(f, server_stats(f->server).accepted == before + 1);
            for (int k = 0; k < turns; k++)
                uv_run(&f->loop, UV_RUN_NOWAIT);
            client_reset(c);
            AWAIT(f, server_stats(f->server).open == 0);
        }
    }
    struct client *c = exchange_all(f, "GET / HTTP/1.0\r\n\r\n");
    assert_true(has(c, "hello"));
    client_close(c);
    stop(f);
}

static void test_streams(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *end;
        bool framed;
    } cases[] = {
        {"GET /stream HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
         "\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", true},
        {"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "\r\n\r\nabcde", false},
        {"HEAD /stream HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "\r\n\r\n", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture *f = start_default();
        struct client *c = client_new(f);
        client_send(c, cases[i].request);
        AWAIT(f, f->held != NULL);
        exchange_stream_write(f->held, STR("ab"));
        AWAIT(f, has(c, "\r\n\r\n"));
        exchange_stream_write(f->held, STR("cde"));
        exchange_stream_write(f->held, STR(""));
        assert_false(c->eof);
        exchange_stream_end(f->held);
        AWAIT(f, c->eof);
        size_t len = strlen(cases[i].end);
        assert_memory_equal(c->in.data + c->in.len - len, cases[i].end, len);
        assert_int_equal(has(c, "Transfer-Encoding: chunked\r\n"), cases[i].framed);
        assert_true(has(c, "Connection: close\r\n"));
        assert_int_equal(f->finished, 1);
        client_close(c);
        stop(f);
    }
}

static void test_stream_backpressure(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    uv_poll_stop(&c->poll);
    client_send(c, "GET /stream HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->held != NULL);
    size_t waiting = 0;
    size_t written = 0;
    while (waiting < LIMIT_WRITE_HIGH_WATER * 2) {
        waiting = exchange_stream_write(f->held, (struct str){big, 65536});
        written += 65536;
        uv_run(&f->loop, UV_RUN_NOWAIT);
        assert_true(written < (size_t)1 << 30);
    }
    f->held->on_drained = on_drained;
    for (int i = 0; i < 10; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->drained, 0);
    client_listen(c);
    AWAIT(f, f->drained == 1);
    exchange_stream_end(f->held);
    AWAIT(f, has(c, "\r\n0\r\n\r\n"));
    assert_true(c->in.len > written);
    assert_int_equal(f->held->bytes_sent, written);
    client_close(c);
    stop(f);
}

static void test_drain(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *idle = client_new(f);
    client_send(idle, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, has(idle, "hello"));
    struct client *busy = client_new(f);
    client_send(busy, "GET /hold HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->held != NULL);
    bool drained = false;
    server_drain(f->server, on_done, &drained);
    AWAIT(f, idle->eof);
    assert_false(drained);
    assert_false(busy->eof);
    answer_held(f, STR("held"));
    AWAIT(f, busy->eof);
    assert_true(has(busy, "Connection: close\r\n"));
    client_close(busy);
    AWAIT(f, drained);
    assert_int_equal(f->gone, 0);
    client_close(idle);
    stop(f);
}

static void test_drain_without_connections(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    bool drained = false;
    server_drain(f->server, on_done, &drained);
    AWAIT(f, drained);
    stop(f);
}

static void test_close_tells_who_is_at_work(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET /hold HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->held != NULL);
    struct exchange *ex = f->held;
    bool closed = false;
    server_close(f->server, on_done, &closed);
    assert_int_equal(f->gone, 1);
    assert_null(ex->conn);
    AWAIT(f, closed && c->eof);
    client_close(c);
    server_free(f->server);
    exchange_release(ex);
    uv_close((uv_handle_t *)&f->patience, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    exchange_pool_free();
    free(f);
}

static void test_connections_have_a_limit(void **state)
{
    (void)state;
    struct server_limits limits;
    server_limits_init(&limits);
    limits.connections = 2;
    struct fixture *f = start(&limits);
    struct client *a = client_new(f);
    struct client *b = client_new(f);
    AWAIT(f, server_stats(f->server).accepted == 2);
    struct client *c = client_new(f);
    AWAIT(f, c->eof);
    assert_true(has(c, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_int_equal(server_stats(f->server).refused, 1);
    client_send(a, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, has(a, "hello"));
    client_close(b);
    AWAIT(f, server_stats(f->server).open == 1);
    struct client *d = exchange_all(f, "GET / HTTP/1.0\r\n\r\n");
    assert_true(has(d, "hello"));
    client_close(a);
    client_close(c);
    client_close(d);
    stop(f);
}

static void test_admin_sockets(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    int port = listen_on_loopback(f, true);
    struct client *c = client_to(f, port);
    client_send(c, "GET /admin HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, has(c, "\r\n\r\nadmin"));
    client_close(c);
    c = exchange_all(f, "GET /admin HTTP/1.0\r\n\r\n");
    assert_true(has(c, "\r\n\r\npublic"));
    client_close(c);
    stop(f);
}

static void test_bad_descriptor(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_true(server_listen_fd(f->server, fds[0], false) < 0);
    close(fds[1]);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipeline_stops_at_the_bad_one),
        cmocka_unit_test(test_a_slow_answer_holds_the_next),
        cmocka_unit_test(test_the_pipeline_has_an_end),
        cmocka_unit_test(test_answers_without_body),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_large_answer),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_continue_waits_its_turn),
        cmocka_unit_test(test_half_closed_client_is_answered),
        cmocka_unit_test(test_refusals_reach_the_client),
        cmocka_unit_test(test_refused_body_is_drained),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_slow_head_ends_in_time),
        cmocka_unit_test(test_client_that_does_not_read),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_resets_anywhere),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_stream_backpressure),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_without_connections),
        cmocka_unit_test(test_close_tells_who_is_at_work),
        cmocka_unit_test(test_connections_have_a_limit),
        cmocka_unit_test(test_admin_sockets),
        cmocka_unit_test(test_bad_descriptor),
    };
    return cmocka_run_group_tests_name("net_server", tests, NULL, NULL);
}
