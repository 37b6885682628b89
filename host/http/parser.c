/* Heads and bodies of one request after the other. */
#include "http/parser.h"

#include <llhttp.h>

#include "base/limits.h"

static const struct http_fault malformed = {400, "bad_request",
                                            "Bad request: the request is malformed"};

/* What llhttp's callbacks fill. */
struct collector {
    llhttp_t llhttp; /* first, so that the callbacks find the rest */
    struct request *req;
    struct arena *arena;
    char *head; /* the copy in the arena; names are lowered in place */
    const char *start;
    struct str name;
    struct str value;
    bool complete;
};

static void extend(struct str *span, const char *at, size_t len)
{
    if (span->ptr == NULL)
        *span = (struct str){at, len};
    else
        span->len = (size_t)(at - span->ptr) + len;
}

static struct collector *collector_of(llhttp_t *llhttp)
{
    return (struct collector *)(void *)llhttp;
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&collector_of(llhttp)->req->target, at, len);
    return 0;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&collector_of(llhttp)->name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    extend(&collector_of(llhttp)->value, at, len);
    return 0;
}

static int on_header_value_complete(llhttp_t *llhttp)
{
    struct collector *c = collector_of(llhttp);
    str_lower(c->head + (c->name.ptr - c->start), c->name.len);
    if (headers_add(&c->req->headers, c->arena, c->name, str_trim(c->value)) != 0)
        return HPE_USER;
    c->name = c->value = (struct str){NULL, 0};
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    collector_of(llhttp)->complete = true;
    return HPE_PAUSED; /* the body is not llhttp's business */
}

static const llhttp_settings_t *settings(void)
{
    static const llhttp_settings_t table = {
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_header_value_complete = on_header_value_complete,
        .on_headers_complete = on_headers_complete,
    };
    return &table;
}

/* Without the inside of a long credential: a value's bytes are all one to llhttp as long as they
 * are what the scanner lets pass. */
static llhttp_errno_t run_llhttp(struct collector *c, const struct head_scan *scan)
{
    size_t before = scan->credential, behind = before + scan->credential_len;
    llhttp_init(&c->llhttp, HTTP_REQUEST, settings());
    llhttp_errno_t error = before > 0 ? llhttp_execute(&c->llhttp, c->head, before) : HPE_OK;
    if (error != HPE_OK)
        return error;
    return llhttp_execute(&c->llhttp, c->head + behind, scan->bytes - behind);
}

/* Tabs behind a length are optional whitespace (RFC 9110 5.6.3), which llhttp 8.1 refuses: they
 * become spaces. False when that is not what it stopped at. */
static bool blank_tabs(struct collector *c, size_t len)
{
    bool any = false;
    size_t at = (size_t)(llhttp_get_error_pos(&c->llhttp) - c->head);
    for (; at < len && (c->head[at] == ' ' || c->head[at] == '\t'); at++) {
        any |= c->head[at] == '\t';
        c->head[at] = ' ';
    }
    c->req->headers.len = 0;
    c->req->target = c->name = c->value = (struct str){NULL, 0};
    return any;
}

/* The second opinion. The scanner's reading of the head must be llhttp's. */
static const struct http_fault *parse_head(const struct parser *parser, char *head, size_t len,
                                           struct arena *arena, struct request *req)
{
    struct collector c = {.req = req, .arena = arena, .head = head, .start = head};
    unsigned lines = parser->scan.lines;
    req->headers.items = arena_alloc(arena, lines * sizeof(struct header));
    if (req->headers.items == NULL)
        return &fault_no_memory;
    req->headers.cap = lines;
    llhttp_errno_t error = run_llhttp(&c, &parser->scan);
    if (error == HPE_INVALID_CONTENT_LENGTH && blank_tabs(&c, len))
        error = run_llhttp(&c, &parser->scan);
    if (error == HPE_USER)
        return &fault_no_memory;
    if (error != HPE_PAUSED || !c.complete || llhttp_get_error_pos(&c.llhttp) != head + len ||
        req->headers.len != lines || req->target.len != parser->scan.target_len)
        return &malformed;
    return NULL;
}

void parser_init(struct parser *parser, const struct parser_limits *limits)
{
    *parser = (struct parser){.limits = limits, .head = BUF_INIT};
    head_scan_init(&parser->scan, limits->header_bytes);
}

void parser_free(struct parser *parser)
{
    buf_free(&parser->head);
    head_memo_free(&parser->memo);
}

bool parser_is_idle(const struct parser *parser)
{
    return parser->state == PARSER_IN_HEAD && parser->scan.state <= HEAD_START_LF;
}

static enum parser_event refuse(struct parser *parser, const struct http_fault *fault)
{
    parser->fault = fault;
    parser->state = PARSER_FAILED;
    buf_free(&parser->head);
    return PARSER_FAULT;
}

static enum parser_event finish(struct parser *parser)
{
    parser->state = PARSER_IN_HEAD;
    head_scan_init(&parser->scan, parser->limits->header_bytes);
    return PARSER_DONE;
}

/* The head in one piece, in the arena, without the empty lines before it. */
static char *gather_head(struct parser *parser, struct str last, struct arena *arena)
{
    size_t before = parser->head.len;
    char *head = arena_alloc(arena, before + last.len + 1);
    if (head == NULL)
        return NULL;
    if (before > 0)
        memcpy(head, parser->head.data, before);
    memcpy(head + before, last.ptr, last.len);
    buf_free(&parser->head); /* an idle connection keeps none */
    return head + parser->scan.skipped;
}

/* What follows the head. */
static void expect_body(struct parser *parser, const struct head_framing *framing,
                        struct request *req)
{
    if (framing->body == BODY_LENGTH && framing->length == 0) {
        req->body = STR(""); /* complete already, and not the same as no body */
    } else if (framing->body == BODY_LENGTH) {
        parser->state = PARSER_IN_LENGTH;
        parser->body_left = framing->length;
    } else if (framing->body == BODY_CHUNKED) {
        parser->state = PARSER_IN_CHUNKED;
        chunked_init(&parser->chunked, CHUNKED_MAX);
    }
}

static const struct http_fault *take_head(struct parser *parser, struct str last,
                                          struct arena *arena, struct request *req)
{
    bool in_one_piece = last.len == parser->scan.bytes;
    char *head = gather_head(parser, last, arena);
    if (head == NULL)
        return &fault_no_memory;
    struct head_framing framing;
    req->version_minor = parser->scan.version_minor;
    const struct http_fault *fault = parse_head(parser, head, parser->scan.bytes, arena, req);
    if (fault == NULL)
        fault = head_check(req, arena, &framing);
    if (fault != NULL)
        return fault;
    if (in_one_piece && req->keep_alive && !req->upgrade) /* after which no other head comes */
        head_memo_keep(&parser->memo, last, head, req, &framing);
    expect_body(parser, &framing, req);
    return NULL;
}

static enum parser_event end_head(struct parser *parser)
{
    parser->piece = (struct str){NULL, 0};
    return parser->state == PARSER_IN_HEAD ? finish(parser) : PARSER_HEAD;
}

/* At the beginning of a request: is its head that of the one before? */
static bool recall_head(struct parser *parser, struct str *input, struct arena *arena,
                        struct request *req)
{
    if (parser->memo.kept == NULL || parser->scan.bytes + parser->scan.skipped > 0 ||
        parser->scan.limit < LIMIT_HEAD_KEPT)
        return false;
    struct head_framing framing;
    size_t len = head_memo_recall(&parser->memo, *input, arena, req, &framing);
    if (len > 0)
        expect_body(parser, &framing, req);
    *input = str_skip(*input, len);
    return len > 0;
}

static enum parser_event feed_head(struct parser *parser, struct str *input, struct arena *arena,
                                   struct request *req)
{
    if (recall_head(parser, input, arena, req))
        return end_head(parser);
    size_t used = 0;
    const struct http_fault *fault = head_scan_feed(&parser->scan, *input, &used);
    struct str piece = {input->ptr, used};
    *input = str_skip(*input, used);
    req->method = parser->scan.method;
    req->method_name = str_from(request_method_name(req->method));
    if (fault != NULL)
        return refuse(parser, fault);
    if (parser->scan.state != HEAD_DONE) {
        buf_add_str(&parser->head, piece);
        return buf_failed(&parser->head) ? refuse(parser, &fault_no_memory) : PARSER_MORE;
    }
    fault = take_head(parser, piece, arena, req);
    return fault != NULL ? refuse(parser, fault) : end_head(parser);
}

static enum parser_event feed_length(struct parser *parser, struct str *input)
{
    size_t len = input->len < parser->body_left ? input->len : (size_t)parser->body_left;
    parser->piece = (struct str){input->ptr, len};
    *input = str_skip(*input, len);
    parser->body_left -= len;
    return parser->body_left > 0 ? PARSER_BODY : finish(parser);
}

static enum parser_event feed_chunked(struct parser *parser, struct str *input)
{
    while (input->len > 0) {
        const struct http_fault *fault = chunked_feed(&parser->chunked, input, &parser->piece);
        if (fault != NULL)
            return refuse(parser, fault);
        if (parser->chunked.state == CHUNKED_DONE)
            return finish(parser);
        if (parser->piece.len > 0)
            return PARSER_BODY;
    }
    return PARSER_MORE;
}

enum parser_event parser_feed(struct parser *parser, struct str *input, struct arena *arena,
                              struct request *req)
{
    switch (parser->state) {
    case PARSER_IN_HEAD:
        return feed_head(parser, input, arena, req);
    case PARSER_IN_LENGTH:
        return feed_length(parser, input);
    case PARSER_IN_CHUNKED:
        return feed_chunked(parser, input);
    case PARSER_FAILED:
        break;
    }
    return PARSER_FAULT;
}

/* A length that happens to be the word for none is as good as the one below it. */
uint64_t parser_body_length(const struct parser *parser)
{
    if (parser->state != PARSER_IN_LENGTH)
        return BODY_UNSIZED;
    return parser->body_left < BODY_UNSIZED ? parser->body_left : BODY_UNSIZED - 1;
}

void parser_limit_body(struct parser *parser, uint64_t limit)
{
    parser->chunked.limit = limit < CHUNKED_MAX ? limit : CHUNKED_MAX;
}

bool parser_skip_body(struct parser *parser, uint64_t most)
{
    struct chunked *chunked = &parser->chunked;
    if (parser->state == PARSER_IN_LENGTH)
        return parser->body_left <= most;
    uint64_t left = chunked->state == CHUNKED_DATA ? chunked->left : 0;
    if (parser->state != PARSER_IN_CHUNKED || left > most)
        return false;
    chunked->limit = chunked->data + most - left;
    return true;
}

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *parser_library_version(void)
{
    return TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
}
