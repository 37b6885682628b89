/* WebSocket: the handshake's rules, a reader that is fed in pieces of any size, and frames to send.
 *
 * By hand and not by wslay, which Debian has: it answers a fragmented control frame, a length that
 * is not the shortest and a close of one byte otherwise than sections 5.2 and 5.5 say, and its
 * context wants buffers of its own for each connection. */
#include "http/websocket.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/base64.h"

enum { KEY_BYTES = 16, KEY_CHARS = 24, FIN = 0x80, RESERVED = 0x70, MASKED = 0x80 };

/* ---- the opening handshake ---- */

static const struct http_fault no_upgrade = {426, "upgrade_required",
                                             "This function speaks WebSocket"};
const struct http_fault websocket_wrong_version = {426, "upgrade_required",
                                                   "Sec-WebSocket-Version must be 13"};
static const struct http_fault bad_key = {400, "bad_request",
                                          "Sec-WebSocket-Key must be the base64 of 16 bytes"};

static bool key_is_valid(struct str key)
{
    char bytes[BASE64_DECODED_MAX(KEY_CHARS)];
    return key.len == KEY_CHARS && base64_decode(key, BASE64_STANDARD, bytes, NULL) == KEY_BYTES;
}

const struct http_fault *websocket_check(const struct request *req)
{
    const struct str *version, *key;
    if (!req->upgrade)
        return &no_upgrade;
    version = headers_get(&req->headers, STR("sec-websocket-version"));
    if (version == NULL || !str_eq(str_trim(*version), STR("13")))
        return &websocket_wrong_version;
    if (req->tunnel)
        return NULL;
    key = headers_get(&req->headers, STR("sec-websocket-key"));
    if (key == NULL || headers_count(&req->headers, STR("sec-websocket-key")) != 1 ||
        !key_is_valid(*key))
        return &bad_key;
    return NULL;
}

void websocket_accept(struct str key, char out[WEBSOCKET_ACCEPT_BYTES])
{
    static const char suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_CHARS + sizeof(suffix)];
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    unsigned len = 0;
    memcpy(text, key.ptr, KEY_CHARS);
    memcpy(text + KEY_CHARS, suffix, sizeof(suffix) - 1);
    /* A digest that cannot be made is one that the client refuses. */
    if (EVP_Digest(text, KEY_CHARS + sizeof(suffix) - 1, digest, &len, EVP_sha1(), NULL) != 1)
        len = 20;
    base64_encode((struct str){(const char *)digest, len}, BASE64_STANDARD, out);
}

bool websocket_offers(const struct request *req, struct str protocol)
{
    for (uint32_t i = 0; i < req->headers.len; i++) {
        struct str rest = req->headers.items[i].value, one;
        if (!str_eq(req->headers.items[i].name, STR("sec-websocket-protocol")))
            continue;
        while (str_split_next(&rest, ',', &one)) {
            if (str_eq(str_trim(one), protocol))
                return true;
        }
    }
    return false;
}

/* ---- reading ---- */

static enum websocket_event fail(struct websocket_reader *r, unsigned code)
{
    r->failed = true;
    r->code = (uint16_t)code;
    buf_free(&r->message);
    return WEBSOCKET_FAULT;
}

/* The bytes of the head, as far as those that are there tell. */
static unsigned head_size(const struct websocket_reader *r)
{
    if (r->head_len < 2)
        return 2;
    unsigned length = r->head[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

static uint64_t read_length(const unsigned char *head)
{
    unsigned short_length = head[1] & 0x7f, count = short_length == 126 ? 2 : 8;
    uint64_t length = 0;
    if (short_length < 126)
        return short_length;
    for (unsigned i = 0; i < count; i++)
        length = length << 8 | head[2 + i];
    return length;
}

/* Section 5.2: a length in its shortest form, below 2^63. */
static bool length_is_shortest(const unsigned char *head, uint64_t length)
{
    unsigned first = head[1] & 0x7f;
    if (first == 126)
        return length > 125;
    return first != 127 || (length > UINT16_MAX && length >> 63 == 0);
}

static bool is_control(unsigned opcode)
{
    return (opcode & 8) != 0;
}

/* Sections 5.1, 5.4, 5.5. Returns 0, or the code to fail with. */
static unsigned check_head(const struct websocket_reader *r)
{
    const unsigned char *head = r->head;
    bool known = r->opcode <= WEBSOCKET_BINARY ||
                 (r->opcode >= WEBSOCKET_CLOSE && r->opcode <= WEBSOCKET_PONG);
    if ((head[0] & RESERVED) != 0 || (head[1] & MASKED) == 0 || !known ||
        !length_is_shortest(head, r->left))
        return WEBSOCKET_PROTOCOL_ERROR;
    if (is_control(r->opcode))
        return r->fin && r->left <= WEBSOCKET_CONTROL_MAX ? 0 : WEBSOCKET_PROTOCOL_ERROR;
    if ((r->opcode == WEBSOCKET_CONTINUATION) != (r->kind != 0))
        return WEBSOCKET_PROTOCOL_ERROR;
    return r->left > r->limit - r->message.len ? WEBSOCKET_TOO_BIG : 0;
}

/* Returns 0 when the head is complete and good, 1 when it is not complete, or the code. */
static unsigned take_head(struct websocket_reader *r, struct str *input)
{
    while (r->head_len < head_size(r)) {
        if (input->len == 0)
            return 1;
        r->head[r->head_len++] = (unsigned char)input->ptr[0];
        *input = str_skip(*input, 1);
        /* What is wrong in the first two bytes is told before more is waited for. */
        if (r->head_len == 2 && (r->head[1] & MASKED) == 0)
            return WEBSOCKET_PROTOCOL_ERROR;
    }
    r->fin = (r->head[0] & FIN) != 0;
    r->opcode = r->head[0] & 0x0f;
    r->left = read_length(r->head);
    unsigned code = check_head(r);
    if (code != 0)
        return code;
    memcpy(r->mask, r->head + r->head_len - 4, 4);
    r->head_len = 0;
    r->mask_at = 0;
    r->in_payload = true;
    if (!is_control(r->opcode) && r->opcode != WEBSOCKET_CONTINUATION)
        r->kind = r->opcode;
    return 0;
}

static void unmask(struct websocket_reader *r, char *out, struct str in)
{
    for (size_t i = 0; i < in.len; i++)
        out[i] = (char)((unsigned char)in.ptr[i] ^ r->mask[(r->mask_at + i) & 3]);
    r->mask_at = (uint8_t)((r->mask_at + in.len) & 3);
}

/* Where the next bytes go; NULL: no memory. */
static char *add_message(struct websocket_reader *r, size_t len)
{
    if (buf_reserve(&r->message, len) != 0)
        return NULL;
    r->message.len += len;
    return r->message.data + r->message.len - len;
}

static char *add_control(struct websocket_reader *r, size_t len)
{
    if (r->control == NULL)
        r->control = malloc(WEBSOCKET_CONTROL_MAX);
    if (r->control == NULL)
        return NULL;
    char *to = r->control + r->control_len;
    r->control_len = (uint8_t)(r->control_len + len);
    return to;
}

/* False: no memory. */
static bool take_payload(struct websocket_reader *r, struct str *input)
{
    struct str piece = {input->ptr, input->len < r->left ? input->len : (size_t)r->left};
    if (piece.len == 0)
        return true;
    *input = str_skip(*input, piece.len);
    r->left -= piece.len;
    char *to = is_control(r->opcode) ? add_control(r, piece.len) : add_message(r, piece.len);
    if (to != NULL)
        unmask(r, to, piece);
    return to != NULL;
}

/* Section 7.4: those that may travel. */
static bool travels(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

bool websocket_code_is_valid(long long code)
{
    return code >= 1000 && code <= 4999 && code != 1010 && travels((unsigned)code);
}

static enum websocket_event take_close(struct websocket_reader *r)
{
    struct str reason = websocket_control(r);
    r->code = WEBSOCKET_NO_CODE;
    if (reason.len == 0)
        return WEBSOCKET_CONTROL;
    if (reason.len == 1)
        return fail(r, WEBSOCKET_PROTOCOL_ERROR);
    r->code = (uint16_t)((unsigned char)reason.ptr[0] << 8 | (unsigned char)reason.ptr[1]);
    if (!travels(r->code))
        return fail(r, WEBSOCKET_PROTOCOL_ERROR);
    return str_is_utf8(str_skip(reason, 2)) ? WEBSOCKET_CONTROL : fail(r, WEBSOCKET_BAD_DATA);
}

/* The frame is whole. */
static enum websocket_event end_frame(struct websocket_reader *r)
{
    r->in_payload = false;
    if (is_control(r->opcode)) {
        r->control_kind = r->opcode;
        return r->opcode == WEBSOCKET_CLOSE ? take_close(r) : WEBSOCKET_CONTROL;
    }
    if (!r->fin)
        return WEBSOCKET_MORE;
    if (r->kind == WEBSOCKET_TEXT && !str_is_utf8(buf_str(&r->message)))
        return fail(r, WEBSOCKET_BAD_DATA);
    r->done = true;
    return WEBSOCKET_MESSAGE;
}

enum websocket_event websocket_feed(struct websocket_reader *r, struct str *input)
{
    if (r->failed)
        return WEBSOCKET_FAULT;
    if (!r->in_payload) {
        free(r->control);
        r->control = NULL;
        r->control_len = 0;
    }
    if (r->done) {
        r->done = false;
        r->kind = 0;
        buf_clear(&r->message);
    }
    for (;;) {
        unsigned code = r->in_payload ? 0 : take_head(r, input);
        if (code > 1)
            return fail(r, code);
        if (code == 1)
            return WEBSOCKET_MORE;
        if (!take_payload(r, input))
            return fail(r, WEBSOCKET_LATER);
        if (r->left > 0)
            return WEBSOCKET_MORE;
        enum websocket_event event = end_frame(r);
        if (event != WEBSOCKET_MORE)
            return event;
    }
}

/* ---- writing ---- */

void websocket_put(struct buf *out, enum websocket_kind kind, struct str payload)
{
    unsigned char head[10] = {(unsigned char)(FIN | kind), (unsigned char)payload.len};
    size_t len = 2;
    if (payload.len > UINT16_MAX) {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[len++] = (unsigned char)((uint64_t)payload.len >> (56 - 8 * i));
    } else if (payload.len > 125) {
        head[1] = 126;
        head[len++] = (unsigned char)(payload.len >> 8);
        head[len++] = (unsigned char)payload.len;
    }
    buf_add(out, (const char *)head, len);
    buf_add_str(out, payload);
}

void websocket_put_close(struct buf *out, unsigned code, struct str reason)
{
    char body[WEBSOCKET_CONTROL_MAX] = {(char)(code >> 8), (char)code};
    size_t len = reason.len < WEBSOCKET_REASON_MAX ? reason.len : WEBSOCKET_REASON_MAX;
    while (len < reason.len && len > 0 && ((unsigned char)reason.ptr[len] & 0xc0) == 0x80)
        len--;
    if (len > 0)
        memcpy(body + 2, reason.ptr, len);
    websocket_put(out, WEBSOCKET_CLOSE,
                  (struct str){body, code == WEBSOCKET_NO_CODE ? 0 : len + 2});
}
