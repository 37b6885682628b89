/* What the files of HTTP/1 share. */
#pragma once

#include "server/conn.h"

struct h1 {
    struct conn *conn;     /* borrowed: it owns us */
    struct parser *parser; /* owned; NULL: HTTP was given up, which one that waits need not keep */
    struct exchange *reading;   /* in the pipeline too, its last; NULL between requests, and when
                                   its body is of no interest any more */
    struct list pipeline;       /* struct exchange, unanswered or unsent, in order of arrival */
    struct list sending;        /* those that were sent whole, until the kernel has taken them */
    struct exchange *upgrading; /* asks for a WebSocket: what follows is read when it is answered */
    unsigned pipeline_len;      /* of `pipeline` */
    bool continue_due;          /* the request being read waits for 100 Continue */
    bool skipping;              /* what comes is the rest of a body that nobody wants */
    bool asked;                 /* the peer sends no more, and it was found out if he reads on */
    size_t ready_bytes;         /* bodies of answers in the pipeline that wait for their turn */
    size_t unsent;              /* conn_unsent when it was last looked at */
    struct buf stash;           /* read but not parsed, as there was no room for it */
    size_t stash_used;
};

/* ---- h1_out.c ---- */
/* The protocol's `output` and `has_output`. */
bool h1_output(struct conn *conn, struct buf *out);
bool h1_has_output(const struct conn *conn);
/* Finishes the exchanges whose answers the kernel has taken, and tells who moved and who may go on.
 */
void h1_settle(struct h1 *h1);
/* Whose answer, or request, is the next to move; NULL: nobody's. */
struct exchange *h1_front(const struct h1 *h1);
