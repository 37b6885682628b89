/* Any bytes as a client's frames: whole and byte by byte they are the same messages, none is longer
 * than allowed, and a message that is written and masked comes back. */
#include "fuzz.h"
#include "http/websocket.h"

enum { LIMIT = 1000 };

static void add_event(struct websocket_reader *reader, enum websocket_event event, struct buf *out)
{
    if (event == WEBSOCKET_MESSAGE) {
        require(reader->message.len <= LIMIT, "as long as it may be");
        require(reader->kind != WEBSOCKET_TEXT || str_is_utf8(buf_str(&reader->message)), "a text");
        buf_printf(out, "m%u %zu:", reader->kind, reader->message.len);
        buf_add_str(out, buf_str(&reader->message));
    } else if (event == WEBSOCKET_CONTROL) {
        require(reader->control_len <= WEBSOCKET_CONTROL_MAX, "a control's length");
        struct str control = websocket_control(reader);
        buf_printf(out, "c%u %u %zu:", reader->control_kind, reader->code, control.len);
        buf_add_str(out, control);
    } else if (event == WEBSOCKET_FAULT) {
        buf_printf(out, "f%u", reader->code);
    }
}

static void read_all(struct str bytes, size_t piece, struct buf *out)
{
    struct websocket_reader reader;
    enum websocket_event event = WEBSOCKET_MORE;
    websocket_reader_init(&reader, LIMIT);
    while (bytes.len > 0 && event != WEBSOCKET_FAULT) {
        struct str input = {bytes.ptr, bytes.len < piece ? bytes.len : piece};
        bytes = str_skip(bytes, input.len);
        do {
            event = websocket_feed(&reader, &input);
            add_event(&reader, event, out);
        } while (event != WEBSOCKET_MORE && event != WEBSOCKET_FAULT);
    }
    require(websocket_feed(&reader, &bytes) ==
                (event == WEBSOCKET_FAULT ? WEBSOCKET_FAULT : WEBSOCKET_MORE),
            "a fault stays");
    websocket_reader_free(&reader);
}

/* A server's frame with a mask, as a client would have sent it. */
static void mask(struct buf *frame, struct str payload)
{
    static const char zero[4] = {0};
    struct buf masked = BUF_INIT;
    buf_add(&masked, frame->data, frame->len - payload.len);
    masked.data[1] = (char)((unsigned char)masked.data[1] | 0x80);
    buf_add(&masked, zero, sizeof(zero));
    buf_add_str(&masked, payload);
    buf_free(frame);
    *frame = masked;
}

static void check_round(struct str payload)
{
    struct buf frame = BUF_INIT;
    struct websocket_reader reader;
    if (payload.len > LIMIT)
        return;
    websocket_put(&frame, WEBSOCKET_BINARY, payload);
    mask(&frame, payload);
    struct str input = buf_str(&frame);
    websocket_reader_init(&reader, LIMIT);
    require(websocket_feed(&reader, &input) == WEBSOCKET_MESSAGE && input.len == 0, "a message");
    require(str_eq(buf_str(&reader.message), payload) || payload.len == 0, "as it was");
    websocket_reader_free(&reader);
    buf_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = whole_input(data, size);
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    read_all(input, size + 1, &whole);
    read_all(input, 1, &pieces);
    require(str_eq(buf_str(&whole), buf_str(&pieces)) || whole.len + pieces.len == 0, "cut or not");
    check_round(input);
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
