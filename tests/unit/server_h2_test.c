/* HTTP/2 over real sockets, frame by frame: what the wire tests cannot bring about. */
#include "server_fixture.h"

#include "failing_malloc.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, END_HEADERS = 4 };
enum { MIB = 1024 * 1024 };
enum { STREAMS_MAX = 200000 }; /* which take longer than any body may */

struct h2_client {
    struct client *c;
    size_t at;       /* frames up to here were looked at */
    uint32_t newest; /* the last stream that was answered, or reset, but for the first */
    bool settled, first;
};

static void send_frame(struct h2_client *h, int type, int flags, uint32_t stream,
                       struct str payload)
{
    const unsigned char head[9] = {(unsigned char)(payload.len >> 16),
                                   (unsigned char)(payload.len >> 8),
                                   (unsigned char)payload.len,
                                   (unsigned char)type,
                                   (unsigned char)flags,
                                   0,
                                   (unsigned char)(stream >> 16),
                                   (unsigned char)(stream >> 8),
                                   (unsigned char)stream};
    assert_int_equal(send(h->c->fd, head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
    assert_int_equal(send(h->c->fd, payload.ptr, payload.len, MSG_NOSIGNAL), payload.len);
}

/* Method, http, path, authority "a"; all literals of HPACK. */
static void send_request(struct h2_client *h, uint32_t stream, int flags, const char *method,
                         struct str path)
{
    struct buf block = BUF_INIT;
    buf_add(&block, "\x02", 1);
    buf_add_char(&block, (char)strlen(method));
    buf_add_str(&block, str_from(method));
    buf_add(&block, "\x86\x04", 2);
    if (path.len < 127) {
        buf_add_char(&block, (char)path.len);
    } else {
        buf_add_char(&block, 127);
        size_t rest = path.len - 127;
        for (; rest >= 128; rest /= 128)
            buf_add_char(&block, (char)(rest % 128 | 128));
        buf_add_char(&block, (char)rest);
    }
    buf_add_str(&block, path);
    buf_add(&block,
            "\x01\x01"
            "a",
            3);
    send_frame(h, HEADERS, flags | END_HEADERS, stream, buf_str(&block));
    buf_free(&block);
}

static void look_at_frames(struct h2_client *h)
{
    const struct buf *in = &h->c->in;
    while (in->len - h->at >= 9) {
        const unsigned char *p = (const unsigned char *)in->data + h->at;
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (in->len - h->at < 9 + len)
            return;
        h->settled |= p[3] == SETTINGS;
        bool answers = p[3] == HEADERS || p[3] == RST_STREAM;
        uint32_t stream = (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
        if (answers && stream == 1)
            h->first = true;
        else if (answers)
            h->newest = stream;
        h->at += 9 + len;
    }
}

static bool is_answered(struct h2_client *h, uint32_t stream)
{
    look_at_frames(h);
    return stream == 1 ? h->first : h->newest == stream;
}

static bool is_settled(struct h2_client *h)
{
    look_at_frames(h);
    return h->settled;
}

static struct h2_client connect_h2(struct fixture *f)
{
    struct h2_client h = {.c = client_new(f)};
    client_send(h.c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    send_frame(&h, SETTINGS, 0, 0, STR(""));
    AWAIT(f, is_settled(&h));
    return h;
}

static struct fixture *start_h2(struct server_limits limits)
{
    limits.h2c = true;
    return start(&limits);
}

/* Who keeps the connection busy has no more time for a body than others. */
static void test_a_body_is_late_among_other_requests(void **state)
{
    (void)state;
    struct server_limits limits = patient_limits();
    limits.body_timeout = 0.06;
    struct fixture *f = start_h2(limits);
    struct h2_client h = connect_h2(f);
    send_request(&h, 1, 0, "POST", STR("/echo"));
    for (uint32_t stream = 3; !h.first; stream += 2) {
        send_request(&h, stream, END_STREAM, "GET", STR("/204"));
        AWAIT(f, is_answered(&h, stream));
        assert_false(h.c->eof);
        assert_true(stream < STREAMS_MAX);
    }
    assert_int_equal(server_stats(f->server).timeouts, 1);
    client_close(h.c);
    stop(f);
}

/* An answer, or the end of the stream or the connection, whichever allocation fails; with targets
 * that just fit in a request's first piece of memory. */
static void test_a_refusal_without_memory_is_seen(void **state)
{
    (void)state;
    if (!owns_malloc())
        skip();
    struct server_limits limits;
    server_limits_init(&limits);
    struct fixture *f = start_h2(limits);
    unsigned rounds = 0;
    memset(big, '/', 5000);
    for (size_t len = 4000; len <= 4096; len += 8) {
        for (unsigned long n = 1;; n++) {
            struct h2_client h = connect_h2(f);
            assert_int_equal(buf_reserve(&h.c->in, 65536), 0);
            send_request(&h, 1, END_STREAM, "NONE", (struct str){big, len});
            struck = false;
            countdown = n;
            AWAIT(f, h.c->eof || is_answered(&h, 1));
            countdown = 0;
            client_close(h.c);
            rounds++;
            if (!struck)
                break;
        }
        assert_int_equal(f->error_code != NULL && f->status == 501, true);
    }
    assert_true(rounds > 50);
    assert_int_equal(f->heads, 0);
    stop(f);
}

/* With less memory for clients than so many answers need, each of which has a window of its own,
 * and takes part in that of the connection. */
static struct fixture *start_full(struct h2_client *h, uint32_t streams, size_t memory)
{
    struct server_limits limits = patient_limits();
    limits.memory = memory;
    struct fixture *f = start_h2(limits);
    *h = connect_h2(f);
    for (uint32_t i = 0; i < streams; i++) {
        send_request(h, 2 * i + 1, END_STREAM, "GET", STR("/big"));
        send_frame(h, WINDOW_UPDATE, 0, 2 * i + 1, (struct str){"\0\x10\0\0", 4});
    }
    AWAIT(f, f->requests == streams && h->c->in.len > 65535);
    return f;
}

/* Time in which the server itself did not turn is nobody's. */
static void test_who_could_not_move_is_not_given_up(void **state)
{
    (void)state;
    struct h2_client h;
    struct fixture *f = start_full(&h, 1, MIB);
    usleep(700000);
    for (int i = 0; i < 2; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(server_stats(f->server).given_up, 0);
    AWAIT(f, server_stats(f->server).given_up == 1);
    client_close(h.c);
    stop(f);
}

/* Nobody who has a window of his own stands still while the others of his connection take theirs.
 */
static void test_a_stream_waits_for_its_turn(void **state)
{
    (void)state;
    struct h2_client h;
    struct fixture *f = start_full(&h, 3, 11 * MIB);
    for (int i = 0; i < 8; i++) {
        uint64_t until = uv_hrtime() + 300000000;
        AWAIT(f, uv_hrtime() > until);
        send_frame(&h, WINDOW_UPDATE, 0, 0, (struct str){"\0\0\x40\0", 4}); /* one frame */
    }
    assert_int_equal(server_stats(f->server).given_up, 0);
    AWAIT(f, server_stats(f->server).given_up > 0);
    client_close(h.c);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_is_late_among_other_requests),
        cmocka_unit_test(test_a_refusal_without_memory_is_seen),
        cmocka_unit_test(test_who_could_not_move_is_not_given_up),
        cmocka_unit_test(test_a_stream_waits_for_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
