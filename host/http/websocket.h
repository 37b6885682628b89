/* WebSocket (RFC 6455) without sockets: the opening handshake, and frames between bytes and
 * messages. The server's side: frames that come are masked, frames that go are not. No extensions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "http/fault.h"
#include "http/request.h"

enum websocket_kind {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10
};

/* Section 7.4.1; those of the second line never travel. */
enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_BAD_DATA = 1007,
    WEBSOCKET_POLICY = 1008,
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL = 1011,
    WEBSOCKET_LATER = 1013,
    WEBSOCKET_NO_CODE = 1005,
    WEBSOCKET_ABNORMAL = 1006
};

enum { WEBSOCKET_CONTROL_MAX = 125, WEBSOCKET_REASON_MAX = 123, WEBSOCKET_ACCEPT_BYTES = 28 };

/* ---- the opening handshake (section 4.2; RFC 8441 where `req` has no key) ---- */

/* NULL, or why this request cannot become a WebSocket: 426, 400. */
const struct http_fault *websocket_check(const struct request *req);
extern const struct http_fault websocket_wrong_version; /* whose answer names the right one */
/* The value of Sec-WebSocket-Accept for the key of the client. */
void websocket_accept(struct str key, char out[WEBSOCKET_ACCEPT_BYTES]);
/* Did the client offer this subprotocol? */
bool websocket_offers(const struct request *req, struct str protocol);

/* ---- reading ---- */

enum websocket_event {
    WEBSOCKET_MORE,    /* the input is used up */
    WEBSOCKET_MESSAGE, /* `message` is one, of `kind`: to be used before the next call */
    WEBSOCKET_CONTROL, /* websocket_control came in a frame of `control_kind`; of a close `code` is
                          set, to NO_CODE where there was none */
    WEBSOCKET_FAULT    /* `code` says why; nothing is read any more */
};

/* In small fields: idle connections are many. */
struct websocket_reader {
    size_t limit;  /* bytes of a message */
    uint64_t left; /* of the payload of the frame that comes */
    struct buf message;
    char *control; /* owned, until the next call: most connections never hold one */
    uint8_t control_len;
    uint16_t code;
    uint8_t kind; /* of the message that comes; 0: none does */
    uint8_t control_kind;
    uint8_t opcode;  /* of the frame that comes */
    uint8_t mask_at; /* position in its mask */
    unsigned char mask[4];
    unsigned char head[14];
    uint8_t head_len;
    bool in_payload, fin, done, failed;
};

static inline void websocket_reader_init(struct websocket_reader *reader, size_t limit)
{
    *reader = (struct websocket_reader){.limit = limit, .message = BUF_INIT};
}

static inline void websocket_reader_free(struct websocket_reader *reader)
{
    buf_free(&reader->message);
    free(reader->control);
    reader->control = NULL;
    reader->control_len = 0;
}

/* After WEBSOCKET_CONTROL: what came. */
static inline struct str websocket_control(const struct websocket_reader *reader)
{
    return (struct str){reader->control, reader->control_len};
}

/* Takes bytes from the front of *input until something happens. */
enum websocket_event websocket_feed(struct websocket_reader *reader, struct str *input);

/* ---- writing; all fail as a buf does ---- */

void websocket_put(struct buf *out, enum websocket_kind kind, struct str payload);
/* NO_CODE: an empty one. The reason is cut to WEBSOCKET_REASON_MAX, not within a character. */
void websocket_put_close(struct buf *out, unsigned code, struct str reason);
/* May a program close with this code? */
bool websocket_code_is_valid(long long code);
