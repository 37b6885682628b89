/* Messages in a stream of bytes. */
#include "debug/dap_frame.h"

#include <string.h>

#include "base/limits.h"

static const struct str field = {"Content-Length:", 15}, head_end = {"\r\n\r\n", 4};

bool dap_frame_add(struct dap_frames *frames, struct str bytes)
{
    if (frames->taken > 0) {
        memmove(frames->in.data, frames->in.data + frames->taken, frames->in.len - frames->taken);
        frames->in.len -= frames->taken;
        frames->taken = 0;
    }
    buf_add_str(&frames->in, bytes);
    return !buf_failed(&frames->in);
}

static enum dap_frame refuse(struct dap_frames *frames, const char *why)
{
    frames->why = why;
    return DAP_FRAME_BAD;
}

/* The head without the empty line; false: *size is not there, or too large. */
static bool read_size(struct str head, uint64_t *size)
{
    struct str line = str_trim(str_skip((struct str){head.ptr, str_find(head, '\r')}, field.len));
    return str_to_u64(line, LIMIT_DEBUG_MESSAGE, size) == 0;
}

enum dap_frame dap_frame_next(struct dap_frames *frames, struct str *message)
{
    struct str rest = str_skip(buf_str(&frames->in), frames->taken);
    size_t known = rest.len < field.len ? rest.len : field.len;
    if (known > 0 && !str_same_nocase(rest.ptr, field.ptr, known))
        return refuse(frames, "a message begins with Content-Length");
    size_t head = str_find_text(rest, head_end);
    if (head > LIMIT_DEBUG_HEAD)
        return refuse(frames, "the head of a message is too long");
    if (head == rest.len)
        return DAP_FRAME_MORE;
    uint64_t size;
    if (!read_size((struct str){rest.ptr, head}, &size))
        return refuse(frames, "Content-Length is no number, or too large");
    rest = str_skip(rest, head + head_end.len);
    if (rest.len < size)
        return DAP_FRAME_MORE;
    *message = (struct str){rest.ptr, (size_t)size};
    frames->taken += head + head_end.len + (size_t)size;
    return DAP_FRAME_MESSAGE;
}

void dap_frame_free(struct dap_frames *frames)
{
    buf_free(&frames->in);
}
