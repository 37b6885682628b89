/* The server: requests and answers in order. */
#include "server_fixture.h"

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
    assert_int_equal(f->heads, 3);
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
    AWAIT(f, f->heads == 2);
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

/* What was read before the end of the input waits for room, and is answered too. */
static void test_half_closed_client_has_all_answers(void **state)
{
    (void)state;
    struct fixture *f = start_default();
    struct client *c = client_new(f);
    client_send(c, "GET /hold HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < LIMIT_PIPELINE + 6; i++)
        client_send(c, "GET / HTTP/1.1\r\n" H "\r\n");
    client_send(c, "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nlast");
    shutdown(c->fd, SHUT_WR);
    AWAIT(f, f->requests == LIMIT_PIPELINE);
    answer_held(f, STR("held"));
    AWAIT(f, c->eof);
    assert_int_equal(occurrences(c, "\r\n\r\nhello"), LIMIT_PIPELINE + 6);
    assert_true(has(c, "\r\n\r\nlast"));
    assert_false(c->reset);
    client_close(c);
    stop(f);
}

/* All of them ask in the same turn of the loop, and are answered. */
static void ask_at_once(struct fixture *f, struct client *c[4], const char *text)
{
    for (int i = 0; i < 4; i++) {
        c[i] = client_new(f);
        client_send(c[i], "GET / HTTP/1.1\r\n" H "\r\n");
        AWAIT(f, has(c[i], "hello"));
        f->watched[f->watched_count++] = c[i]->fd;
    }
    for (int i = 0; i < 4; i++)
        client_send(c[i], text);
    AWAIT(f,
          has(c[0], "looked") && has(c[1], "looked") && has(c[2], "looked") && has(c[3], "looked"));
    for (int i = 0; i < 4; i++)
        client_close(c[i]);
}

static void test_answers_of_a_turn_go_together(void **state)
{
    (void)state;
    struct client *c[4];
    struct fixture *f = start_default();
    ask_at_once(f, c, "GET /look HTTP/1.1\r\n" H "\r\n");
    /* unless the machine was too slow for that */
    assert_true(f->seen == 0 || f->last_ns - f->first_ns > 150000);
    stop(f);
}

static void test_no_answer_waits_for_slow_ones(void **state)
{
    (void)state;
    struct client *c[4];
    struct fixture *f = start_default();
    ask_at_once(f, c, "GET /slow HTTP/1.1\r\n" H "\r\n");
    assert_true(f->seen >= 2);
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
        cmocka_unit_test(test_half_closed_client_has_all_answers),
        cmocka_unit_test(test_answers_of_a_turn_go_together),
        cmocka_unit_test(test_no_answer_waits_for_slow_ones),
    };
    return cmocka_run_group_tests_name("net_server", tests, NULL, NULL);
}
