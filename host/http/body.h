/* The body of a request on its way: a source of pieces with a limit.
 *
 * The connection fills it, somebody pulls: the event (whole), a streaming handler or a rewrite
 * (pieces), or nobody. What nobody has asked for is not read; a connection that gets it all the
 * same (HTTP/2, within the window that it gave) keeps it here. No clock of its own: times are the
 * connection's milliseconds. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "http/fault.h"

#define BODY_UNSIZED UINT64_MAX /* no length was announced: chunks, or frames */

enum { BODY_PIECE_BYTES = 64 * 1024 }; /* a piece has so many at most */

enum body_mode {
    BODY_UNWANTED, /* nobody has asked for any of it */
    BODY_WHOLE,    /* it is read to its end without being asked again */
    BODY_PIECES    /* read while `asked` */
};

struct body {
    enum body_mode mode;
    bool asked;                         /* the next piece is waited for */
    bool complete;                      /* all of it has come */
    const struct http_fault *fault;     /* static: why the rest will not come; NULL: none */
    uint64_t announced;                 /* bytes, or BODY_UNSIZED */
    uint64_t received, limit;           /* bytes */
    struct buf buf;                     /* what has come ... */
    size_t used;                        /* ... less what was taken */
    uint64_t listening_since, heard_at; /* milliseconds; while it is read */
    uint64_t listened;                  /* for so many, before that */
};

extern const struct http_fault body_too_large; /* 413 */

/* In the arena, which does not own what comes: body_free before it ends. NULL: out of memory. */
struct body *body_new(struct arena *arena, uint64_t announced);
void body_free(struct body *body);

/* Without this call there is none. NULL, or the fault: more is announced, or has come already. */
const struct http_fault *body_set_limit(struct body *body, uint64_t limit);

/* ---- for the connection ---- */
/* Is it to be read now? */
bool body_has_room(const struct body *body);
/* From now on the peer is waited for. */
void body_listen(struct body *body, uint64_t now_ms);
/* Bytes came. Sets `fault` when they are over the limit, or there is no memory. */
void body_push(struct body *body, struct str bytes, uint64_t now_ms);
/* Was there no byte for `silence_ms`, or too few in the time that it was waited for
 * (LIMIT_BODY_RATE, over one such silence)? */
bool body_is_late(const struct body *body, uint64_t now_ms, uint64_t silence_ms);

/* ---- for who pulls ---- */
/* Is what was asked for there: all of it or a piece, its end, or a fault? */
bool body_is_ready(const struct body *body);
/* What has come and was not taken, BODY_PIECE_BYTES of it at most. Good until the next call. */
struct str body_piece(const struct body *body);
void body_take(struct body *body, size_t len);
/* All of it, which the arena then owns; nothing may have been taken. ptr NULL: out of memory. */
struct str body_take_all(struct body *body, struct arena *arena);
