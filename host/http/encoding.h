/* Compression of answers (RFC 9110 8.4, 12.5.3): gzip by zlib, br by libbrotli.
 *
 * Text of a useful size is compressed when the client asks for it; what says itself how it is
 * encoded, or that nobody may transform it, is left as it is. */
#ifndef LUAFN_HTTP_ENCODING_H
#define LUAFN_HTTP_ENCODING_H

#include "base/arena.h"
#include "base/buf.h"
#include "http/request.h"
#include "http/response.h"

enum encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_BR };

/* What an Accept-Encoding header likes best of what we have. Where it likes both equally, br for
 * whole bodies, and gzip for streams, which then need 40 KB each and not a megabyte. */
enum encoding encoding_pick(struct str accept, bool stream);

struct encoder;

/* Looks at a response whose head is complete. A body that is there is replaced by its compressed
 * form. For a stream *encoder is set: its pieces must then go through encoder_write. Head fields
 * (Content-Encoding, Vary, ETag) fit afterwards. When memory runs out the answer stays as it is. */
void encoding_apply(struct response *res, const struct request *req, struct arena *arena,
                    struct encoder **encoder);

/* A piece, so that the reader can decode all of it; `last`: and the end. Appends. 0 or -ENOMEM. */
int encoder_write(struct encoder *encoder, struct str piece, bool last, struct buf *out)
    __attribute__((warn_unused_result));
void encoder_free(struct encoder *encoder); /* may be NULL */

/* Of zlib, and of libbrotli as 0xMMMmmmppp (major, minor, patch). */
const char *encoding_zlib_version(void);
unsigned encoding_brotli_version(void);

#endif
