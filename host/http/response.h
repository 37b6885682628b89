/* A response to be sent, and how it is put on the wire.
 *
 * The serializer adds Date, Content-Length and Connection; a handler cannot set these three, nor
 * Transfer-Encoding. Field names and values must be valid (header_name_is_valid,
 * header_value_is_valid): whoever fills the list checks. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "http/file.h"
#include "http/headers.h"
#include "http/request.h"

struct response {
    int status; /* 100 to 999 */
    struct headers headers;
    struct str body;        /* borrowed until the exchange ends; ignored for 1xx, 204, 304 */
    struct file_body *file; /* what the body's bytes are read from as they are sent; its `left` are
                               none where `body` has them already. NULL: no file */
    bool close;             /* close the connection after this answer */
    bool streamed; /* the body follows in pieces: in chunks (HTTP/1.1) or until close (1.0), unless
                      it is sized */
    bool sized;    /* of a streamed body: `size` is its length */
    bool upgraded; /* ... of bytes that are no longer HTTP's, both ways, until both have ended;
                      those of the client come as a body in pieces */
    bool unsized;  /* of HEAD: how long the body would be is not known */
    uint64_t size;
};

/* "Not Found"; "unknown" for codes without a registered phrase. Static. */
const char *response_reason(int status);

/* Is this field of the message, so that the serializer alone writes it? */
bool response_is_framing(struct str name);

/* Right before the head is written: replaces a status that cannot be a final answer's, and dresses
 * a bare 5xx. */
void response_mend(struct response *res, struct arena *arena);

/* Of the body that is still to be sent; of a stream only where it is sized. */
static inline uint64_t response_length(const struct response *res)
{
    if (res->streamed)
        return res->size;
    return res->body.len + (res->file != NULL ? res->file->left : 0);
}

/* May this status carry a body at all (RFC 9110 6.4.1, 15.3.6)? */
bool response_has_body(int status);

/* The head in HTTP/1.1 form, with the empty line. `keep_alive` decides Connection. For HEAD and 304
 * the Content-Length is that of the body which is not sent. */
void response_write_head(const struct response *res, const struct request *req, bool keep_alive,
                         struct buf *out);

/* Appends the frame of every error, {"error":code,"error_description":text}; both are escaped.
 * Fails as a buf does. */
void response_write_error(struct buf *out, struct str code, struct str text);

/* An answer in JSON: {"error": code, "error_description": text}, Content-Type and nosniff set.
 * `text` may be anything; it is escaped. 0 or -ENOMEM. */
int response_set_error(struct response *res, struct arena *arena, int status, struct str code,
                       struct str text) __attribute__((warn_unused_result));

/* A body of the given type. 0 or -ENOMEM. */
int response_set_body(struct response *res, struct arena *arena, int status,
                      struct str content_type, struct str body) __attribute__((warn_unused_result));
