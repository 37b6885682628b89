/* Content-Encoding in the first line, a body behind it: what comes of it does not depend on how it
 * was cut into pieces, and is never longer than it may be. */
#include <errno.h>

#include "fuzz.h"
#include "http/decoding.h"

enum { LIMIT = 64 * 1024 };

struct outcome {
    int code;
    bool done;
    struct buf body;
};

static struct outcome unpack(struct str coding, struct str body, size_t piece)
{
    struct outcome out = {.code = 0, .body = BUF_INIT};
    struct decoder *decoder = NULL;
    require(decoding_new(coding, &decoder) == 0, "memory");
    if (decoder == NULL)
        return out;
    while (out.code == 0 && body.len > 0) {
        struct str next = {body.ptr, body.len < piece ? body.len : piece};
        out.code = decoding_write(decoder, next, &out.body, LIMIT);
        body = str_skip(body, next.len);
    }
    require(out.code == 0 || out.code == -EBADMSG || out.code == -EMSGSIZE, "a known verdict");
    require(out.body.len <= LIMIT, "within the limit");
    out.done = decoding_is_done(decoder);
    decoding_free(decoder);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = whole_input(data, size), coding = next_line(&body);
    struct outcome whole = unpack(coding, body, size + 1), bytes = unpack(coding, body, 1);
    require(whole.code == bytes.code, "the same verdict in pieces");
    require(whole.code != 0 || whole.done == bytes.done, "the same end in pieces");
    require(whole.code != 0 || str_eq(buf_str(&whole.body), buf_str(&bytes.body)),
            "the same body in pieces");
    buf_free(&whole.body);
    buf_free(&bytes.body);
    return 0;
}
