/* HTTP/2: the frames of a connection as they come by, before nghttp2 sees them. Two things are done
 * here that it leaves to its user: a frame's header reaches it in one piece, as it counts pieces of
 * CONTINUATION headers where it means to count frames (1.52); and a peer that keeps us busy with
 * frames that lead nowhere is found out. */
#include "base/limits.h"
#include "server/h2_internal.h"

enum { TYPE_AT = 3, FLAGS_AT = 4 };

/* PING, SETTINGS, PRIORITY, what nobody knows, and DATA and CONTINUATION with nothing in them. */
static bool is_chore(const uint8_t *header, size_t payload)
{
    bool end = (header[FLAGS_AT] & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (header[TYPE_AT]) {
    case NGHTTP2_DATA:
        return payload == 0 && !end;
    case NGHTTP2_CONTINUATION:
        return payload == 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM: /* h2.c counts those that break something off */
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_GOAWAY:
        return false;
    default:
        return true;
    }
}

static void count_chore(struct h2_frames *frames, uint64_t now_ms)
{
    uint64_t spared = (now_ms - frames->counted_at) * LIMIT_H2_CHORES_RATE / 1000;
    if (spared > 0) {
        frames->counted_at = now_ms;
        frames->chores -= spared < frames->chores ? (unsigned)spared : frames->chores;
    }
    frames->chores++;
}

static void on_frame_header(struct h2_frames *frames, const uint8_t *header, uint64_t now_ms)
{
    frames->left = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2];
    if (is_chore(header, frames->left))
        count_chore(frames, now_ms);
}

void h2_frames_init(struct h2_frames *frames, uint64_t now_ms)
{
    *frames = (struct h2_frames){.left = H2_PREFACE.len, .counted_at = now_ms};
}

bool h2_frames_are_idle_talk(const struct h2_frames *frames)
{
    return frames->chores > LIMIT_H2_CHORES;
}

struct str h2_frames_complete(struct h2_frames *frames, struct str *bytes, uint64_t now_ms)
{
    if (frames->held == 0)
        return (struct str){NULL, 0};
    size_t lacking = H2_FRAME_HEADER - frames->held;
    size_t taken = bytes->len < lacking ? bytes->len : lacking;
    memcpy(frames->header + frames->held, bytes->ptr, taken);
    frames->held += taken;
    *bytes = str_skip(*bytes, taken);
    if (frames->held < H2_FRAME_HEADER)
        return (struct str){NULL, 0};
    frames->held = 0;
    on_frame_header(frames, frames->header, now_ms);
    return (struct str){(const char *)frames->header, H2_FRAME_HEADER};
}

struct str h2_frames_take(struct h2_frames *frames, struct str *bytes, uint64_t now_ms)
{
    struct str whole = {bytes->ptr, 0};
    size_t rest = bytes->len;
    while (rest > frames->left) {
        whole.len += frames->left;
        rest -= frames->left;
        frames->left = 0;
        if (rest < H2_FRAME_HEADER) { /* the beginning of a header, or nothing */
            memcpy(frames->header, bytes->ptr + whole.len, rest);
            frames->held = rest;
            *bytes = str_skip(*bytes, bytes->len);
            return whole;
        }
        on_frame_header(frames, (const uint8_t *)bytes->ptr + whole.len, now_ms);
        whole.len += H2_FRAME_HEADER;
        rest -= H2_FRAME_HEADER;
    }
    frames->left -= rest;
    whole.len += rest;
    *bytes = str_skip(*bytes, bytes->len);
    return whole;
}
