/* Accept-Encoding in the first line, a body behind it: nothing that was not asked for, and gzip
 * gives back what went in. */
#include <errno.h>
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
    enum encoding picked = encoding_pick(accept, ENCODING_ALL, stream);
    bool any = mentions(accept, "*");
    require(picked != ENCODING_GZIP || any || mentions(accept, "gzip"), "gzip was named");
    require(picked != ENCODING_BR || any || mentions(accept, "br"), "br was named");
    enum encoding other = encoding_pick(accept, ENCODING_ALL & ~ENCODING_BIT(picked), stream);
    require(other == ENCODING_IDENTITY || other != picked, "what is not offered is not picked");
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
    struct buf out = BUF_INIT;
    require(headers_add(&req.headers, arena, STR("accept-encoding"), accept) == 0 &&
                headers_add(&res.headers, arena, STR("Content-Type"), STR("text/plain")) == 0,
            "memory");
    enum encoding encoding = encoding_choose(&res, &req, arena);
    require(field(&res, "vary") != NULL && field(&res, "content-encoding") == NULL, "only said");
    if (encoding == ENCODING_IDENTITY)
        return;
    int rc = encoding_squeeze(encoding, body, &out);
    require(rc == 0 || rc == -E2BIG, "memory");
    require(rc != 0 || out.len < body.len, "shorter than it was");
    if (rc == 0 && encoding == ENCODING_GZIP)
        check_gzip(buf_str(&out), body);
    require(encoding_mark(&res, arena, encoding) == 0 &&
                str_eq(*field(&res, "content-encoding"), encoding_name(encoding)),
            "said");
    buf_free(&out);
}

static void check_stream(struct arena *arena, struct str body)
{
    struct response res = {.status = 200, .streamed = true};
    struct request req = {.version_minor = 1};
    struct buf out = BUF_INIT;
    require(headers_add(&req.headers, arena, STR("accept-encoding"), STR("gzip")) == 0 &&
                headers_add(&res.headers, arena, STR("Content-Type"), STR("text/plain")) == 0,
            "memory");
    require(encoding_choose(&res, &req, arena) == ENCODING_GZIP, "as asked for");
    struct encoder *encoder = encoding_new(ENCODING_GZIP);
    require(encoder != NULL, "an encoder");
    size_t cut = body.len / 3;
    require(encoding_write(encoder, (struct str){body.ptr, cut}, false, &out) == 0 &&
                encoding_write(encoder, str_skip(body, cut), true, &out) == 0,
            "memory");
    check_gzip(buf_str(&out), body);
    encoding_free(encoder);
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
