/* Accept-Encoding in the first line, a body behind it: nothing that was not asked for, and gzip
 * gives back what went in. */
#include <zlib.h>

#include "fuzz.h"
#include "http/encoding.h"

enum { BODY_MAX = 64 * 1024 };

static bool mentions(struct str text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (str_eq_nocase((struct str){text.ptr + i, len}, str_from(word)))
            return true;
    }
    return false;
}

static void check_pick(struct str accept, bool stream)
{
    enum encoding picked = encoding_pick(accept, stream);
    bool any = mentions(accept, "*");
    require(picked != ENCODING_GZIP || any || mentions(accept, "gzip"), "gzip was named");
    require(picked != ENCODING_BR || any || mentions(accept, "br"), "br was named");
}

static void check_gzip(struct str packed, struct str body)
{
    static char out[BODY_MAX + 1];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.ptr,
                  .avail_in = (uInt)packed.len,
                  .next_out = (Bytef *)out,
                  .avail_out = sizeof(out)};
    require(inflateInit2(&z, 15 + 16) == Z_OK, "memory");
    require(inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0, "a whole stream");
    require(str_eq((struct str){out, z.total_out}, body), "the same body");
    inflateEnd(&z);
}

static const struct str *field(const struct response *res, const char *name)
{
    return headers_get(&res->headers, str_from(name));
}

static void check_whole(struct arena *arena, struct str accept, struct str body)
{
    struct response res = {.status = 200, .body = body};
    struct request req = {.version_minor = 1};
    struct encoder *encoder = NULL;
    require(headers_add(&req.headers, arena, STR("accept-encoding"), accept) == 0 &&
                headers_add(&res.headers, arena, STR("Content-Type"), STR("text/plain")) == 0,
            "memory");
    encoding_apply(&res, &req, arena, &encoder);
    require(encoder == NULL && field(&res, "vary") != NULL, "done at once, and said");
    const struct str *coding = field(&res, "content-encoding");
    if (coding == NULL)
        require(str_eq(res.body, body), "the body as it was");
    else if (str_eq(*coding, STR("gzip")))
        check_gzip(res.body, body);
    require(res.body.len <= body.len, "no longer than it was");
}

static void check_stream(struct arena *arena, struct str body)
{
    struct response res = {.status = 200, .streamed = true};
    struct request req = {.version_minor = 1};
    struct encoder *encoder = NULL;
    struct buf out = BUF_INIT;
    require(headers_add(&req.headers, arena, STR("accept-encoding"), STR("gzip")) == 0 &&
                headers_add(&res.headers, arena, STR("Content-Type"), STR("text/plain")) == 0,
            "memory");
    encoding_apply(&res, &req, arena, &encoder);
    require(encoder != NULL, "an encoder");
    size_t cut = body.len / 3;
    require(encoder_write(encoder, (struct str){body.ptr, cut}, false, &out) == 0 &&
                encoder_write(encoder, str_skip(body, cut), true, &out) == 0,
            "memory");
    check_gzip(buf_str(&out), body);
    encoder_free(encoder);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = whole_input(data, size), accept = next_line(&rest);
    struct arena arena;
    arena_init(&arena);
    check_pick(accept, false);
    check_pick(accept, true);
    /* small inputs are repeated to a size that is compressed */
    static char body[BODY_MAX];
    size_t len = 0;
    while (rest.ptr != NULL && rest.len > 0 && len + rest.len <= sizeof(body) && len < 4096) {
        memcpy(body + len, rest.ptr, rest.len);
        len += rest.len;
    }
    if (len >= 4096) {
        check_whole(&arena, accept, (struct str){body, len});
        check_stream(&arena, (struct str){body, len});
    }
    arena_free(&arena);
    return 0;
}
