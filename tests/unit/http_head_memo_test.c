/* Heads that are, or nearly are, the one before: what is read must be what a new parser reads. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "http/parser.h"
#include "http/target.h"

static const struct parser_limits limits = {LIMIT_HEADER_BYTES};

/* Everything that a reader can tell of a request. */
static void note(struct buf *out, const struct request *req)
{
    const struct str parts[] = {req->method_name, req->target, req->path, req->query, req->host};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        buf_printf(out, "%d[%.*s]", parts[i].ptr != NULL, STR_ARG(parts[i]));
    for (uint32_t i = 0; i < req->headers.len; i++) {
        const struct header *h = &req->headers.items[i];
        buf_printf(out, "<%.*s=%.*s>", STR_ARG(h->name), STR_ARG(h->value));
    }
    buf_printf(out, "%d %d %d %d %d", req->method, req->version_minor, req->keep_alive,
               req->expects_continue, req->body.ptr != NULL);
}

/* What became of `text`, one request and its body. */
static void read_text(struct parser *parser, struct str text, struct buf *out)
{
    struct arena arena;
    struct request req = {0};
    char *exact = malloc(text.len > 0 ? text.len : 1); /* so that ASan sees overreads */
    assert_non_null(exact);
    memcpy(exact, text.ptr, text.len);
    struct str input = {exact, text.len};
    arena_init(&arena);
    bool going = true;
    buf_clear(out);
    while (going && input.len > 0) {
        enum parser_event event = parser_feed(parser, &input, &arena, &req);
        if (event == PARSER_FAULT)
            buf_printf(out, "%d %s", parser->fault->status, parser->fault->text);
        if (event == PARSER_HEAD)
            buf_printf(out, "(%llu)", (unsigned long long)parser_body_length(parser));
        if (event == PARSER_BODY || event == PARSER_DONE)
            buf_printf(out, "{%.*s}", STR_ARG(parser->piece));
        going = event == PARSER_HEAD || event == PARSER_BODY;
    }
    memset(exact, '!', text.len); /* nothing may be left that points here */
    note(out, &req);
    buf_printf(out, " left %zu", input.len);
    free(exact);
    arena_free(&arena);
}

static const struct str heads[] = {
    {"GET /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nX-Request-Id: r1\r\nX-Empty:\r\n\r\n", 65},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 42},
    {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 31},
    {"POST /p HTTP/1.1\r\nHOST: [::1]\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", 77},
    {"PUT /p? HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 48},
    {"PATCH /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 70},
};

static void init(struct parser *parser)
{
    parser_init(parser, &limits);
}

static void assert_reads(struct parser *parser, struct str text)
{
    struct parser fresh;
    struct buf got = BUF_INIT;
    struct buf wanted = BUF_INIT;
    init(&fresh);
    read_text(&fresh, text, &wanted);
    read_text(parser, text, &got);
    if (!str_eq(buf_str(&got), buf_str(&wanted)))
        fail_msg("read '%.*s' as %.*s, not %.*s", STR_ARG(text), STR_ARG(buf_str(&got)),
                 STR_ARG(buf_str(&wanted)));
    buf_free(&got);
    buf_free(&wanted);
    parser_free(&fresh);
}

static void test_the_same_head_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct parser parser;
        init(&parser);
        assert_reads(&parser, heads[i]);
        assert_non_null(parser.memo.kept);
        assert_int_equal(parser.memo.strangers, 1);
        for (int times = 0; times < 3; times++) {
            assert_reads(&parser, heads[i]);
            assert_int_equal(parser.memo.strangers, 0); /* it was known */
        }
        parser_free(&parser);
    }
}

/* Every byte of a head replaced by each of these, behind the head itself. */
static void test_one_byte_makes_another_head(void **state)
{
    (void)state;
    static const char others[] = {'A', 'z', '1', ' ', '\t', ':', '/', '?', '\r', '\n', ',', '\0'};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct str head = heads[i];
        for (size_t at = 0; at < head.len; at++) {
            for (size_t k = 0; k < sizeof(others); k++) {
                char text[256];
                struct parser parser;
                memcpy(text, head.ptr, head.len);
                text[at] = others[k];
                init(&parser);
                assert_reads(&parser, head);
                assert_reads(&parser, (struct str){text, head.len});
                parser_free(&parser);
            }
        }
    }
}

/* What was noted of a head is there when it comes again, and of no other; a request that still runs
 * keeps its texts when another head has come. */
static void test_notes(void **state)
{
    (void)state;
    const struct str other = STR("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    struct parser parser;
    struct arena arenas[3];
    struct request reqs[3] = {0};
    init(&parser);
    for (int i = 0; i < 3; i++) {
        struct str input = heads[0];
        arena_init(&arenas[i]);
        assert_int_equal(parser_feed(&parser, &input, &arenas[i], &reqs[i]), PARSER_DONE);
        assert_int_equal(reqs[i].note != NULL, i > 0);
    }
    assert_ptr_equal(reqs[1].note, reqs[2].note);
    assert_non_null(reqs[1].note);
    assert_int_equal(reqs[1].note->claims, 0);
    reqs[1].note->claims = 7;
    const struct str *id = headers_get(&reqs[2].headers, STR("x-request-id"));
    assert_non_null(id);
    assert_true(id->ptr >= reqs[1].note->head.ptr);
    assert_true(id->ptr + id->len <= reqs[1].note->head.ptr + reqs[1].note->head.len);
    arena_free(&arenas[0]);
    arena_free(&arenas[1]);

    for (int i = 0; i < 2; i++) {
        struct str input = other;
        arena_init(&arenas[i]);
        reqs[i] = (struct request){0};
        assert_int_equal(parser_feed(&parser, &input, &arenas[i], &reqs[i]), PARSER_DONE);
    }
    assert_non_null(reqs[1].note);
    assert_int_equal(reqs[1].note->claims, 0);
    parser_free(&parser);
    assert_true(str_eq(*id, STR("r1")));
    assert_true(str_eq(reqs[1].path, STR("/x")));
    for (int i = 0; i < 3; i++)
        arena_free(&arenas[i]);
}

/* Every beginning of the target as the path: what is noted of one must not be taken for another. */
static void assert_normal(struct request *req, struct arena *arena)
{
    const struct str whole = req->path;
    for (size_t len = 1; len <= req->target.len; len++) {
        struct str path = {NULL, 0}, expected = {NULL, 0};
        req->path = (struct str){req->target.ptr, len};
        int rc = target_normalize_path(arena, req->path, &expected);
        assert_int_equal(request_normalize_path(req, arena, &path), rc);
        assert_true(str_eq(path, expected));
    }
    req->path = STR("/x/../y"); /* one that is no part of the head */
    struct str path;
    assert_int_equal(request_normalize_path(req, arena, &path), 0);
    assert_true(str_eq(path, STR("/y")));
    req->path = whole;
}

static void test_normal_paths(void **state)
{
    (void)state;
    static const struct {
        const char *head, *path; /* NULL: it leaves the root */
        bool is_normal;
    } cases[] = {
        {"GET /a/b.c?d HTTP/1.1\r\nHost: h\r\n\r\n", "/a/b.c", true},
        {"GET /a%20b HTTP/1.1\r\nHost: h\r\n\r\n", "/a%20b", true},
        {"GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "/b", false},
        {"GET /a/%2E/ HTTP/1.1\r\nHost: h\r\n\r\n", "/a/", false},
        {"GET /../b HTTP/1.1\r\nHost: h\r\n\r\n", NULL, false},
    };
    struct parser parser;
    init(&parser);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) * 4; i++) {
        size_t at = i / 4, time = i % 4;
        struct arena arena;
        struct request req = {0};
        struct str input = str_from(cases[at].head), path = {"", 0};
        arena_init(&arena);
        assert_int_equal(parser_feed(&parser, &input, &arena, &req), PARSER_DONE);
        assert_int_equal(req.note != NULL, time > 0);
        if (time == 2)
            assert_normal(&req, &arena);
        int rc = request_normalize_path(&req, &arena, &path);
        assert_int_equal(rc, cases[at].path != NULL ? 0 : -EINVAL);
        assert_true(str_eq(path, str_from(cases[at].path != NULL ? cases[at].path : "")));
        if (req.note != NULL && cases[at].is_normal)
            assert_ptr_equal(req.note->path.ptr, path.ptr);
        arena_free(&arena);
    }
    parser_free(&parser);
}

/* One head behind another of the list, and a beginning of it alone. */
static void test_heads_in_turn(void **state)
{
    (void)state;
    const size_t count = sizeof(heads) / sizeof(heads[0]);
    struct parser parser;
    for (size_t i = 0; i < count * count; i++) {
        init(&parser);
        assert_reads(&parser, heads[i % count]);
        assert_reads(&parser, heads[i / count]);
        assert_reads(&parser, heads[i / count]);
        for (size_t cut = 1; cut < heads[i % count].len; cut++) {
            struct arena arena;
            struct request req = {0};
            struct str input = {heads[i % count].ptr, cut};
            struct str rest = str_skip(heads[i % count], cut);
            arena_init(&arena);
            while (input.len > 0)
                (void)parser_feed(&parser, &input, &arena, &req);
            while (rest.len > 0)
                (void)parser_feed(&parser, &rest, &arena, &req);
            assert_true(parser_is_idle(&parser));
            arena_free(&arena);
        }
        assert_reads(&parser, heads[i % count]);
        parser_free(&parser);
    }
}

static void test_what_is_not_kept(void **state)
{
    (void)state;
    static char text[LIMIT_HEAD_KEPT + 1];
    struct parser parser;
    init(&parser);
    assert_reads(&parser, STR("GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_null(parser.memo.kept);
    assert_reads(&parser, STR("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_null(parser.memo.kept);
    assert_reads(&parser, STR("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_null(parser.memo.kept);
    parser_free(&parser);

    const size_t fixed = strlen("GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n");
    for (size_t len = LIMIT_HEAD_KEPT; len <= LIMIT_HEAD_KEPT + 1; len++) {
        memset(text, 'x', sizeof(text));
        memcpy(text, "GET / HTTP/1.1\r\nHost: h\r\nX: ", fixed - 4);
        memcpy(text + len - 4, "\r\n\r\n", 4);
        init(&parser);
        assert_reads(&parser, (struct str){text, len});
        assert_int_equal(parser.memo.kept != NULL, len <= LIMIT_HEAD_KEPT);
        assert_reads(&parser, (struct str){text, len});
        assert_int_equal(parser.memo.strangers, 0); /* it was known, or is not looked for */
        parser_free(&parser);
    }
}

/* A limit that is less than what is kept holds for what was kept before it. */
static void test_the_limit_comes_first(void **state)
{
    (void)state;
    const struct parser_limits narrow = {64};
    struct parser parser;
    struct buf out = BUF_INIT;
    init(&parser);
    assert_reads(&parser, heads[0]);
    assert_non_null(parser.memo.kept);
    parser.limits = &narrow;
    assert_reads(&parser, heads[0]); /* it had begun before */
    read_text(&parser, heads[0], &out);
    assert_memory_equal(out.data, "431 ", 4);
    buf_free(&out);
    parser_free(&parser);
}

/* Nothing is kept of a client whose heads always differ. */
static void test_strangers(void **state)
{
    (void)state;
    struct parser parser;
    init(&parser);
    for (int i = 0; i < 20; i++) {
        char text[64];
        int len = snprintf(text, sizeof(text), "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
        assert_reads(&parser, (struct str){text, (size_t)len});
    }
    assert_null(parser.memo.kept);
    assert_reads(&parser, heads[0]);
    assert_null(parser.memo.kept);
    parser_free(&parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_head_again),
        cmocka_unit_test(test_one_byte_makes_another_head),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_normal_paths),
        cmocka_unit_test(test_heads_in_turn),
        cmocka_unit_test(test_what_is_not_kept),
        cmocka_unit_test(test_the_limit_comes_first),
        cmocka_unit_test(test_strangers),
    };
    return cmocka_run_group_tests_name("http_head_memo", tests, NULL, NULL);
}
