/* HTTP/2 on a connection (RFC 9113), by nghttp2: what its files share.
 *
 * Each stream is an exchange. A request's pseudo-header fields and fields are written down as an
 * HTTP/1.1 head and go through the same parser as every other request: what is refused, and how, is
 * the same. DATA is the exchange's body as it comes, and its window is given again as somebody
 * takes it. nghttp2 is fed and asked for bytes; handlers never run inside of it. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "server/conn.h"
#include "server/h2.h"

enum { H2_FRAME_HEADER = 9 };

/* Where in the stream of frames we are (h2_frames.c). */
struct h2_frames {
    size_t left;                     /* of this frame's payload, or of the preface */
    uint8_t header[H2_FRAME_HEADER]; /* the first `held` bytes of the next frame's */
    size_t held;
    unsigned chores;     /* frames that led nowhere, less those that time has spared */
    uint64_t counted_at; /* milliseconds */
};

/* A request that has had its answer, and is not all there. */
struct h2_late {
    int32_t id;
    uint64_t at; /* milliseconds: when the answer was out */
};

enum { H2_LATE = 16 }; /* beyond that the oldest is ended at once */

struct h2 {
    nghttp2_session *session; /* owned */
    struct h2_frames frames;
    struct conn *conn; /* borrowed: it owns us */
    struct list streams;
    struct list ready;  /* requests with news for their handlers: head, body, fault */
    struct list closed; /* streams that nghttp2 has done with */
    struct h2_late late[H2_LATE];
    unsigned late_count;
    unsigned requests, broken; /* streams in all; those that ended before their answer */
    size_t held;               /* bytes of answers that wait */
    uint64_t moved_at;         /* of server_now: when the peer last took some of one */
    bool draining;
};

struct h2_stream {
    struct list node;  /* in h2->streams or ->closed */
    struct list ready; /* in h2->ready */
    struct h2 *h2;
    struct exchange *ex; /* reference */
    int32_t id;
    struct buf head;                /* the request's head as HTTP/1.1 */
    struct buf cookie;              /* the value of its cookie */
    struct str authority;           /* in the exchange's arena */
    bool passed_up;                 /* the handlers have seen it */
    bool reading;                   /* the request is not all there */
    bool unsized;                   /* a body without Content-Length */
    bool tunnel;                    /* CONNECT to a WebSocket (RFC 8441) */
    bool submitted;                 /* nghttp2 has the answer's head */
    bool cut;                       /* the rest of the answer will not come */
    bool ended;                     /* the answer's last frame is out */
    size_t kept;                    /* bytes of the body for which no new window was given */
    uint64_t judged_at;             /* milliseconds: since when its peer has to take something, */
    uint64_t judged_from;           /* and what it had taken by then */
    const struct http_fault *fault; /* static: why it is refused */
};

/* ---- h2_frames.c: the session is fed through here, so that no frame's header is cut ---- */
void h2_frames_init(struct h2_frames *frames, uint64_t now_ms);
/* Takes off *bytes what completes the header that was held back, and gives it; empty: none was, or
 * it is still not whole. */
struct str h2_frames_complete(struct h2_frames *frames, struct str *bytes, uint64_t now_ms);
/* Takes all of *bytes, and gives them without the beginning of a header at their end, which is held
 * back. Only after h2_frames_complete. */
struct str h2_frames_take(struct h2_frames *frames, struct str *bytes, uint64_t now_ms);
/* Did the peer send too many frames that lead nowhere? */
bool h2_frames_are_idle_talk(const struct h2_frames *frames);

/* ---- h2_head.c: nghttp2's callback for the fields of a head ---- */
int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *h2);

/* ---- h2_stream.c ---- */
/* A request that begins; NULL when out of memory. The connection's `h2` owns it. */
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id, const struct exchange_sink *sink);
/* So many bytes of its answer wait. */
void h2_hold(struct h2_stream *stream, size_t bytes);
/* Its handlers have news. */
void h2_make_ready(struct h2_stream *stream);
/* Ends what nghttp2 has done with, and the kernel has taken; not from within it. */
void h2_end_closed(struct h2 *h2);
/* The rest of the answer is not sent: resets the stream, and ends it. Not from within nghttp2. */
void h2_break_off(struct h2_stream *stream, const char *why, uint32_t code);
/* Ends every stream: the connection closes. */
void h2_abandon(struct conn *conn);
/* No streams? */
bool h2_is_idle(const struct h2 *h2);

/* ---- h2_out.c: the sink's functions, and the protocol's ---- */
void h2_answer(struct exchange *ex);
size_t h2_stream_write(struct exchange *ex, struct str bytes);
void h2_stream_more(struct exchange *ex); /* its end, or what is to be cut */
bool h2_output(struct conn *conn, struct buf *out);
bool h2_has_output(const struct conn *conn);
void h2_judge(struct conn *conn);
/* Notes where answers end on the wire, ends those that the kernel has taken, and tells streams
 * whose bytes are out that they may go on. */
void h2_settle(struct h2 *h2);
