/* Compression of answers. */
#include "http/encoding.h"

#include <brotli/encode.h>
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/limits.h"
#include "http/content_type.h"

/* Quick levels: somebody waits. */
enum { GZIP_LEVEL = 4, GZIP_HEADER = 16, BR_QUALITY = 4 };

/* Memory, as powers of two: whole bodies come one at a time, streams stay. */
static const struct {
    int gzip_window, gzip_memory;
    uint32_t br_window;
} sizes[] = {[false] = {15, 8, 18}, [true] = {12, 5, 14}};

/* ---- what the client wants ---- */

/* "q=0.8" as thousandths (RFC 9110 12.4.2); 1000 without one, 0 for what is none. */
static int weight_of(struct str parameters)
{
    struct str one;
    while (str_split_next(&parameters, ';', &one)) {
        one = str_trim(one);
        if (one.len < 3 || (one.ptr[0] | 0x20) != 'q' || one.ptr[1] != '=')
            continue;
        if (one.ptr[2] != '0' && one.ptr[2] != '1')
            return 0;
        int weight = (one.ptr[2] - '0') * 1000;
        for (size_t i = 4, unit = 100; i < one.len && i < 7; i++, unit /= 10) {
            if (one.ptr[i] < '0' || one.ptr[i] > '9')
                return 0;
            weight += (one.ptr[i] - '0') * (int)unit;
        }
        return weight < 1000 ? weight : 1000;
    }
    return 1000;
}

enum encoding encoding_pick(struct str accept, unsigned offered, bool stream)
{
    int gzip = -1, br = -1, any = -1, identity = -1;
    struct str item;
    while (str_split_next(&accept, ',', &item)) {
        size_t end = str_find(item, ';');
        struct str name = str_trim((struct str){item.ptr, end});
        int weight = weight_of(end < item.len ? str_skip(item, end + 1) : (struct str){NULL, 0});
        if (str_eq_nocase(name, STR("gzip")) || str_eq_nocase(name, STR("x-gzip")))
            gzip = weight;
        else if (str_eq_nocase(name, STR("br")))
            br = weight;
        else if (str_eq_nocase(name, STR("identity")))
            identity = weight;
        else if (str_eq(name, STR("*")))
            any = weight;
    }
    gzip = (offered & ENCODING_BIT(ENCODING_GZIP)) == 0 ? 0 : gzip < 0 ? any : gzip;
    br = (offered & ENCODING_BIT(ENCODING_BR)) == 0 ? 0 : br < 0 ? any : br;
    bool prefer_br = stream ? br > gzip : br >= gzip;
    if (br > 0 && prefer_br && br >= identity)
        return ENCODING_BR;
    return gzip > 0 && gzip >= identity ? ENCODING_GZIP : ENCODING_IDENTITY;
}

enum encoding encoding_wanted(const struct request *req, unsigned offered, bool stream)
{
    const struct str *accept = headers_get(&req->headers, STR("accept-encoding"));
    return accept != NULL ? encoding_pick(*accept, offered, stream) : ENCODING_IDENTITY;
}

struct str encoding_name(enum encoding encoding)
{
    return encoding == ENCODING_BR ? STR("br") : STR("gzip");
}

struct str encoding_ending(enum encoding encoding)
{
    return encoding == ENCODING_BR ? STR(".br") : STR(".gz");
}

/* ---- encoders ---- */

struct encoder {
    BrotliEncoderState *br; /* one of the two is in use */
    z_stream gzip;
};

static struct encoder *make_encoder(enum encoding encoding, bool stream)
{
    struct encoder *e = calloc(1, sizeof(*e));
    bool ok = false;
    if (e != NULL && encoding == ENCODING_BR) {
        e->br = BrotliEncoderCreateInstance(NULL, NULL, NULL);
        ok = e->br != NULL && BrotliEncoderSetParameter(e->br, BROTLI_PARAM_QUALITY, BR_QUALITY) &&
             BrotliEncoderSetParameter(e->br, BROTLI_PARAM_LGWIN, sizes[stream].br_window);
    } else if (e != NULL) {
        ok = deflateInit2(&e->gzip, GZIP_LEVEL, Z_DEFLATED, sizes[stream].gzip_window + GZIP_HEADER,
                          sizes[stream].gzip_memory, Z_DEFAULT_STRATEGY) == Z_OK;
    }
    if (ok)
        return e;
    encoding_free(e);
    return NULL;
}

struct encoder *encoding_new(enum encoding encoding)
{
    return make_encoder(encoding, true);
}

void encoding_free(struct encoder *e)
{
    if (e == NULL)
        return;
    if (e->br != NULL)
        BrotliEncoderDestroyInstance(e->br);
    else
        deflateEnd(&e->gzip);
    free(e);
}

/* Until all is taken and nothing came out any more: output that was waiting may have kept the
 * encoder from going on. */
static bool write_br(struct encoder *e, struct str piece, bool last, struct buf *out)
{
    const BrotliEncoderOperation what = last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH;
    const uint8_t *in = (const uint8_t *)piece.ptr;
    size_t left = piece.len, room = 0, size;
    do {
        if (!BrotliEncoderCompressStream(e->br, what, &left, &in, &room, NULL, NULL))
            return false;
        size = 0;
        const uint8_t *made = BrotliEncoderTakeOutput(e->br, &size);
        buf_add(out, made, size);
    } while (left > 0 || size > 0);
    return !buf_failed(out);
}

static bool write_gzip(struct encoder *e, struct str piece, bool last, struct buf *out)
{
    unsigned char chunk[16 * 1024];
    e->gzip.next_in = (unsigned char *)(uintptr_t)piece.ptr;
    e->gzip.avail_in = (unsigned)piece.len;
    do {
        e->gzip.next_out = chunk;
        e->gzip.avail_out = sizeof(chunk);
        if (deflate(&e->gzip, last ? Z_FINISH : Z_SYNC_FLUSH) == Z_STREAM_ERROR)
            return false;
        buf_add(out, chunk, sizeof(chunk) - e->gzip.avail_out);
    } while (e->gzip.avail_out == 0);
    return !buf_failed(out);
}

int encoding_write(struct encoder *e, struct str piece, bool last, struct buf *out)
{
    bool ok = e->br != NULL ? write_br(e, piece, last, out) : write_gzip(e, piece, last, out);
    return ok ? 0 : -ENOMEM;
}

int encoding_squeeze(enum encoding encoding, struct str body, struct buf *out)
{
    struct encoder *encoder = make_encoder(encoding, false);
    int rc = encoder != NULL ? encoding_write(encoder, body, true, out) : -ENOMEM;
    encoding_free(encoder);
    return rc == 0 && out->len >= body.len ? -E2BIG : rc;
}

/* ---- responses ---- */

static bool forbids_transforms(struct str control)
{
    struct str directive;
    while (str_split_next(&control, ',', &directive)) {
        if (str_eq_nocase(str_trim(directive), STR("no-transform")))
            return true;
    }
    return false;
}

/* A 304 says what the 200 would. */
static bool is_unchanged_file(const struct response *res)
{
    return res->status == 304 && res->file != NULL;
}

static const struct str *type_of(const struct response *res)
{
    const struct str *type = headers_get(&res->headers, STR("content-type"));
    return type == NULL && is_unchanged_file(res) ? &res->file->type : type;
}

static bool has_good_size(const struct response *res)
{
    if (res->streamed && !res->sized)
        return true;
    uint64_t size = is_unchanged_file(res) ? res->file->id.size : response_length(res);
    return size >= LIMIT_COMPRESS_MIN && (res->streamed || size <= LIMIT_COMPRESS_MAX);
}

bool encoding_suits(struct str type)
{
    static const char *const also[] = {"application/wasm", NULL};
    return content_type_is_text(type, also);
}

static bool is_candidate(const struct response *res)
{
    if (!has_good_size(res))
        return false;
    const struct str *type = type_of(res);
    const struct str *control = headers_get(&res->headers, STR("cache-control"));
    return type != NULL && encoding_suits(*type) &&
           (response_has_body(res->status) || is_unchanged_file(res)) && res->status != 206 &&
           headers_get(&res->headers, STR("content-encoding")) == NULL &&
           headers_get(&res->headers, STR("content-range")) == NULL &&
           (control == NULL || !forbids_transforms(*control));
}

/* The bytes differ now: a strong tag would be a lie (RFC 9110 8.8.3.3). */
static int weaken_tag(struct response *res, struct arena *arena)
{
    const struct str *tag = headers_get(&res->headers, STR("etag"));
    if (tag == NULL || str_starts_with(*tag, STR("W/")))
        return 0;
    struct str weak = arena_printf(arena, "W/%.*s", STR_ARG(*tag));
    return weak.ptr != NULL ? headers_set(&res->headers, arena, STR("ETag"), weak) : -ENOMEM;
}

static bool names_accept_encoding(struct str vary)
{
    struct str name;
    while (str_split_next(&vary, ',', &name)) {
        name = str_trim(name);
        if (str_eq(name, STR("*")) || str_eq_nocase(name, STR("Accept-Encoding")))
            return true;
    }
    return false;
}

int encoding_vary(struct response *res, struct arena *arena)
{
    for (uint32_t i = 0; i < res->headers.len; i++) {
        const struct header *h = &res->headers.items[i];
        if (str_eq_nocase(h->name, STR("Vary")) && names_accept_encoding(h->value))
            return 0;
    }
    return headers_add(&res->headers, arena, STR("Vary"), STR("Accept-Encoding"));
}

enum encoding encoding_choose(struct response *res, const struct request *req, struct arena *arena)
{
    if (!is_candidate(res) || encoding_vary(res, arena) != 0)
        return ENCODING_IDENTITY;
    enum encoding encoding = encoding_wanted(req, ENCODING_ALL, res->streamed);
    if (!is_unchanged_file(res))
        return encoding;
    if (encoding != ENCODING_IDENTITY && weaken_tag(res, arena) != 0)
        res->close = true; /* out of memory: the answer leaves as it is */
    return ENCODING_IDENTITY;
}

int encoding_mark(struct response *res, struct arena *arena, enum encoding encoding)
{
    int rc = weaken_tag(res, arena);
    if (rc == 0)
        rc = headers_add(&res->headers, arena, STR("Content-Encoding"), encoding_name(encoding));
    return rc;
}

const char *encoding_zlib_version(void)
{
    return zlibVersion();
}

unsigned encoding_brotli_version(void)
{
    return BrotliEncoderVersion();
}
