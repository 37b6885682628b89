/* libFuzzer target: bytes of a connection through the parser, whole and cut in two at a place that
 * the input chooses. Both must give the same requests and the same refusal, whole requests that
 * come again must be read again, and what passes must keep the parser's promises. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/parser.h"

enum { BODY_MAX = 256 };

static const struct parser_limits limits = {.header_bytes = 4096};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static void check(const struct request *req)
{
    expect(req->method < METHOD_COUNT, "a known method");
    expect(req->path.len > 0 && (req->path.ptr[0] == '/' || req->method == METHOD_OPTIONS),
           "a path");
    expect(req->version_minor == 0 || req->host.len > 0, "a host");
    for (uint32_t i = 0; i < req->headers.len; i++) {
        struct header h = req->headers.items[i];
        expect(header_name_is_valid(h.name), "a valid name");
        expect(header_value_is_valid(h.value), "a valid value");
        expect(str_eq(h.value, str_trim(h.value)), "a trimmed value");
        for (size_t k = 0; k < h.name.len; k++)
            expect(h.name.ptr[k] < 'A' || h.name.ptr[k] > 'Z', "a name in lower case");
    }
}

static void add_text(struct buf *out, struct str s)
{
    buf_printf(out, "%zu:", s.len);
    buf_add_str(out, s);
}

static void note(struct buf *out, const struct request *req, const struct buf *body)
{
    add_text(out, req->method_name);
    add_text(out, req->target);
    add_text(out, req->path);
    add_text(out, req->query);
    add_text(out, req->host);
    for (uint32_t i = 0; i < req->headers.len; i++) {
        add_text(out, req->headers.items[i].name);
        add_text(out, req->headers.items[i].value);
    }
    buf_add_char(out, req->body.ptr != NULL ? '+' : '-');
    add_text(out, buf_str(body));
    buf_printf(out, "%d%d%d;", req->version_minor, req->keep_alive, req->expects_continue);
}

struct run {
    struct parser parser;
    struct arena arena;
    struct request req;
    struct buf body;
    struct buf *out;
    bool refused;
};

static void feed(struct run *run, const uint8_t *data, size_t size)
{
    char *exact = malloc(size > 0 ? size : 1);
    expect(exact != NULL, "memory");
    if (size > 0)
        memcpy(exact, data, size);
    struct str input = {exact, size};
    while (input.len > 0 && !run->refused) {
        enum parser_event event = parser_feed(&run->parser, &input, &run->arena, &run->req);
        if (event == PARSER_FAULT) {
            buf_printf(run->out, "%d %s", run->parser.fault->status, run->parser.fault->text);
            run->refused = true;
        } else if (event == PARSER_HEAD) {
            run->refused = parser_body_length(&run->parser) != BODY_UNSIZED &&
                           parser_body_length(&run->parser) > BODY_MAX;
            parser_limit_body(&run->parser, BODY_MAX);
        } else if (event == PARSER_BODY) {
            buf_add_str(&run->body, run->parser.piece);
        } else if (event == PARSER_DONE) {
            buf_add_str(&run->body, run->parser.piece);
            expect(run->body.len <= BODY_MAX, "a body within the limit");
            check(&run->req);
            note(run->out, &run->req, &run->body);
            arena_reset(&run->arena);
            buf_clear(&run->body);
            run->req = (struct request){0};
        }
    }
    free(exact);
}

static void parse(const uint8_t *data, size_t size, size_t cut, struct buf *out)
{
    struct run run = {.out = out};
    parser_init(&run.parser, &limits);
    arena_init(&run.arena);
    feed(&run, data, cut);
    feed(&run, data + cut, size - cut);
    buf_printf(out, "idle=%d", parser_is_idle(&run.parser));
    buf_free(&run.body);
    arena_free(&run.arena);
    parser_free(&run.parser);
}

/* What the parser has read is the same when it comes a second and a third time. */
static void repeat(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT;
    struct run run = {.out = &out};
    parser_init(&run.parser, &limits);
    arena_init(&run.arena);
    feed(&run, data, size);
    size_t once = out.len;
    for (size_t times = 1; times < 3 && !run.refused && run.parser.scan.bytes == 0 &&
                           run.parser.scan.skipped == 0 && parser_is_idle(&run.parser);
         times++) {
        feed(&run, data, size);
        expect(out.len == once * (times + 1), "the same requests again");
        expect(memcmp(out.data, out.data + once * times, once) == 0, "the same reading again");
    }
    buf_free(&run.body);
    buf_free(&out);
    arena_free(&run.arena);
    parser_free(&run.parser);
}

/* The first two bytes choose the cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t cut = (size_t)(data[0] | data[1] << 8) % (size - 1);
    struct buf whole = BUF_INIT;
    struct buf halves = BUF_INIT;
    parse(data + 2, size - 2, size - 2, &whole);
    parse(data + 2, size - 2, cut, &halves);
    expect(str_eq(buf_str(&whole), buf_str(&halves)), "the same for every cut");
    repeat(data + 2, size - 2);
    buf_free(&whole);
    buf_free(&halves);
    return 0;
}
