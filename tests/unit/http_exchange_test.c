/* The life of an exchange: one answer, either side first, names. */
#include "unit.h"

#include <string.h>

#include "http/exchange.h"

static unsigned answers, ends, aborts, gone, cleaned, pulls, bodies;
static size_t streamed;

static void sink_answer(struct exchange *ex)
{
    assert_non_null(ex->conn);
    answers++;
}

static size_t sink_stream_write(struct exchange *ex, struct str bytes)
{
    assert_non_null(ex->conn);
    streamed += bytes.len;
    return streamed;
}

static void sink_stream_end(struct exchange *ex)
{
    assert_non_null(ex->conn);
    ends++;
}

static void sink_stream_abort(struct exchange *ex)
{
    assert_non_null(ex->conn);
    aborts++;
}

static void sink_pull(struct exchange *ex)
{
    assert_non_null(ex->conn);
    pulls++;
}

static const struct exchange_sink sink = {.answer = sink_answer,
                                          .stream_write = sink_stream_write,
                                          .stream_end = sink_stream_end,
                                          .stream_abort = sink_stream_abort,
                                          .pull = sink_pull};

static void on_gone(struct exchange *ex)
{
    assert_null(ex->conn);
    gone++;
}

static void on_cleanup(void *arg)
{
    (void)arg;
    cleaned++;
}

static struct exchange *fresh(void)
{
    answers = ends = aborts = gone = cleaned = pulls = bodies = 0;
    streamed = 0;
    struct exchange *ex = exchange_new(&sink, &answers);
    assert_non_null(ex);
    assert_int_equal(ex->refs, 1);
    assert_int_equal(ex->state, EXCHANGE_HEAD);
    assert_int_equal(arena_defer(&ex->arena, on_cleanup, NULL), 0);
    ex->on_gone = on_gone;
    return ex;
}

static void test_answered_once(void **state)
{
    (void)state;
    struct exchange *ex = fresh();
    exchange_answer_error(ex, 404, STR("not_found"), STR("gone"));
    struct str body = ex->res.body;
    exchange_answer_error(ex, 500, STR("second"), STR("second"));
    exchange_answer(ex);
    assert_int_equal(answers, 1);
    assert_int_equal(ex->res.status, 404);
    assert_ptr_equal(ex->res.body.ptr, body.ptr);
    assert_int_equal(ex->state, EXCHANGE_ANSWERED);
    exchange_detach(ex);
    assert_int_equal(gone, 0);
    exchange_release(ex);
    assert_int_equal(cleaned, 1);
}

static void test_client_leaves_first(void **state)
{
    (void)state;
    struct exchange *ex = fresh();
    exchange_hold(ex);
    exchange_detach(ex);
    exchange_release(ex);
    assert_int_equal(gone, 1);
    assert_int_equal(cleaned, 0);
    exchange_answer_error(ex, 200, STR("late"), STR("late"));
    assert_int_equal(answers, 0);
    assert_true(exchange_is_complete(ex));
    exchange_release(ex);
    assert_int_equal(cleaned, 1);
}

static int settled; /* 1: well; -1: not well; 0: not yet; anything else: more than once */

static void on_settled(struct exchange *ex, bool good)
{
    assert_non_null(ex->settling);
    settled = settled != 0 ? 9 : good ? 1 : -1;
}

static struct exchange *fresh_unsettled(int status, bool streams)
{
    struct exchange *ex = fresh();
    settled = 0;
    ex->on_settled = on_settled;
    ex->settling = &settled;
    ex->res.status = status;
    ex->res.streamed = streams;
    ex->state = EXCHANGE_WORKING;
    return ex;
}

static void test_settled_once(void **state)
{
    (void)state;
    static const struct {
        int status, settled;
    } cases[] = {{200, 1}, {204, 1}, {299, 1}, {302, -1}, {404, -1}, {500, -1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int is_there = 0; is_there <= 1; is_there++) {
            struct exchange *ex = fresh_unsettled(cases[i].status, false);
            if (!is_there)
                exchange_detach(ex);
            exchange_answer(ex);
            assert_int_equal(settled, cases[i].settled); /* before the answer is sent */
            exchange_answer(ex);
            exchange_release(ex);
            assert_int_equal(settled, cases[i].settled);
        }
    }
    exchange_release(fresh_unsettled(200, false)); /* it was never answered */
    assert_int_equal(settled, -1);
}

static void test_a_stream_is_settled_at_its_end(void **state)
{
    (void)state;
    for (int whole = 0; whole <= 1; whole++) {
        struct exchange *ex = fresh_unsettled(200, true);
        exchange_answer(ex);
        exchange_stream_write(ex, STR("a piece"));
        assert_int_equal(settled, 0);
        if (whole)
            exchange_stream_end(ex);
        else
            exchange_stream_abort(ex);
        assert_int_equal(settled, whole ? 1 : -1);
        exchange_release(ex);
        assert_int_equal(settled, whole ? 1 : -1);
    }
    struct exchange *ex = fresh_unsettled(200, true);
    exchange_answer(ex);
    exchange_detach(ex);
    exchange_release(ex);
    assert_int_equal(settled, -1);
}

static void test_stream(void **state)
{
    (void)state;
    struct exchange *ex = fresh();
    assert_int_equal(exchange_stream_write(ex, STR("too early")), 0);
    ex->res.streamed = true;
    exchange_answer(ex);
    assert_int_equal(ex->state, EXCHANGE_STREAMING);
    assert_int_equal(exchange_stream_write(ex, STR("abc")), 3);
    exchange_stream_end(ex);
    exchange_stream_end(ex);
    exchange_stream_abort(ex);
    assert_int_equal(aborts, 0);
    assert_int_equal(exchange_stream_write(ex, STR("late")), 0);
    assert_int_equal(ends, 1);
    assert_int_equal(streamed, 3);
    exchange_release(ex);
}

/* The request's memory goes, and what was registered with it; what the log tells stays. */
static void test_a_stream_gives_its_request_up(void **state)
{
    (void)state;
    struct arena before;
    struct exchange *ex = fresh();
    struct err err;
    assert_int_equal(request_set_target(&ex->req, &ex->arena, STR("/a?token=1"), &err), 0);
    assert_int_equal(request_add_header(&ex->req, &ex->arena, STR("cookie"), STR("a=b"), &err), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(
            request_add_header(&ex->req, &ex->arena, STR("tracestate"), STR("c=d"), &err), 0);
    ex->req.client_ip = arena_copy(&ex->arena, STR("192.0.2.1"));
    ex->traceparent = arena_copy(&ex->arena, STR("00-x"));
    ex->function = arena_copy(&ex->arena, STR("chat")).ptr;
    assert_non_null(arena_alloc(&ex->arena, 10000));
    ex->body = body_new(&ex->arena, BODY_UNSIZED);
    body_push(ex->body, STR("early"), 1);
    ex->res.streamed = true;
    assert_null(exchange_lighten(ex, 8, &before)); /* is not answered */
    exchange_answer(ex);
    assert_null(exchange_lighten(ex, 8, &before)); /* its head is still to be sent */
    ex->head_sent = true;
    memset(exchange_lighten(ex, 8, &before), 1, 8);
    arena_free(&before);
    assert_int_equal(cleaned, 1);
    assert_true(ex->arena.total < 2000);
    assert_true(str_eq(ex->req.path, STR("/a")));
    assert_true(str_eq(ex->req.target, STR("/a")));
    assert_int_equal(ex->req.query.len, 0);
    assert_true(str_eq(ex->req.client_ip, STR("192.0.2.1")));
    assert_true(str_eq(ex->traceparent, STR("00-x")));
    assert_string_equal(ex->function, "chat");
    assert_int_equal(ex->req.headers.len, 2);
    assert_int_equal(headers_count(&ex->req.headers, STR("tracestate")), 2);
    assert_true(str_eq(*headers_get(&ex->req.headers, STR("tracestate")), STR("c=d")));
    assert_true(str_eq(body_piece(ex->body), STR("early")));
    assert_non_null(arena_alloc(&ex->arena, 5000));
    exchange_stream_end(ex);
    assert_null(exchange_lighten(ex, 8, &before));
    exchange_release(ex);
    assert_int_equal(cleaned, 1);
}

static void test_stream_that_breaks_off(void **state)
{
    (void)state;
    struct exchange *ex = fresh();
    exchange_stream_abort(ex);
    assert_int_equal(aborts, 0); /* none has begun */
    ex->res.streamed = true;
    exchange_answer(ex);
    exchange_stream_abort(ex);
    exchange_stream_abort(ex);
    exchange_stream_end(ex);
    assert_int_equal(aborts, 1);
    assert_int_equal(ends, 0);
    assert_true(exchange_is_complete(ex));
    exchange_release(ex);
}

static void test_stream_whose_client_leaves(void **state)
{
    (void)state;
    struct exchange *ex = fresh();
    ex->res.streamed = true;
    exchange_answer(ex);
    exchange_detach(ex);
    assert_int_equal(gone, 1);
    assert_int_equal(exchange_stream_write(ex, STR("abc")), 0);
    exchange_stream_end(ex);
    assert_int_equal(ends, 0);
    exchange_detach(ex);
    assert_int_equal(gone, 1);
    exchange_release(ex);
}

/* ---- the request's body ---- */

static struct exchange *fresh_with_body(uint64_t announced)
{
    struct exchange *ex = fresh();
    ex->body = body_new(&ex->arena, announced);
    assert_non_null(ex->body);
    return ex;
}

static void on_body(struct exchange *ex)
{
    (void)ex;
    bodies++;
}

static void test_a_body_that_is_there(void **state)
{
    (void)state;
    struct exchange *ex = fresh();
    assert_null(exchange_limit_body(ex, 0));
    ex->req.body = STR("abc");
    assert_null(exchange_limit_body(ex, 3));
    assert_int_equal(exchange_limit_body(ex, 2)->status, 413);
    exchange_read_whole(ex, on_body);
    assert_int_equal(ex->state, EXCHANGE_WORKING);
    assert_int_equal(bodies, 1);
    assert_int_equal(pulls, 0);
    exchange_release(ex);
}

static void test_a_whole_body(void **state)
{
    (void)state;
    struct exchange *ex = fresh_with_body(5);
    assert_null(exchange_limit_body(ex, 5));
    exchange_read_whole(ex, on_body);
    assert_int_equal(ex->state, EXCHANGE_BODY);
    assert_int_equal(pulls, 1);
    body_push(ex->body, STR("abc"), 0);
    exchange_tell_body(ex);
    assert_int_equal(bodies, 0);
    body_push(ex->body, STR("de"), 0);
    ex->body->complete = true;
    exchange_tell_body(ex);
    exchange_tell_body(ex);
    assert_int_equal(bodies, 1);
    assert_int_equal(ex->state, EXCHANGE_WORKING);
    assert_null(exchange_body_fault(ex));
    assert_true(str_eq(ex->req.body, STR("abcde")));
    exchange_release(ex);
}

static void test_a_body_that_breaks_off(void **state)
{
    (void)state;
    static const struct http_fault cut = {400, "cut", "cut"};
    struct exchange *ex = fresh_with_body(5);
    exchange_read_whole(ex, on_body);
    body_push(ex->body, STR("abc"), 0);
    ex->body->fault = &cut;
    exchange_tell_body(ex);
    assert_int_equal(bodies, 1);
    assert_ptr_equal(exchange_body_fault(ex), &cut);
    exchange_refuse(ex, &cut);
    assert_int_equal(ex->res.status, 400);
    assert_string_equal(ex->error_code, "cut");
    assert_null(ex->req.body.ptr);
    exchange_release(ex);
}

static void test_a_body_over_the_limit_is_refused_in_head(void **state)
{
    (void)state;
    struct exchange *ex = fresh_with_body(6);
    const struct http_fault *fault = exchange_limit_body(ex, 5);
    assert_int_equal(fault->status, 413);
    assert_int_equal(ex->state, EXCHANGE_HEAD);
    exchange_refuse(ex, fault);
    assert_int_equal(answers, 1);
    assert_int_equal(pulls, 0);
    exchange_release(ex);
}

/* Nobody is told of a body once the client has left or has its answer. */
static void test_nobody_is_told_late(void **state)
{
    (void)state;
    struct exchange *ex = fresh_with_body(BODY_UNSIZED);
    exchange_read_whole(ex, on_body);
    exchange_detach(ex);
    ex->body->complete = true;
    exchange_tell_body(ex);
    assert_int_equal(gone, 1);
    assert_int_equal(bodies, 0);
    exchange_release(ex);

    ex = fresh_with_body(BODY_UNSIZED);
    exchange_read_whole(ex, on_body);
    exchange_answer_error(ex, 503, STR("shutting_down"), STR("later"));
    ex->body->complete = true;
    exchange_tell_body(ex);
    assert_int_equal(bodies, 0);
    exchange_release(ex);
}

static void test_a_body_in_pieces(void **state)
{
    (void)state;
    struct exchange *ex = fresh_with_body(BODY_UNSIZED);
    ex->state = EXCHANGE_WORKING;
    exchange_read_piece(ex, on_body);
    assert_int_equal(pulls, 1);
    body_push(ex->body, STR("abc"), 0);
    exchange_tell_body(ex);
    exchange_tell_body(ex); /* asked once, told once */
    assert_int_equal(bodies, 1);
    assert_true(str_eq(exchange_piece(ex), STR("abc")));
    exchange_take_piece(ex, 3);
    body_push(ex->body, STR("de"), 0);
    exchange_tell_body(ex);
    assert_int_equal(bodies, 1);
    exchange_read_piece(ex, on_body); /* it is there already */
    assert_int_equal(bodies, 2);
    exchange_take_piece(ex, 2);
    exchange_read_piece(ex, on_body);
    assert_int_equal(bodies, 2);
    ex->body->complete = true;
    exchange_tell_body(ex);
    assert_int_equal(bodies, 3);
    assert_int_equal(exchange_piece(ex).len, 0);
    assert_int_equal(ex->state, EXCHANGE_WORKING);
    exchange_release(ex);
}

static void test_reuse_starts_clean(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct exchange *ex = fresh();
        assert_null(ex->req.headers.items);
        assert_int_equal(ex->started_ns, 0);
        assert_string_equal(ex->request_id, "");
        assert_non_null(arena_alloc(&ex->arena, i % 3 == 0 ? 100000 : 100));
        exchange_identify(ex);
        exchange_release(ex);
        assert_int_equal(cleaned, 1);
    }
    exchange_pool_free();
}

static void test_ids_are_ulids(void **state)
{
    (void)state;
    char last[27] = "";
    for (int i = 0; i < 1000; i++) {
        char id[27];
        exchange_make_id(id);
        assert_int_equal(strlen(id), 26);
        assert_int_equal(strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 26);
        assert_true(id[0] <= '7');
        assert_string_not_equal(id, last);
        assert_true(strncmp(id, last, 10) >= 0); /* time goes first */
        memcpy(last, id, sizeof(last));
    }
}

#define TRACE "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void test_names_from_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *value;
        bool kept;
    } cases[] = {
        {"x-request-id", "abc-DEF_1.2:3", true},
        {"x-request-id", "", false},
        {"x-request-id", "a b", false},
        {"x-request-id", "a\"b", false},
        {"x-request-id", "caf\xc3\xa9", false},
        {"x-request-id", "012345678901234567890123456789012345678901234567890123456789012", true},
        {"x-request-id", "0123456789012345678901234567890123456789012345678901234567890123", false},
        {"traceparent", "00-" TRACE, true},
        {"traceparent", "01-" TRACE "-more", true},
        {"traceparent", "00-" TRACE "-more", false},
        {"traceparent", "ff-" TRACE, false},
        {"traceparent", "00-" TRACE "0", false},
        {"traceparent", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange *ex = fresh();
        struct str value = str_from(cases[i].value);
        assert_int_equal(
            headers_add(&ex->req.headers, &ex->arena, str_from(cases[i].header), value), 0);
        exchange_identify(ex);
        assert_true(ex->started_ns > 0);
        struct str got = cases[i].header[0] == 'x' ? str_from(ex->request_id) : ex->traceparent;
        if (str_eq(got, value) != cases[i].kept)
            fail_msg("%s: %s", cases[i].header, cases[i].value);
        exchange_release(ex);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answered_once),
        cmocka_unit_test(test_client_leaves_first),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_a_stream_gives_its_request_up),
        cmocka_unit_test(test_stream_that_breaks_off),
        cmocka_unit_test(test_stream_whose_client_leaves),
        cmocka_unit_test(test_a_body_that_is_there),
        cmocka_unit_test(test_a_whole_body),
        cmocka_unit_test(test_a_body_that_breaks_off),
        cmocka_unit_test(test_a_body_over_the_limit_is_refused_in_head),
        cmocka_unit_test(test_nobody_is_told_late),
        cmocka_unit_test(test_settled_once),
        cmocka_unit_test(test_a_stream_is_settled_at_its_end),
        cmocka_unit_test(test_a_body_in_pieces),
        cmocka_unit_test(test_reuse_starts_clean),
        cmocka_unit_test(test_ids_are_ulids),
        cmocka_unit_test(test_names_from_the_client),
    };
    return cmocka_run_group_tests_name("http_exchange", tests, NULL, NULL);
}
