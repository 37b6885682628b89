/* What h2.c and h2_out.c share. */
#ifndef LUAFN_NET_H2_INTERNAL_H
#define LUAFN_NET_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "net/conn.h"
#include "net/h2.h"

struct h2 {
    nghttp2_session *session; /* owned */
    struct conn *conn;        /* borrowed: it owns us */
    struct list streams;
    struct list ready;         /* requests that are complete or refused, for their handlers */
    struct list closed;        /* streams that nghttp2 has done with */
    unsigned requests, broken; /* streams in all; those that ended before their answer */
    bool draining;
    bool moved; /* bytes of bodies went out since h2_output began */
};

struct h2_stream {
    struct list node;  /* in h2->streams or ->closed */
    struct list ready; /* in h2->ready */
    struct h2 *h2;
    struct exchange *ex; /* reference */
    int32_t id;
    struct parser parser;
    struct buf head;      /* the request's head as HTTP/1.1 */
    struct str authority; /* in the exchange's arena */
    bool has_path, has_method;
    bool reading;                   /* the request is not all there */
    bool chunked;                   /* its body goes to the parser as chunks */
    bool submitted;                 /* nghttp2 has the answer's head */
    bool cut;                       /* the rest of the answer will not come */
    bool ended;                     /* the answer's last frame is out */
    size_t used;                    /* of the body, or of ex->stream */
    const struct http_fault *fault; /* static: why it is refused */
};

extern const struct exchange_sink h2_sink;
/* Ends what nghttp2 has done with; not from within it. */
void h2_end_closed(struct h2 *h2);
/* How much of a streamed answer waits. */
size_t h2_stream_waiting(const struct h2_stream *stream);

#endif
