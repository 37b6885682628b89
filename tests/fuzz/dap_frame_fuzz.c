/* Any bytes as what a debugger sends: however they are cut, the same messages come out, none is
 * longer than it may be, and nothing comes after what is refused. */
#include "fuzz.h"

#include <string.h>

#include "base/limits.h"
#include "debug/dap_frame.h"

struct told {
    unsigned count;
    bool bad;
};

static void read_all(const uint8_t *data, size_t size, size_t piece, struct dap_frames *frames,
                     struct buf *kept, struct told *told)
{
    for (size_t at = 0; at < size && !told->bad; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        struct str message;
        enum dap_frame got;
        require(dap_frame_add(frames, (struct str){(const char *)data + at, len}), "memory");
        while ((got = dap_frame_next(frames, &message)) == DAP_FRAME_MESSAGE) {
            require(message.len <= LIMIT_DEBUG_MESSAGE, "a bounded message");
            buf_add_str(kept, message);
            buf_add_char(kept, '\n');
            told->count++;
        }
        told->bad = got == DAP_FRAME_BAD;
        require(!told->bad || frames->why != NULL, "a reason");
        require(told->bad || frames->in.len - frames->taken <=
                                 LIMIT_DEBUG_HEAD + LIMIT_DEBUG_MESSAGE + piece,
                "what waits is bounded");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dap_frames whole = {.taken = 0}, bytes = {.taken = 0};
    struct buf first = BUF_INIT, second = BUF_INIT;
    struct told one = {.count = 0}, other = {.count = 0};
    if (size > 4096)
        return 0;
    read_all(data, size, size > 0 ? size : 1, &whole, &first, &one);
    read_all(data, size, 1, &bytes, &second, &other);
    require(one.bad == other.bad && one.count == other.count, "the same however it is cut");
    require(first.len == second.len &&
                (first.len == 0 || memcmp(first.data, second.data, first.len) == 0),
            "the same messages");
    buf_free(&first);
    buf_free(&second);
    dap_frame_free(&whole);
    dap_frame_free(&bytes);
    return 0;
}
