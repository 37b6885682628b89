/* The parser as a peer sees it: a table of raw bytes and verdicts, each fed whole, byte by byte and
 * cut at every place. What is refused has a twin that passes. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/parser.h"
#include "base/limits.h"

enum { PASS = 0, MORE = -1 };

enum { BODY_MAX = 1000 };

static const struct parser_limits limits = {LIMIT_HEADER_BYTES};

/* What became of some input. */
struct verdict {
    int status;        /* of the refusal, PASS, or MORE */
    unsigned requests; /* complete ones before the verdict */
    char text[4096];   /* of all complete requests */
};

/* `body`: NULL when there was none. */
static void note(struct verdict *v, const struct request *req, const struct buf *body)
{
    size_t at = strlen(v->text);
    snprintf(v->text + at, sizeof(v->text) - at, "%.*s %.*s host=%.*s body=%s%.*s keep=%d h=%u;",
             STR_ARG(req->method_name), STR_ARG(req->target), STR_ARG(req->host),
             body != NULL || req->body.ptr != NULL ? "" : "(none)",
             body != NULL ? (int)body->len : 0, body != NULL && body->len > 0 ? body->data : "",
             req->keep_alive, req->headers.len);
}

struct feeder {
    struct parser parser;
    struct arena arena;
    struct request req;
    struct buf body;
    bool in_body;
    struct verdict *verdict;
};

/* False when the parser has refused. */
static bool feed(struct feeder *f, struct str piece)
{
    char *exact = malloc(piece.len > 0 ? piece.len : 1); /* so that ASan sees overreads */
    assert_non_null(exact);
    memcpy(exact, piece.ptr, piece.len);
    struct str input = {exact, piece.len};
    bool going = true;
    while (going && input.len > 0) {
        enum parser_event event = parser_feed(&f->parser, &input, &f->arena, &f->req);
        if (event == PARSER_FAULT) {
            f->verdict->status = f->parser.fault->status;
            going = false;
        } else if (event == PARSER_HEAD) {
            f->in_body = true;
            if (parser_body_length(&f->parser) == BODY_UNSIZED)
                parser_limit_body(&f->parser, BODY_MAX);
        } else if (event == PARSER_BODY) {
            buf_add_str(&f->body, f->parser.piece);
        } else if (event == PARSER_DONE) {
            if (f->in_body)
                buf_add_str(&f->body, f->parser.piece);
            f->verdict->requests++;
            note(f->verdict, &f->req, f->in_body ? &f->body : NULL);
            arena_reset(&f->arena);
            buf_clear(&f->body);
            f->in_body = false;
            f->req = (struct request){0};
        }
    }
    free(exact);
    return going;
}

static void judge_pieces(struct str input, size_t first, size_t step, struct verdict *v)
{
    struct feeder f = {.verdict = v};
    *v = (struct verdict){.status = PASS};
    parser_init(&f.parser, &limits);
    arena_init(&f.arena);
    bool going = feed(&f, (struct str){input.ptr, first});
    for (size_t at = first; going && at < input.len; at += step) {
        size_t len = input.len - at < step ? input.len - at : step;
        going = feed(&f, (struct str){input.ptr + at, len});
    }
    if (going && !parser_is_idle(&f.parser))
        v->status = MORE;
    buf_free(&f.body);
    arena_free(&f.arena);
    parser_free(&f.parser);
}

static void assert_same(const struct verdict *a, const struct verdict *b, size_t cut)
{
    if (a->status != b->status || a->requests != b->requests || strcmp(a->text, b->text) != 0)
        fail_msg("cut at %zu: %d %u [%s], whole: %d %u [%s]", cut, b->status, b->requests, b->text,
                 a->status, a->requests, a->text);
}

/* The same verdict for every cut. */
static struct verdict judge(struct str input)
{
    struct verdict whole;
    struct verdict other;
    judge_pieces(input, input.len, 1, &whole);
    judge_pieces(input, 0, 1, &other);
    assert_same(&whole, &other, 0);
    size_t step = input.len > 4000 ? input.len / 500 : 1;
    for (size_t cut = 1; cut < input.len; cut += step) {
        judge_pieces(input, cut, input.len, &other);
        assert_same(&whole, &other, cut);
    }
    return whole;
}

struct item {
    const char *name;
    struct str input;
    int status;
};

#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    } /* of a static table */
#define ITEM(name, status, text)                                                                   \
    {                                                                                              \
        name, TEXT(text), status                                                                   \
    }
#define GET      "GET / HTTP/1.1\r\n"
#define H        "Host: a\r\n"
#define POST     "POST / HTTP/1.1\r\n" H
#define SMUGGLED "GET /evil HTTP/1.1\r\n" H "\r\n"

static const struct item items[] = {
    /* framing: H01 to H03 */
    ITEM("length", PASS, POST "Content-Length: 5\r\n\r\nhello"),
    ITEM("chunked", PASS, POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ITEM("length and coding", 400,
         POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    ITEM("coding and length", 400,
         POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED),
    ITEM("equal lengths", 400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ITEM("other lengths", 400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ITEM("length list", 400, POST "Content-Length: 5, 5\r\n\r\nhello"),
    ITEM("length +5", 400, POST "Content-Length: +5\r\n\r\nhello"),
    ITEM("length -5", 400, POST "Content-Length: -5\r\n\r\nhello"),
    ITEM("length 0x5", 400, POST "Content-Length: 0x5\r\n\r\nhello"),
    ITEM("length 5 5", 400, POST "Content-Length: 5 5\r\n\r\nhello"),
    ITEM("length 05", 400, POST "Content-Length: 05\r\n\r\nhello"),
    ITEM("length empty", 400, POST "Content-Length:\r\n\r\n"),
    ITEM("length 0", PASS, POST "Content-Length: 0\r\n\r\n"),
    ITEM("length with spaces around", PASS, POST "Content-Length: \t 5 \r\n\r\nhello"),
    ITEM("length with tabs around", PASS, POST "Content-Length:\t5 \t \r\n\r\nhello"),
    ITEM("length with a tab in it", 400, POST "Content-Length: 5\t5\r\n\r\nhello"),
    ITEM("length 2^64", 400, POST "Content-Length: 18446744073709551616\r\n\r\n"),
    ITEM("length 2^64", 400, POST "Content-Length: 18446744073709551616\r\n\r\n"),
    ITEM("coding in another case", PASS, POST "TRANSFER-encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    ITEM("identity", 501, POST "Transfer-Encoding: identity\r\n\r\n"),
    ITEM("xchunked", 501, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ITEM("gzip, chunked", 501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ITEM("chunked twice", 400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ITEM("chunked on two lines", 400,
         POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ITEM("chunked;x", 400, POST "Transfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n"),
    ITEM("quoted", 400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ITEM("coding empty", 400, POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ITEM("VT before chunked", 400, POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"),
    ITEM("chunked in 1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
/* chunks */
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    ITEM("two chunks and a pipelined request", PASS,
         CHUNKED "3\r\nabc\r\nA;x=1;y=\"q;\"\r\n0123456789\r\n00\r\n\r\n" GET H "\r\n"),
    ITEM("trailers are dropped", PASS, CHUNKED "1\r\na\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n"),
    ITEM("trailer with a bad name", 400, CHUNKED "0\r\nX T: 1\r\n\r\n"),
    ITEM("trailer folded", 400, CHUNKED "0\r\nX: 1\r\n 2\r\n\r\n"),
    ITEM("trailers end with LF", 400, CHUNKED "0\r\n\n"),
    ITEM("chunk size empty", 400, CHUNKED "\r\nabc\r\n"),
    ITEM("chunk size signed", 400, CHUNKED "+3\r\nabc\r\n"),
    ITEM("chunk size 0x3", 400, CHUNKED "0x3\r\nabc\r\n"),
    ITEM("chunk size spaced", 400, CHUNKED "3 \r\nabc\r\n"),
    ITEM("chunk size too large", 413, CHUNKED "fffffffffffffffff\r\n"),
    ITEM("chunk size of many zeros", 400, CHUNKED "00000000000000003\r\nabc\r\n"),
    ITEM("chunks over the limit", 413, CHUNKED "1\r\na\r\n3e8\r\n"),
    ITEM("chunk line ends with LF", 400, CHUNKED "3\nabc\r\n0\r\n\r\n"),
    ITEM("chunk data ends with LF", 400, CHUNKED "3\r\nabc\n0\r\n\r\n"),
    ITEM("chunk longer than said", 400, CHUNKED "3\r\nabcd\r\n0\r\n\r\n"),
    ITEM("LF in an extension", 400, CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ITEM("CR in an extension", 400, CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    /* line ends: H06 */
    ITEM("plain", PASS, GET H "\r\n"),
    ITEM("LF after the request line", 400, "GET / HTTP/1.1\n" H "\r\n"),
    ITEM("LF after a header", 400, GET "Host: a\n\r\n"),
    ITEM("LF alone, nothing behind", 400, "GET / HTTP/1.1\n"),
    ITEM("CR in a value", 400, GET H "X: a\rb\r\n\r\n"),
    ITEM("CR hides a header", 400, GET H "x:\rTransfer-Encoding: chunked\r\n\r\n"),
    ITEM("CR LF CR X", 400, GET H "\r\n\rX: y\r\n\r\n"),
    ITEM("CR LF LF", 400, GET "Host: a\r\n\n"),
    ITEM("fold with space", 400, GET H "X: y\r\n Content-Length: 5\r\n\r\n"),
    ITEM("fold with tab", 400, GET H "X: y\r\n\tz\r\n\r\n"),
    ITEM("space before the first header", 400, GET " " H "\r\n"),
    ITEM("fold hides a coding", 400, POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ITEM("one empty line before", PASS, "\r\n" GET H "\r\n"),
    ITEM("two empty lines before", PASS, "\r\n\r\n" GET H "\r\n"),
    ITEM("three empty lines before", 400, "\r\n\r\n\r\n" GET H "\r\n"),
    ITEM("LF before", 400, "\n" GET H "\r\n"),
    ITEM("CR before", 400, "\r" GET H "\r\n"),
    /* header names and values: H08 */
    ITEM("odd but right", PASS, GET H "!#$%&'*+-.^_`|~9: \x80\xff\t\"x\"\r\nEmpty:\r\n\r\n"),
    ITEM("space before colon", 400, GET H "Authorization : x\r\n\r\n"),
    ITEM("space in a name", 400, GET H "Fo o: x\r\n\r\n"),
    ITEM("no name", 400, GET H ": y\r\n\r\n"),
    ITEM("brackets in a name", 400, GET H "X[]: y\r\n\r\n"),
    ITEM("byte 0x80 in a name", 400, GET H "X\x80: y\r\n\r\n"),
    ITEM("NUL in a name", 400, GET H "X\0: y\r\n\r\n"),
    ITEM("NUL in a value", 400, GET H "X: a\0b\r\n\r\n"),
    ITEM("BEL in a value", 400, GET H "X: a\ab\r\n\r\n"),
    ITEM("DEL in a value", 400, GET H "X: a\x7f\r\n\r\n"),
    ITEM("no colon", 400, GET H "Header\r\n\r\n"),
    /* Host: H09 */
    ITEM("host with port", PASS, GET "Host: a.b-c_d:8080\r\n\r\n"),
    ITEM("host IPv6", PASS, GET "Host: [::1]:80\r\n\r\n"),
    ITEM("host missing", 400, GET "\r\n"),
    ITEM("host twice", 400, GET H H "\r\n"),
    ITEM("host empty", 400, GET "Host:\r\n\r\n"),
    ITEM("host list", 400, GET "Host: a, b\r\n\r\n"),
    ITEM("host with userinfo", 400, GET "Host: u@a\r\n\r\n"),
    ITEM("host with path", 400, GET "Host: a/b\r\n\r\n"),
    ITEM("host with a bad port", 400, GET "Host: a:8x\r\n\r\n"),
    ITEM("host with a large port", 400, GET "Host: a:65536\r\n\r\n"),
    ITEM("host of brackets", 400, GET "Host: []\r\n\r\n"),
    ITEM("host of an open bracket", 400, GET "Host: [::1\r\n\r\n"),
    ITEM("1.0 without host", PASS, "GET / HTTP/1.0\r\n\r\n"),
    ITEM("1.0 with two hosts", 400, "GET / HTTP/1.0\r\n" H H "\r\n"),
    /* targets */
    ITEM("query", PASS, "GET /a%20b?c=d&e?f HTTP/1.1\r\n" H "\r\n"),
    ITEM("absolute", PASS, "GET http://A/x?y HTTP/1.1\r\n" H "\r\n"),
    ITEM("absolute without path", PASS, "GET http://a?y HTTP/1.1\r\n" H "\r\n"),
    ITEM("absolute, other host", 400, "GET http://b/x HTTP/1.1\r\n" H "\r\n"),
    ITEM("absolute with userinfo", 400, "GET http://u@a/x HTTP/1.1\r\n" H "\r\n"),
    ITEM("absolute, no host", 400, "GET http:///x HTTP/1.1\r\n" H "\r\n"),
    ITEM("other scheme", 400, "GET ftp://a/x HTTP/1.1\r\n" H "\r\n"),
    ITEM("options star", PASS, "OPTIONS * HTTP/1.1\r\n" H "\r\n"),
    ITEM("get star", 400, "GET * HTTP/1.1\r\n" H "\r\n"),
    ITEM("star and more", 400, "OPTIONS *x HTTP/1.1\r\n" H "\r\n"),
    ITEM("no slash", 400, "GET x HTTP/1.1\r\n" H "\r\n"),
    ITEM("fragment", 400, "GET /a#b HTTP/1.1\r\n" H "\r\n"),
    ITEM("byte 0x80 in the target", 400, "GET /\x80 HTTP/1.1\r\n" H "\r\n"),
    ITEM("NUL in the target", 400, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
    ITEM("tab in the target", 400, "GET /\t HTTP/1.1\r\n" H "\r\n"),
    ITEM("two spaces before the target", 400, "GET  / HTTP/1.1\r\n" H "\r\n"),
    ITEM("two spaces behind the target", 400, "GET /  HTTP/1.1\r\n" H "\r\n"),
    ITEM("space behind the version", 400, "GET / HTTP/1.1 \r\n" H "\r\n"),
    /* methods and versions: H11 */
    ITEM("every method", PASS,
         "GET / HTTP/1.1\r\n" H "\r\nHEAD / HTTP/1.1\r\n" H "\r\nPOST / HTTP/1.1\r\n" H "\r\n"
         "PUT / HTTP/1.1\r\n" H "\r\nPATCH / HTTP/1.1\r\n" H "\r\nDELETE / HTTP/1.1\r\n" H "\r\n"),
    ITEM("0.9", 400, "GET /\r\n"),
    ITEM("HTTP/0.9", 505, "GET / HTTP/0.9\r\n"),
    ITEM("HTTP/1.2", 505, "GET / HTTP/1.2\r\n"),
    ITEM("HTTP/2.0", 505, "GET / HTTP/2.0\r\n"),
    ITEM("HTTP/9.9", 505, "GET / HTTP/9.9\r\n"),
    ITEM("HTTP/1.10", 400, "GET / HTTP/1.10\r\n"),
    ITEM("http/1.1", 400, "GET / http/1.1\r\n"),
    ITEM("RTSP version", 400, "GET / RTSP/1.0\r\n"),
    ITEM("HTTP/2 preface", 501, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ITEM("CONNECT", 501, "CONNECT a:443 HTTP/1.1\r\n"),
    ITEM("TRACE", 501, "TRACE / HTTP/1.1\r\n"),
    ITEM("DESCRIBE", 501, "DESCRIBE / RTSP/1.0\r\n"),
    ITEM("QUERY", 501, "QUERY / HTTP/1.1\r\n"),
    ITEM("lower case method", 501, "get / HTTP/1.1\r\n"),
    ITEM("long method", 501, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ"),
    ITEM("TLS hello", 400, "\x16\x03\x01\x02"),
    ITEM("upgrade is ignored", PASS,
         GET H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" GET H "\r\n"),
    ITEM("upgrade to h2c", PASS, POST "Upgrade: h2c\r\nContent-Length: 1\r\n\r\nx" GET H "\r\n"),
    /* expectations: H17 */
    ITEM("expect continue", PASS, POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx"),
    ITEM("expect foo", 417, POST "Expect: foo\r\nContent-Length: 1\r\n\r\nx"),
    ITEM("expect in 1.0", PASS, "GET / HTTP/1.0\r\nExpect: foo\r\n\r\n"),
    /* unfinished */
    ITEM("half a head", MORE, "GET / HTTP/1.1\r\nHost: a\r\n\r"),
    ITEM("half a body", MORE, POST "Content-Length: 5\r\n\r\nhell"),
    ITEM("half a chunked body", MORE, CHUNKED "5\r\nhello\r\n0\r\n\r"),
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        struct verdict v = judge(items[i].input);
        if (v.status != items[i].status)
            fail_msg("%s: %d instead of %d", items[i].name, v.status, items[i].status);
        if (v.status == PASS)
            assert_true(v.requests >= 1);
    }
}

static void test_requests_are_read_right(void **state)
{
    (void)state;
    static const struct {
        struct str input;
        const char *text;
    } cases[] = {
        {TEXT(GET H "\r\n"), "GET / host=a body=(none) keep=1 h=1;"},
        {TEXT(POST "Content-Length: 0\r\n\r\n"), "POST / host=a body= keep=1 h=2;"},
        {TEXT(CHUNKED "0\r\n\r\n"), "POST / host=a body= keep=1 h=2;"},
        {TEXT(CHUNKED "3\r\nabc\r\n2;e\r\nde\r\n0\r\nHost: evil\r\n\r\n"),
         "POST / host=a body=abcde keep=1 h=2;"},
        {TEXT("GET http://A:1/x?y HTTP/1.1\r\nHost: a:1\r\n\r\n"),
         "GET /x?y host=A:1 body=(none) keep=1 h=1;"},
        {TEXT("GET https://a?y HTTP/1.1\r\n" H "\r\n"), "GET /?y host=a body=(none) keep=1 h=1;"},
        {TEXT("GET http://a HTTP/1.0\r\n\r\n"), "GET / host=a body=(none) keep=0 h=0;"},
        {TEXT("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n"),
         "GET / host= body=(none) keep=1 h=1;"},
        {TEXT(GET H "Connection: CLOSE\r\n\r\n"), "GET / host=a body=(none) keep=0 h=2;"},
        {TEXT(GET H "Connection: keep-alive\r\nConnection: x,close\r\n\r\n"),
         "GET / host=a body=(none) keep=0 h=3;"},
        {TEXT(POST "Content-Length: 2\r\n\r\nab" GET H "\r\n"),
         "POST / host=a body=ab keep=1 h=2;GET / host=a body=(none) keep=1 h=1;"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verdict v = judge(cases[i].input);
        assert_int_equal(v.status, PASS);
        assert_string_equal(v.text, cases[i].text);
    }
}

static void test_details_of_a_request(void **state)
{
    (void)state;
    struct parser parser;
    struct arena arena;
    struct request req = {0};
    parser_init(&parser, &limits);
    arena_init(&arena);
    struct str input = STR("POST /p?q=1 HTTP/1.1\r\nHOST: a\r\nX-Mixed: \t v w \t\r\nEmpty:  \r\n"
                           "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(parser_feed(&parser, &input, &arena, &req), PARSER_HEAD);
    assert_int_equal(input.len, 0);
    assert_true(req.expects_continue);
    assert_int_equal(req.method, METHOD_POST);
    assert_true(str_eq(req.path, STR("/p")));
    assert_true(str_eq(req.query, STR("q=1")));
    assert_true(str_eq(req.headers.items[1].name, STR("x-mixed")));
    assert_true(str_eq(req.headers.items[1].value, STR("v w")));
    assert_true(str_eq(req.headers.items[2].value, STR("")));
    assert_null(req.body.ptr);
    assert_int_equal(parser_body_length(&parser), 3);
    input = STR("a");
    assert_int_equal(parser_feed(&parser, &input, NULL, NULL), PARSER_BODY);
    assert_true(str_eq(parser.piece, STR("a")));
    input = STR("bcGET");
    assert_int_equal(parser_feed(&parser, &input, NULL, NULL), PARSER_DONE);
    assert_true(str_eq(parser.piece, STR("bc")));
    assert_true(str_eq(input, STR("GET")));
    assert_true(parser_is_idle(&parser));
    arena_free(&arena);
    parser_free(&parser);
}

/* One with a credential of `len` bytes; `odd` (0: none) stands in its middle. NULL value: refused.
 */
static void read_credential(const char *name, size_t len, char odd, size_t cut, const char *wanted)
{
    char text[1024], value[512];
    for (size_t i = 0; i < len; i++)
        value[i] = (char)('!' + i % 90);
    value[len] = '\0';
    if (odd != 0)
        value[len / 2] = odd;
    int size = snprintf(
        text, sizeof(text),
        "\r\nPOST /p HTTP/1.1\r\nHost: a\r\n%s:  %s \r\nContent-Length: 0\t\r\nX: y\r\n\r\n", name,
        value);
    struct parser parser;
    struct arena arena;
    struct request req = {0};
    parser_init(&parser, &limits);
    arena_init(&arena);
    struct str input = {text, cut < (size_t)size ? cut : (size_t)size};
    enum parser_event event = parser_feed(&parser, &input, &arena, &req);
    if (event == PARSER_MORE) {
        input = (struct str){text + cut, (size_t)size - cut};
        event = parser_feed(&parser, &input, &arena, &req);
    }
    assert_int_equal(event, wanted != NULL ? PARSER_DONE : PARSER_FAULT);
    if (wanted != NULL) {
        assert_int_equal(req.headers.len, 4);
        assert_true(str_eq(req.headers.items[0].value, STR("a")));
        assert_true(str_eq(req.headers.items[1].name, str_from(wanted)));
        assert_true(str_eq(req.headers.items[1].value, str_from(value)));
        assert_true(str_eq(req.headers.items[3].value, STR("y")));
    }
    arena_free(&arena);
    parser_free(&parser);
}

/* llhttp does not see all of a long one. */
static void test_long_credentials_are_whole(void **state)
{
    (void)state;
    for (size_t len = 1; len < 500; len++) {
        read_credential("Authorization", len, 0, 1000, "authorization");
        read_credential("cOOKIE", len, 0, 1000, "cookie");
        read_credential("X-Long", len, 0, 1000, "x-long");
        read_credential("Cookie", len, 0, 40 + len / 2, "cookie");
        read_credential("Cookie", len, '\x01', 1000, NULL);
        read_credential("Authorization", len, '\r', 1000, NULL);
    }
}

/* A request whose parts have the given sizes. */
static struct str build(size_t target, unsigned headers, size_t value)
{
    struct buf b = BUF_INIT;
    buf_add_str(&b, STR("GET /"));
    for (size_t i = 1; i < target; i++)
        buf_add_char(&b, 'a');
    buf_add_str(&b, STR(" HTTP/1.1\r\nHost: a\r\n"));
    for (unsigned i = 1; i < headers; i++) {
        buf_add_str(&b, STR("X: "));
        for (size_t k = 0; k < value; k++)
            buf_add_char(&b, 'v');
        buf_add_str(&b, STR("\r\n"));
    }
    buf_add_str(&b, STR("\r\n"));
    assert_false(buf_failed(&b));
    return buf_str(&b);
}

static void test_limits(void **state)
{
    (void)state;
    enum { FIXED = sizeof("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n") - 1 };
    static const struct {
        size_t target;
        unsigned headers;
        size_t value;
        int status;
    } cases[] = {
        {LIMIT_TARGET_BYTES, 1, 0, PASS},
        {LIMIT_TARGET_BYTES + 1, 1, 0, 414},
        {LIMIT_HEADER_BYTES + 1, 1, 0, 414},
        {1, LIMIT_HEADER_COUNT, 1, PASS},
        {1, LIMIT_HEADER_COUNT + 1, 1, 431},
        {1, 2, LIMIT_HEADER_BYTES - FIXED, PASS},
        {1, 2, LIMIT_HEADER_BYTES - FIXED + 1, 431},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str input = build(cases[i].target, cases[i].headers, cases[i].value);
        struct verdict v = judge(input);
        if (v.status != cases[i].status)
            fail_msg("case %zu: %d instead of %d", i, v.status, cases[i].status);
        free((char *)(uintptr_t)input.ptr);
    }
}

/* Feeds `piece` again and again behind a chunked head; what is held stays small. */
static int flood(struct str piece, unsigned times, unsigned *fed)
{
    struct parser parser;
    struct arena arena;
    struct request req = {0};
    parser_init(&parser, &limits);
    arena_init(&arena);
    struct str head = STR(CHUNKED);
    assert_int_equal(parser_feed(&parser, &head, &arena, &req), PARSER_HEAD);
    parser_limit_body(&parser, LIMIT_BODY_BYTES);
    int status = MORE;
    for (*fed = 0; *fed < times && status == MORE; ++*fed) {
        struct str input = piece;
        while (input.len > 0 && status == MORE) {
            if (parser_feed(&parser, &input, &arena, &req) == PARSER_FAULT)
                status = parser.fault->status;
        }
        assert_true(arena.total + parser.head.cap < 64 * 1024);
    }
    arena_free(&arena);
    parser_free(&parser);
    return status;
}

static void test_wasteful_chunks_end_early(void **state)
{
    (void)state;
    unsigned fed = 0;
    assert_int_equal(flood(STR("1\r\nx\r\n"), 1000000, &fed), 413);
    assert_true(fed > 1000 && fed < 10000);
    assert_int_equal(flood(STR("1\r\nx\r\n"), 2000, &fed), MORE);
    assert_int_equal(flood(STR("10\r\n0123456789abcdef\r\n"), 4000, &fed), MORE);
    char extension[1024];
    memset(extension, 'e', sizeof(extension));
    memcpy(extension, "3;", 2);
    struct str line = {extension, sizeof(extension)};
    assert_int_equal(flood(line, 1, &fed), MORE);
    /* the first piece begins an extension, the others go on with it where ';' and digits may be */
    assert_int_equal(flood(line, 64, &fed), 413);
    assert_int_equal(fed, 17);
}

static void test_trailers_are_bounded(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_add_str(&b, STR(CHUNKED "0\r\nX: "));
    while (b.len < 6000)
        buf_add_char(&b, 'v');
    size_t small = b.len;
    buf_add_str(&b, STR("\r\n\r\n"));
    assert_int_equal(judge(buf_str(&b)).status, PASS);
    b.len = small;
    while (b.len < LIMIT_TRAILER_BYTES + 200)
        buf_add_char(&b, 'v');
    buf_add_str(&b, STR("\r\n\r\n"));
    assert_int_equal(judge(buf_str(&b)).status, 431);
    buf_free(&b);
}

static void test_body_lengths(void **state)
{
    (void)state;
    static const struct {
        struct str head;
        uint64_t length;
    } cases[] = {
        {TEXT(POST "Content-Length: 1\r\n\r\n"), 1},
        {TEXT(POST "Content-Length: 18446744073709551614\r\n\r\n"), UINT64_MAX - 1},
        {TEXT(POST "Content-Length: 18446744073709551615\r\n\r\n"), UINT64_MAX - 1},
        {TEXT(CHUNKED), BODY_UNSIZED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parser parser;
        struct arena arena;
        struct request req = {0};
        parser_init(&parser, &limits);
        arena_init(&arena);
        struct str input = cases[i].head;
        assert_int_equal(parser_feed(&parser, &input, &arena, &req), PARSER_HEAD);
        assert_true(parser_body_length(&parser) == cases[i].length);
        arena_free(&arena);
        parser_free(&parser);
    }
}

/* A body that is of no interest is read over when it is short; its length may be known or not. */
static void test_skipping(void **state)
{
    (void)state;
    static const struct {
        struct str head, rest;
        bool may;
        enum parser_event event;
    } cases[] = {
        {TEXT(POST "Content-Length: 5\r\n\r\n"), TEXT("abcdeGET"), true, PARSER_DONE},
        {TEXT(POST "Content-Length: 6\r\n\r\n"), TEXT(""), false, PARSER_MORE},
        {TEXT(CHUNKED), TEXT("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\nGET"), true, PARSER_DONE},
        {TEXT(CHUNKED), TEXT("2\r\nab\r\n4\r\n"), true, PARSER_FAULT},
        {TEXT(CHUNKED "5\r\na"), TEXT("bcde\r\n1\r\nf\r\n0\r\n\r\nGET"), true, PARSER_DONE},
        {TEXT(CHUNKED "5\r\na"), TEXT("bcde\r\n2\r\n"), true, PARSER_FAULT},
        {TEXT(CHUNKED "7\r\na"), TEXT(""), false, PARSER_MORE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parser parser;
        struct arena arena;
        struct request req = {0};
        parser_init(&parser, &limits);
        arena_init(&arena);
        struct str input = cases[i].head;
        while (input.len > 0)
            (void)parser_feed(&parser, &input, &arena, &req);
        assert_int_equal(parser_skip_body(&parser, 5), cases[i].may);
        enum parser_event event = PARSER_MORE;
        input = cases[i].rest;
        while (input.len > 0 && event != PARSER_DONE && event != PARSER_FAULT)
            event = parser_feed(&parser, &input, NULL, NULL);
        assert_int_equal(event, cases[i].event);
        if (event == PARSER_DONE)
            assert_true(str_eq(input, STR("GET")));
        assert_int_equal(parser_skip_body(&parser, 5), false);
        arena_free(&arena);
        parser_free(&parser);
    }
}

static void test_a_refusal_is_final(void **state)
{
    (void)state;
    struct parser parser;
    struct arena arena;
    struct request req = {0};
    parser_init(&parser, &limits);
    arena_init(&arena);
    struct str input = STR("HEAD / HTTP/1.1\n" SMUGGLED);
    assert_int_equal(parser_feed(&parser, &input, &arena, &req), PARSER_FAULT);
    assert_int_equal(req.method, METHOD_HEAD);
    assert_string_equal(parser.fault->code, "bad_request");
    input = STR(SMUGGLED);
    assert_int_equal(parser_feed(&parser, &input, &arena, &req), PARSER_FAULT);
    assert_false(parser_is_idle(&parser));
    arena_free(&arena);
    parser_free(&parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_requests_are_read_right),
        cmocka_unit_test(test_details_of_a_request),
        cmocka_unit_test(test_long_credentials_are_whole),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_wasteful_chunks_end_early),
        cmocka_unit_test(test_trailers_are_bounded),
        cmocka_unit_test(test_body_lengths),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_a_refusal_is_final),
    };
    return cmocka_run_group_tests_name("http_parser", tests, NULL, NULL);
}
