/* Unpacking of bodies by their Content-Encoding (RFC 9110 8.4): gzip, deflate and br, in pieces.
 *
 * A gzip body may have several members, and zeros behind the last (RFC 1952 2.2); deflate may lack
 * its zlib frame, as some servers send it. What is cut off or damaged is an error, never a shorter
 * body. */
#pragma once

#include "base/buf.h"

/* What a decoder reads, as the value of Accept-Encoding. */
#define DECODING_ACCEPTS "gzip, deflate, br"

struct decoder;

/* For the value of Content-Encoding. *decoder is NULL where there is nothing to unpack: no coding
 * or identity, one that is not known here, or several: then the bytes stand as they came. 0 or
 * -ENOMEM. */
int decoding_new(struct str coding, struct decoder **decoder) __attribute__((warn_unused_result));

/* Appends what a piece unpacks to. 0; -EMSGSIZE when `out` would be longer than `limit`, -EBADMSG
 * when it is damaged, -ENOMEM. */
int decoding_write(struct decoder *decoder, struct str piece, struct buf *out, size_t limit)
    __attribute__((warn_unused_result));

/* After the last piece: was it all? An empty body is. */
bool decoding_is_done(const struct decoder *decoder);

/* "gzip", "deflate" or "br". */
const char *decoding_name(const struct decoder *decoder);
void decoding_free(struct decoder *decoder); /* may be NULL */
