/* The server: refusals, time-outs, slow and leaving clients, backpressure, its end. */
#include "server_fixture.h"

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
    assert_int_equal(f->heads, 1);
    assert_int_equal(server_stats(f->server).parse_errors, 3);
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

static void assert_timed_out(struct server_limits limits, const char *request, bool answered)
{
    struct fixture *f = start(&limits);
    struct client *c = exchange_all(f, request);
    assert_int_equal(has(c, "HTTP/1.1 408 Request Timeout\r\n"), answered);
    assert_int_equal(c->in.len > 0, answered);
    assert_int_equal(server_stats(f->server).timeouts, answered);
    assert_int_equal(f->finished, answered);
    client_close(c);
    stop(f);
}

static void test_timeouts(void **state)
{
    (void)state;
    struct server_limits head = patient_limits(), body = patient_limits(), idle = patient_limits();
    head.head_timeout = body.body_timeout = idle.idle_timeout = 0.06;
    assert_timed_out(head, "GET / HTTP/1.1\r\nHost:", true);
    assert_timed_out(body, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab", true);
    assert_timed_out(idle, "\r\n", false);
}

/* One that was closed before its request came was late: then another is asked. */
static void test_idle_after_its_answer(void **state)
{
    (void)state;
    struct server_limits limits = patient_limits();
    limits.idle_timeout = 0.06;
    struct fixture *f = start(&limits);
    for (unsigned answers = 0, tries = 0; answers == 0; tries++) {
        assert_true(tries < 100);
        struct client *c = exchange_all(f, "GET / HTTP/1.1\r\n" H "\r\n");
        answers = (unsigned)occurrences(c, "HTTP/1.1 ");
        assert_true(answers <= 1);
        client_close(c);
    }
    assert_int_equal(server_stats(f->server).timeouts, 0);
    assert_int_equal(f->finished, 1);
    stop(f);
}

/* Bytes that trickle in do not prolong the head's time. */
static void test_slow_head_ends_in_time(void **state)
{
    (void)state;
    struct server_limits limits = patient_limits();
    limits.head_timeout = 0.06;
    struct fixture *f = start(&limits);
    struct client *c = client_new(f);
    while (!c->eof) {
        send(c->fd, "G", 1, MSG_NOSIGNAL);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_true(has(c, "HTTP/1.1 "));
    client_close(c);
    stop(f);
}

static void test_client_that_does_not_read(void **state)
{
    (void)state;
    struct server_limits limits = patient_limits();
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
    assert_int_equal(occurrences(idle, "hello"), 1);
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

/* What a kept connection asks for once more is answered, to the last request of a pipeline; and so
 * is what one asks for first that had connected only. */
static void test_drain_answers_once_more(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *kept = client_new(f), *many = client_new(f), *fresh = client_new(f);
    client_send(kept, "GET / HTTP/1.1\r\n" H "\r\n");
    client_send(many, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, has(kept, "hello") && has(many, "hello") && server_stats(f->server).open == 3);
    bool drained = false;
    server_drain(f->server, on_done, &drained);
    client_send(kept, "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nbody");
    client_send(fresh, "GET / HTTP/1.1\r\n" H "\r\n");
    struct buf burst = BUF_INIT; /* at once: what comes after the last answer is not answered */
    for (unsigned i = 0; i < 2 * LIMIT_PIPELINE; i++)
        buf_add_str(&burst, STR("GET / HTTP/1.1\r\n" H "\r\n"));
    assert_int_equal(send(many->fd, burst.data, burst.len, MSG_NOSIGNAL), burst.len);
    buf_free(&burst);
    AWAIT(f, kept->eof && many->eof && fresh->eof);
    assert_true(has(kept, "body"));
    assert_int_equal(occurrences(kept, "Connection: close\r\n"), 1);
    assert_int_equal(occurrences(many, "hello"), 1 + 2 * LIMIT_PIPELINE);
    assert_int_equal(occurrences(many, "Connection: close\r\n"), 1);
    assert_true(has(fresh, "hello"));
    client_close(kept);
    client_close(many);
    client_close(fresh);
    AWAIT(f, drained);
    stop(f);
}

/* The grace is that of each silence: it begins with the end of what ran. */
static void test_drain_after_a_long_answer(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f), *silent = client_new(f);
    client_send(c, "GET /stream HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, f->held != NULL && has(c, "\r\n\r\n") && server_stats(f->server).open == 2);
    bool drained = false;
    server_drain(f->server, on_done, &drained);
    AWAIT(f, silent->eof); /* one grace is over */
    exchange_stream_end(f->held);
    AWAIT(f, has(c, "\r\n0\r\n\r\n"));
    assert_false(c->eof);
    client_send(c, "GET / HTTP/1.1\r\n" H "\r\n");
    AWAIT(f, c->eof);
    assert_true(has(c, "hello"));
    client_close(c);
    client_close(silent);
    AWAIT(f, drained);
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

static void test_connections_of_an_address_have_a_limit(void **state)
{
    (void)state;
    struct server_limits limits;
    server_limits_init(&limits);
    limits.connections_per_address = 2;
    struct fixture *f = start(&limits);
    int port = listen_on_loopback(f, true);
    for (int round = 0; round < 3; round++) {
        struct client *a = client_new(f);
        struct client *b = client_new(f);
        AWAIT(f, server_stats(f->server).open == 2);
        struct client *c = client_new(f);
        AWAIT(f, c->eof);
        assert_true(has(c, "HTTP/1.1 503 Service Unavailable\r\n"));
        assert_int_equal(server_stats(f->server).refused, round + 1);
        client_send(a, "GET / HTTP/1.1\r\n" H "\r\n");
        AWAIT(f, has(a, "hello"));
        struct client *admin = client_to(f, port); /* who operates the host may still look */
        client_send(admin, "GET /admin HTTP/1.1\r\n" H "\r\n");
        AWAIT(f, has(admin, "\r\n\r\nadmin"));
        client_close(admin);
        client_close(b);
        client_close(c);
        AWAIT(f, server_stats(f->server).open == 1);
        struct client *d = exchange_all(f, "GET / HTTP/1.0\r\n\r\n");
        assert_true(has(d, "hello"));
        client_close(d);
        client_close(a);
        AWAIT(f, server_stats(f->server).open == 0);
    }
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
        cmocka_unit_test(test_refusals_reach_the_client),
        cmocka_unit_test(test_refused_body_is_drained),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_idle_after_its_answer),
        cmocka_unit_test(test_slow_head_ends_in_time),
        cmocka_unit_test(test_client_that_does_not_read),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_resets_anywhere),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_stream_backpressure),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_answers_once_more),
        cmocka_unit_test(test_drain_after_a_long_answer),
        cmocka_unit_test(test_drain_without_connections),
        cmocka_unit_test(test_close_tells_who_is_at_work),
        cmocka_unit_test(test_connections_have_a_limit),
        cmocka_unit_test(test_connections_of_an_address_have_a_limit),
        cmocka_unit_test(test_admin_sockets),
        cmocka_unit_test(test_bad_descriptor),
    };
    return cmocka_run_group_tests_name("net_server_limits", tests, NULL, NULL);
}
