/* Compression of answers (RFC 9110 8.4, 12.5.3): gzip by zlib, br by libbrotli.
 *
 * Text of a useful size is compressed when the client asks for it; what says itself how it is
 * encoded, or that nobody may transform it, is left as it is. Here is what is decided and said, and
 * the work itself; who does it, and when, is app_encode's. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "http/request.h"
#include "http/response.h"

enum encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_BR };

#define ENCODING_BIT(encoding) (1u << (encoding))
#define ENCODING_ALL           (ENCODING_BIT(ENCODING_GZIP) | ENCODING_BIT(ENCODING_BR))

/* What an Accept-Encoding header likes best of what is offered, a set of bits. Where it likes both
 * equally, br for whole bodies, and gzip for streams, which then need 40 KB each and not a
 * megabyte.
 */
enum encoding encoding_pick(struct str accept, unsigned offered, bool stream);
/* The same of a request; ENCODING_IDENTITY without the header. */
enum encoding encoding_wanted(const struct request *req, unsigned offered, bool stream);

struct str encoding_name(enum encoding encoding);   /* "br"; static */
struct str encoding_ending(enum encoding encoding); /* ".br": of files; static */

/* Is content of this type worth it? */
bool encoding_suits(struct str type);

/* Adds Accept-Encoding to Vary, if it is not there. 0 or -ENOMEM. */
int encoding_vary(struct response *res, struct arena *arena) __attribute__((warn_unused_result));

/* Looks at a response whose head is complete: what is its body to be encoded with? Says Vary where
 * that depends on the client, and in the 304 of such a file the tag that its 200 has. */
enum encoding encoding_choose(struct response *res, const struct request *req, struct arena *arena);
/* Says in the head that the body is encoded (Content-Encoding, ETag). 0 or -ENOMEM. */
int encoding_mark(struct response *res, struct arena *arena, enum encoding encoding)
    __attribute__((warn_unused_result));

/* A whole body, from any thread; appends. 0, -ENOMEM, or -E2BIG where it would not be shorter. */
int encoding_squeeze(enum encoding encoding, struct str body, struct buf *out)
    __attribute__((warn_unused_result));

/* For a stream: its pieces go through encoding_write. NULL when out of memory. */
struct encoder;
struct encoder *encoding_new(enum encoding encoding);
/* A piece, so that the reader can decode all of it; `last`: and the end. Appends. 0 or -ENOMEM. */
int encoding_write(struct encoder *encoder, struct str piece, bool last, struct buf *out)
    __attribute__((warn_unused_result));
void encoding_free(struct encoder *encoder); /* may be NULL */

/* Of zlib, and of libbrotli as 0xMMMmmmppp (major, minor, patch). */
const char *encoding_zlib_version(void);
unsigned encoding_brotli_version(void);
