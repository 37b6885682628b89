/* Bytes of one connection -> requests. No sockets, no Lua: it is fed and it fills a request.
 *
 * A head is scanned byte by byte as it comes (head_scan), and once complete it is copied into the
 * request's arena, parsed a second time by llhttp, whose opinion must be the same, and judged as a
 * whole (head_check). A head that is the same as the one before was read already (head_memo).
 * Names, values and target are slices of that copy. Bodies with Content-Length and chunked ones are
 * given piece by piece, as slices of the input; nothing of them is kept here. What is refused, and
 * with which status, does not depend on how the bytes were cut, or on what came before. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "http/body.h"
#include "http/chunked.h"
#include "http/head_check.h"
#include "http/head_memo.h"
#include "http/head_scan.h"
#include "http/request.h"

struct parser_limits {
    size_t header_bytes;
};

enum parser_state {
    PARSER_IN_HEAD,
    PARSER_IN_LENGTH,  /* in a body with Content-Length */
    PARSER_IN_CHUNKED, /* in a chunked body */
    PARSER_FAILED
};

enum parser_event {
    PARSER_MORE, /* the input is used up */
    PARSER_HEAD, /* the head of a request with a body; the request is filled but for the body */
    PARSER_BODY, /* `piece` is the next of the body */
    PARSER_DONE, /* the request is complete; `piece` is the last of the body, if there is any */
    PARSER_FAULT /* refused: answer parser->fault, if only for manners, and close */
};

struct parser {
    const struct parser_limits *limits; /* borrowed */
    const struct http_fault *fault;     /* static; after PARSER_FAULT */
    enum parser_state state;
    struct head_scan scan;
    struct buf head; /* the beginning of a head whose end has not come */
    struct head_memo memo;
    struct str piece;   /* after PARSER_BODY and PARSER_DONE: a slice of the input */
    uint64_t body_left; /* of a body with Content-Length */
    struct chunked chunked;
};

/* `limits` must outlive the parser. */
void parser_init(struct parser *parser, const struct parser_limits *limits);
void parser_free(struct parser *parser);

/* Takes bytes from the front of *input until something happens. `req` (zeroed for a new request)
 * and `arena` must be the same from the first byte of a request to its PARSER_HEAD or PARSER_DONE;
 * in a body they are not looked at. Bytes behind a request stay in *input. After PARSER_FAULT the
 * parser says PARSER_FAULT for ever; req->method is set when it was known. Does not set req->scheme
 * and req->client_ip. */
enum parser_event parser_feed(struct parser *parser, struct str *input, struct arena *arena,
                              struct request *req);

/* After PARSER_HEAD: the length that was announced, or BODY_UNSIZED. */
uint64_t parser_body_length(const struct parser *parser);

/* A chunked body that announces more than this in all is refused from now on. */
void parser_limit_body(struct parser *parser, uint64_t limit);

/* In a body that is of no interest any more: may the rest be read over? False when it is longer
 * than `most`, or was refused. One whose length is not known is refused once it is longer. */
bool parser_skip_body(struct parser *parser, uint64_t most);

/* Between two requests: nothing of the next one has come? (Empty lines do not count.) */
bool parser_is_idle(const struct parser *parser);

/* "8.1.0"; static. */
const char *parser_library_version(void);
