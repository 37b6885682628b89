/* Unpacking of bodies. */
#include "http/decoding.h"

#include <brotli/decode.h>
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

enum kind { KIND_GZIP, KIND_DEFLATE, KIND_BR };

enum { GZIP_WINDOW = 15 + 16, ZLIB_WINDOW = 15, RAW_WINDOW = -15, PIECE = 16 * 1024 };

struct decoder {
    enum kind kind;
    bool begun; /* there was a byte */
    bool ended; /* and what it began is complete */
    z_stream zlib;
    BrotliDecoderState *br; /* owned; NULL: zlib */
};

static bool kind_of(struct str coding, enum kind *kind)
{
    static const struct {
        struct str name;
        enum kind kind;
    } known[] = {{{"gzip", 4}, KIND_GZIP},
                 {{"x-gzip", 6}, KIND_GZIP},
                 {{"deflate", 7}, KIND_DEFLATE},
                 {{"br", 2}, KIND_BR}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_eq_nocase(coding, known[i].name)) {
            *kind = known[i].kind;
            return true;
        }
    }
    return false;
}

/* The only coding in the list that does something; false where there is none, or another. */
static bool find_kind(struct str list, enum kind *kind)
{
    struct str one;
    bool found = false;
    while (str_split_next(&list, ',', &one)) {
        one = str_trim(one);
        if (one.len == 0 || str_eq_nocase(one, STR("identity")))
            continue;
        if (found || !kind_of(one, kind))
            return false;
        found = true;
    }
    return found;
}

int decoding_new(struct str coding, struct decoder **decoder)
{
    enum kind kind;
    *decoder = NULL;
    if (!find_kind(coding, &kind))
        return 0;
    struct decoder *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    d->kind = kind;
    if (kind == KIND_BR)
        d->br = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    if (kind == KIND_BR
            ? d->br == NULL
            : inflateInit2(&d->zlib, kind == KIND_GZIP ? GZIP_WINDOW : ZLIB_WINDOW) != Z_OK) {
        free(d);
        return -ENOMEM;
    }
    *decoder = d;
    return 0;
}

void decoding_free(struct decoder *d)
{
    if (d == NULL)
        return;
    if (d->kind == KIND_BR)
        BrotliDecoderDestroyInstance(d->br);
    else
        inflateEnd(&d->zlib);
    free(d);
}

const char *decoding_name(const struct decoder *d)
{
    static const char *const names[] = {
        [KIND_GZIP] = "gzip", [KIND_DEFLATE] = "deflate", [KIND_BR] = "br"};
    return names[d->kind];
}

bool decoding_is_done(const struct decoder *d)
{
    return !d->begun || d->ended;
}

/* Unpacks from `in`, which it shortens, into `out`. 0 or -EBADMSG. */
static int step_zlib(struct decoder *d, struct str *in, char *out, size_t *count)
{
    d->zlib.next_in = (Bytef *)(uintptr_t)in->ptr;
    d->zlib.avail_in = (uInt)in->len;
    d->zlib.next_out = (Bytef *)out;
    d->zlib.avail_out = PIECE;
    int rc = inflate(&d->zlib, Z_NO_FLUSH);
    *in = str_skip(*in, in->len - d->zlib.avail_in);
    *count = PIECE - d->zlib.avail_out;
    d->ended = rc == Z_STREAM_END;
    return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0 : -EBADMSG;
}

static int step_br(struct decoder *d, struct str *in, char *out, size_t *count)
{
    size_t in_left = in->len, out_left = PIECE;
    const uint8_t *next_in = (const uint8_t *)in->ptr;
    uint8_t *next_out = (uint8_t *)out;
    BrotliDecoderResult rc =
        BrotliDecoderDecompressStream(d->br, &in_left, &next_in, &out_left, &next_out, NULL);
    *in = str_skip(*in, in->len - in_left);
    *count = PIECE - out_left;
    d->ended = rc == BROTLI_DECODER_RESULT_SUCCESS;
    return rc == BROTLI_DECODER_RESULT_ERROR ? -EBADMSG : 0;
}

/* A zlib frame begins with method 8 and a window of at most 32 KB (RFC 1950 2.2). Read as raw data
 * that were a stored block with dirt in its padding, which no packer writes. */
static int choose_frame(struct decoder *d, struct str piece)
{
    bool framed = (piece.ptr[0] & 0x0f) == 8 && ((unsigned char)piece.ptr[0] >> 4) <= 7;
    if (d->kind != KIND_DEFLATE || framed)
        return 0;
    return inflateReset2(&d->zlib, RAW_WINDOW) == Z_OK ? 0 : -ENOMEM;
}

/* Behind the end: zeros, or another member of gzip. */
static int go_on(struct decoder *d, struct str *in)
{
    while (d->kind == KIND_GZIP && in->len > 0 && in->ptr[0] == '\0')
        *in = str_skip(*in, 1);
    if (in->len == 0)
        return 0;
    if (d->kind != KIND_GZIP || inflateReset(&d->zlib) != Z_OK)
        return -EBADMSG;
    d->ended = false;
    return 0;
}

int decoding_write(struct decoder *d, struct str piece, struct buf *out, size_t limit)
{
    int rc = 0;
    char bytes[PIECE];
    size_t count = 0;
    if (piece.len > 0 && !d->begun)
        rc = choose_frame(d, piece);
    d->begun = d->begun || piece.len > 0;
    while (rc == 0 && (piece.len > 0 || count == PIECE)) {
        if (d->ended && (rc = go_on(d, &piece)) != 0)
            break;
        if (d->ended)
            return 0;
        rc =
            d->br != NULL ? step_br(d, &piece, bytes, &count) : step_zlib(d, &piece, bytes, &count);
        if (count > limit - out->len)
            return -EMSGSIZE;
        buf_add(out, bytes, count);
        if (buf_failed(out))
            return -ENOMEM;
    }
    return rc;
}
