/* Any bytes as a chunked body: the same data and the same verdict whole and byte by byte, within
 * the limit, and what is accepted says the same to a reader that only looks at sizes. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/chunked.h"

enum { LIMIT = 1000 };

struct outcome {
    struct buf data;
    const struct http_fault *fault;
    bool done;
    size_t used;
};

static void decode(struct str input, size_t step, struct outcome *out)
{
    struct chunked chunked;
    *out = (struct outcome){.data = BUF_INIT};
    chunked_init(&chunked, LIMIT);
    while (input.len > 0 && out->fault == NULL && chunked.state != CHUNKED_DONE) {
        struct str piece = {input.ptr, input.len < step ? input.len : step}, data;
        size_t given = piece.len;
        while (piece.len > 0 && out->fault == NULL && chunked.state != CHUNKED_DONE) {
            out->fault = chunked_feed(&chunked, &piece, &data);
            buf_add_str(&out->data, out->fault == NULL ? data : STR(""));
        }
        input = str_skip(input, given - piece.len);
        out->used += given - piece.len;
    }
    out->done = chunked.state == CHUNKED_DONE && out->fault == NULL;
}

/* Sizes and data only. */
static void check_sizes(struct str input, struct str data)
{
    for (;;) {
        size_t eol = str_find(input, '\n');
        size_t chunk = strtoul(input.ptr, NULL, 16);
        require(eol > 0 && eol < input.len && input.ptr[eol - 1] == '\r', "a line");
        input = str_skip(input, eol + 1);
        if (chunk == 0)
            break;
        require(chunk <= data.len && chunk + 2 <= input.len, "all of the chunk");
        require(memcmp(input.ptr, data.ptr, chunk) == 0, "the chunk's data");
        require(memcmp(input.ptr + chunk, "\r\n", 2) == 0, "the chunk's end");
        input = str_skip(input, chunk + 2);
        data = str_skip(data, chunk);
    }
    require(data.len == 0, "no data but the chunks'");
    require(input.len >= 2 && memcmp(input.ptr + input.len - 2, "\r\n", 2) == 0, "an empty line");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = whole_input(data, size);
    struct outcome whole, bytes;
    decode(input, size > 0 ? size : 1, &whole);
    decode(input, 1, &bytes);
    require(whole.fault == bytes.fault && whole.done == bytes.done, "one verdict");
    require(whole.used == bytes.used, "one end");
    require(str_eq(buf_str(&whole.data), buf_str(&bytes.data)), "one body");
    require(whole.data.len <= LIMIT, "within the limit");
    if (whole.done)
        check_sizes((struct str){input.ptr, whole.used}, buf_str(&whole.data));
    buf_free(&whole.data);
    buf_free(&bytes.data);
    return 0;
}
