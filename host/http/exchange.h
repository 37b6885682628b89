/* One request and its answer: what the connection and the function share.
 *
 * The connection makes the exchange, fills `req` and passes it up; somebody fills `res` and calls
 * exchange_answer once. Either side may end first: when the client leaves, the connection clears
 * `conn` and calls `on_gone`; when the answer comes later it is dropped. The memory lives until
 * both have released it.
 *
 *     HEAD -> BODY -> WORKING -> ANSWERED                the usual way
 *                             -> STREAMING -> ANSWERED   an answer in pieces
 *                             -> ENCODING -> ANSWERED    a thread compresses it first
 *
 * It goes up when its head is complete. A refusal may come at once, in HEAD. The body of the
 * request is pulled by whoever wants it: whole (BODY, then WORKING), in pieces (while WORKING), or
 * by nobody; until then the client waits. What is left of it when the answer comes is the
 * connection's to throw away. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "http/body.h"
#include "http/encoding.h"
#include "http/holding.h"
#include "http/request.h"
#include "http/response.h"

#define EXCHANGE_MAGIC 0x6578

enum exchange_state {
    EXCHANGE_HEAD, /* it is read, then judged */
    EXCHANGE_BODY, /* somebody waits for the whole body */
    EXCHANGE_WORKING,
    EXCHANGE_ENCODING,
    EXCHANGE_STREAMING,
    EXCHANGE_ANSWERED
};

struct exchange;
struct hook;
struct metric_durations;

/* The connection's side. Every function is called with ex->conn set. */
struct exchange_sink {
    /* ex->res is complete (or, with res.streamed, its head is). Must not call back. */
    void (*answer)(struct exchange *ex);
    /* Bytes of a streamed body. Returns the bytes that now wait to be sent. */
    size_t (*stream_write)(struct exchange *ex, struct str bytes);
    void (*stream_end)(struct exchange *ex);
    /* The rest will not come: the client must be able to tell from a proper end. */
    void (*stream_abort)(struct exchange *ex);
    /* More of ex->body is wanted than before, or was taken. Must not call back. */
    void (*pull)(struct exchange *ex);
    /* The worker has no room for what waits here: a request that is still coming is refused, an
     * answer broken off. False: it stays, as its client is moving. Calls back. */
    bool (*give_up)(struct exchange *ex);
};

/* A proof of possession that this request uses up. In the arena. */
struct exchange_once {
    enum {
        ONCE_HERE, /* no worker of this machine has seen it; others were not asked */
        ONCE_NEW,  /* nor has any other machine; or there is none */
        ONCE_SEEN  /* another machine has */
    } state;
    double until; /* when it is too old anyway; seconds since 1970 */
    unsigned char name[32];
};

struct exchange {
    unsigned refs;
    enum exchange_state state;
    uint16_t magic;
    bool admin;          /* came in over an admin socket */
    bool head_sent;      /* the connection's */
    bool ends_with_peer; /* who sends no more has left, as there is no other way to say so; else he
                            may wait for the answer still */
    bool secret_query;   /* that of the target is nobody's to read */
    bool secret_place;   /* nor is that of the answer's Location */
    bool rate_refused;   /* this request is over the limit */
    unsigned generation; /* of the function below; 0 if none */
    unsigned rate_limit, rate_remaining, rate_reset; /* for the RateLimit headers; limit 0: none */
    size_t used;        /* the connection's: of the body, or of `stream`, what is on the wire */
    uint64_t wire_end;  /* the connection's: where on its wire that ends */
    struct arena arena; /* all of this request's memory */
    struct request req;
    struct body *body; /* in the arena: what comes of it. NULL: there is none, or all is in req.body
                        */
    struct response res;

    const struct exchange_sink *sink; /* borrowed from the connection's module: static */
    void *conn;                       /* borrowed; NULL once the connection is gone */
    struct list in_conn;              /* the connection's pipeline, in order of arrival */
    struct buf stream;                /* the connection's: streamed bytes, framed, not yet sent */
    struct holding holding;           /* the connection's: what waits for the client */

    /* Set by whoever works on the answer. Each is called at most once, then cleared. */
    void (*on_gone)(struct exchange *ex);    /* the client left before the answer was complete */
    void (*on_drained)(struct exchange *ex); /* streamed bytes fell under the low-water mark */
    void (*on_body)(struct exchange *ex);    /* what was wanted of the body is there, or a fault */
    void *owner;                             /* borrowed; for these callbacks */
    /* Before the answer leaves, or when there will be none any more: was it all there, and a 2xx?
     */
    void (*on_settled)(struct exchange *ex, bool good);
    void *settling;                        /* borrowed; for on_settled */
    void (*decorate)(struct exchange *ex); /* before the answer leaves: headers for every answer */
    void *app;                             /* borrowed; for decorate */
    /* After decorate: encodes the body, if the client asks for it. False: later, and exchange_send
     * comes then; only where it `may_wait`. NULL: nothing is encoded. */
    bool (*encode)(struct exchange *ex, bool may_wait);
    struct encoder *encoder; /* owned: of a stream that is */
    struct hook *hook;       /* who listens to this request (journal/hook.h); NULL: nobody */
    void (*on_over)(struct exchange *ex); /* with it: before the memory goes */

    /* For the log line and the metrics; filled on the way. */
    uint64_t started_ns; /* monotonic, when the head was complete */
    uint64_t
        until_ns; /* monotonic: whoever asked waits no longer than that; 0: as long as it takes */
    char request_id[64];        /* NUL-terminated; from X-Request-Id, or a ULID */
    struct str traceparent;     /* as sent, when well-formed; else empty */
    const char *function;       /* name; in the arena; NULL if none */
    const char *error_code;     /* static reason code of a refusal; NULL if none */
    uint64_t sub_hash;          /* hash of the token's subject; 0 if none */
    struct exchange_once *once; /* NULL: nothing that may be used once */
    struct str dpop_nonce;      /* for DPoP-Nonce; empty: none */
    struct str session_cookie;  /* for Set-Cookie; empty: none */
    uint64_t bytes_sent;        /* body bytes */
    struct metric_durations
        *durations; /* borrowed: of the function, for the process' life; NULL: none */
};

/* New, with one reference: the connection's. NULL when out of memory. One thread alone makes and
 * releases exchanges. */
struct exchange *exchange_new(const struct exchange_sink *sink, void *conn);
void exchange_hold(struct exchange *ex);
void exchange_release(struct exchange *ex);

/* Fills started_ns, request_id and traceparent once the head is known. A request id of the client's
 * is kept when it is short and harmless, else replaced by a ULID. */
void exchange_identify(struct exchange *ex);

/* ---- the request's body, from when its head was passed up to the answer ---- */

/* None at all, or all of it in ex->req.body? */
static inline bool exchange_has_body_whole(const struct exchange *ex)
{
    return ex->body == NULL;
}

/* How long it may be; to be said before it is read. NULL, or the refusal: it is longer, as far as
 * that is known. */
const struct http_fault *exchange_limit_body(struct exchange *ex, uint64_t limit)
    __attribute__((warn_unused_result));

/* Waits for all of it: on_body comes once, from within or later, when it is in ex->req.body, or
 * when it will not come in full: see exchange_body_fault; the exchange is then still to be
 * answered. It does not come when the client leaves (on_gone does). */
void exchange_read_whole(struct exchange *ex, void (*on_body)(struct exchange *ex));

/* How to read it in pieces: ask with exchange_read_piece, and when on_body comes (once, from within
 * or later) look at exchange_piece; an empty one is the end, or a fault: see exchange_body_fault.
 * exchange_take_piece when it was used. Who does not ask lets the client wait. */
void exchange_read_piece(struct exchange *ex, void (*on_body)(struct exchange *ex));
struct str exchange_piece(const struct exchange *ex);
/* Takes the question back. */
void exchange_stop_reading(struct exchange *ex);
void exchange_take_piece(struct exchange *ex, size_t len);

/* Why the rest of it will not come, or NULL. */
static inline const struct http_fault *exchange_body_fault(const struct exchange *ex)
{
    return ex->body != NULL ? ex->body->fault : NULL;
}

/* For the connection, after bytes, the end or a fault: calls on_body when what it waits for is
 * there. */
void exchange_tell_body(struct exchange *ex);

/* ---- the answer ---- */

/* Sends ex->res. The first answer counts: a second one is ignored. After the client has left it
 * does nothing but change the state. */
void exchange_answer(struct exchange *ex);

/* Sends an answer whose `encode` was to come later; if the client is still there. */
void exchange_send(struct exchange *ex);

/* Bytes of a streamed body, after exchange_answer with res.streamed. Returns the bytes that now
 * wait to be sent (0 when the client has left): above LIMIT_STREAM_BYTES the caller should
 * wait for on_drained. */
size_t exchange_stream_write(struct exchange *ex, struct str bytes);
/* Gives up the request's memory, which a stream would keep for as long as it lasts: when nobody
 * reads the request any more. Of texts the path, the client's address, the trace and the function's
 * name stay, for the log and for what is asked elsewhere. Returns a block of `own` bytes for what
 * the caller has there; *before is the arena that was, his to free when he has moved that. NULL:
 * not now, the answer's head has not left or somebody listens; or out of memory. Nothing has
 * changed then. */
void *exchange_lighten(struct exchange *ex, size_t own, struct arena *before)
    __attribute__((warn_unused_result));

/* The end of a streamed body. */
void exchange_stream_end(struct exchange *ex);

/* The end of a streamed body that is not all there. */
void exchange_stream_abort(struct exchange *ex);

/* Does the answer, whose status is set, carry a body? */
static inline bool exchange_sends_body(const struct exchange *ex)
{
    return ex->res.upgraded || (ex->req.method != METHOD_HEAD && response_has_body(ex->res.status));
}

/* Is there more of a file to be sent? */
static inline bool exchange_sends_file(const struct exchange *ex)
{
    const struct file_body *file = ex->res.file;
    return file != NULL && file->file != NULL && file->left > 0 && exchange_sends_body(ex);
}

/* For the connection: what there is of the answer's body that was not put on the wire; */
static inline struct str exchange_rest(const struct exchange *ex)
{
    if (!exchange_sends_body(ex))
        return (struct str){NULL, 0};
    return str_skip(ex->res.streamed ? buf_str(&ex->stream) : ex->res.body, ex->used);
}

/* or of its file; */
static inline bool exchange_has_rest(const struct exchange *ex)
{
    return exchange_rest(ex).len > 0 || exchange_sends_file(ex);
}

/* that it was; and more of a streamed one (failing as a buf does). */
void exchange_put(struct exchange *ex, size_t count);
void exchange_add(struct exchange *ex, struct str bytes);
/* The memory of an answer's body, 0 for a small one. */
size_t exchange_holds(const struct exchange *ex);

/* Is the answer complete on our side? */
static inline bool exchange_is_complete(const struct exchange *ex)
{
    return ex->state == EXCHANGE_ANSWERED;
}

/* Fills ex->res with the JSON error frame and sends it; falls back to an empty 500 when out of
 * memory. */
void exchange_answer_error(struct exchange *ex, int status, struct str code, struct str text);
/* The same of a 500 for want of memory. */
void exchange_answer_no_memory(struct exchange *ex);

/* The same with a fault, which the log names as well. */
void exchange_refuse(struct exchange *ex, const struct http_fault *fault);

/* The connection is gone: clears `conn`, calls on_gone if the answer is not complete. Does not
 * release. */
void exchange_detach(struct exchange *ex);

/* Frees the exchanges that are kept for reuse; for the end of the program. */
void exchange_pool_free(void);

/* A ULID (26 characters, NUL-terminated). */
void exchange_make_id(char out[27]);
