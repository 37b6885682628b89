/* Inside of the server: connections, their pipelines and deadlines. For server.c and
 * conn*.c alone.
 *
 * Bytes go: on_read -> parser -> exchange (conn_in.c), up to the handlers, and back: answer marks
 * the connection, which is flushed once for all that was answered in the same turn of the loop
 * (conn_out.c). Callbacks of the handlers may answer, drain or close anything: a connection that
 * was closed stays in memory until the loop says so. */
#ifndef LUAFN_SERVER_CONN_H
#define LUAFN_SERVER_CONN_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/exchange.h"
#include "http/parser.h"
#include "server/h2.h"
#include "server/peers.h"
#include "server/server.h"
#include "server/tls.h"

enum {
    CONN_INPUT_BYTES = 64 * 1024, /* one read, shared by all connections */
    CONN_COPY_MAX = 16 * 1024     /* bodies up to this are copied behind their head */
};

#define CONN_NOT_HANDED UINT64_MAX /* ex->wire_end of what was put together, but not yet sent */

/* Each kind lasts equally long for all, so a list a kind is in order by itself. */
enum deadline_kind {
    DEADLINE_HANDSHAKE,
    DEADLINE_HEAD,
    DEADLINE_BODY,
    DEADLINE_IDLE,
    DEADLINE_DRAIN, /* of an idle one, while the server drains */
    DEADLINE_WRITE,
    DEADLINE_LINGER,
    DEADLINE_NONE /* also the number of kinds */
};

struct deadline {
    struct list node; /* in server->deadlines[kind] */
    enum deadline_kind kind;
    uint64_t at; /* uv_now milliseconds */
};

struct server {
    uv_loop_t *loop; /* borrowed */
    struct server_handlers handlers;
    struct server_limits limits;
    struct parser_limits parser_limits;
    struct server_stats stats;
    struct exchange *favoured; /* while holdings are full: whose request is read on; or NULL */
    bool held_back;            /* somebody waits for room: server_has_room, server_may_read_on */
    uv_timer_t relief;         /* while holdings are full, looks for those who stand still */
    struct holdings holdings;  /* of all exchanges: what waits for clients */
    uint64_t durations[DEADLINE_NONE]; /* milliseconds */
    struct list deadlines[DEADLINE_NONE];
    struct list conns;
    struct list acceptors;
    struct list dirty;       /* connections with something to flush */
    struct list bulk;        /* those that have sent their share and have more */
    bool in_bulk;            /* it is the turn of one of them */
    unsigned gathered;       /* of them, by server_gather, */
    uint64_t gathered_since; /* the first at this time, of uv_hrtime */
    uv_timer_t timer;        /* runs while there are connections */
    uv_timer_t rest;         /* wakes the acceptors that rest */
    uv_poll_t room;          /* closed as soon as it was opened: see make_room */
    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t idle;       /* runs while `dirty` is not empty, so that the loop does not sleep */
    unsigned handles;     /* not yet closed */
    struct buf out;       /* where answers are put together */
    char *input;          /* owned; what was just read */
    char *plain;          /* owned; the same, decrypted; NULL without TLS */
    struct tls *tls;      /* owned; NULL: connections are plain */
    int https_port;       /* of the first public listener; 0: there is none yet */
    struct peers *peers;  /* owned; NULL: an address may have any number of connections */
    struct conn *current; /* the connection whose input is being handled; it needs no mark */
    uv_tcp_t reject;      /* takes a connection that there is no memory for, and closes it */
    bool rejecting;       /* `reject` is in use */
    bool draining;
    bool closing;
    void (*on_drained)(void *arg);
    void *drained_arg;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

enum conn_state {
    CONN_OPEN,
    CONN_LINGER, /* the last answer is on its way; input is discarded until the peer is done */
    CONN_CLOSED  /* the handle is closing */
};

struct conn {
    uv_tcp_t tcp;
    struct server *server;
    struct tls_session *tls; /* owned; NULL: plain */
    struct peer *peer;       /* where it counts; NULL: nowhere */
    struct h2 *h2;           /* owned; NULL: HTTP/1 */
    struct list in_server;
    struct list in_dirty;
    enum conn_state state;
    bool admin;
    bool redirects;        /* every request is sent to HTTPS */
    bool is_reading;       /* uv_read_start is in force */
    bool peer_eof;         /* the peer sends no more */
    bool done_reading;     /* what the peer sends is of no interest any more */
    bool continue_due;     /* the request being read waits for 100 Continue */
    bool skipping;         /* what comes is the rest of a body that nobody wants */
    bool unread;           /* the peer may still be sending what will not be read */
    bool has_more;         /* conn_flush stopped at the high-water mark, not for want of answers */
    bool corked;           /* the kernel sends full segments only */
    bool failed;           /* a write failed: close */
    bool resets;           /* closing breaks the connection, so that the peer notices */
    bool fresh;            /* bytes came since the deadline was last set */
    unsigned pipeline_len; /* of `pipeline` */
    struct parser parser;
    struct exchange *reading; /* in the pipeline too, its last; NULL between requests, and when
                                 its body is of no interest any more */
    struct list pipeline;     /* struct exchange, unanswered or unsent, in order of arrival */
    struct list sending;      /* those that were sent whole, until the kernel has taken them */
    size_t ready_bytes;       /* bodies of answers in the pipeline that wait for their turn */
    struct buf stash;         /* read but not parsed, as there was no room for it */
    size_t stash_used;
    size_t discarded;    /* bytes */
    size_t probed;       /* bytes that were HTTP/2's preface so far; its length: it is decided */
    uint64_t handed;     /* bytes that libuv was given to send, ever */
    uint64_t taken_seen; /* conn_taken when the write deadline was set */
    const char *why;     /* static: what breaks answers off, for the log; NULL: the client left */
    struct deadline read_deadline;
    struct deadline write_deadline;
    uv_shutdown_t shutdown;
    char ip[46];
};

/* ---- server.c ---- */
/* Restarts a deadline; DEADLINE_NONE stops it. */
void deadline_set(struct server *server, struct deadline *deadline, enum deadline_kind kind);
/* The connection will be pumped before the loop sleeps. */
void server_mark_dirty(struct conn *conn);
/* The connection has sent its share, and has more: it has another turn after all who have not, and
 * after those of its kind who wait. The loop gives them but a part of its time. */
void server_mark_bulk(struct conn *conn);
/* As server_mark_dirty, with those of the same turn that come after it, but not much later: who
 * reads several answers, a proxy or a load generator beside us, is then woken once, and waking it
 * costs the writer more than the write. */
void server_gather(struct conn *conn);
/* For every handle that was counted in server->handles, when it has closed. */
void server_handle_closed(struct server *server);
/* So many bytes of this exchange wait for its client; it has sent or taken some; has it lately? */
void server_hold(struct server *server, struct exchange *ex, size_t bytes);
void server_moved(struct server *server, struct exchange *ex);
bool server_is_moving(const struct server *server, const struct exchange *ex);
void server_start_clock(struct server *server); /* there is a connection, or will be */
void server_conn_closed(struct server *server);

/* May this connection begin another request? Not while clients have left too much with us. It is
 * marked when it may. */
static inline bool server_has_room(const struct conn *conn)
{
    bool room = !holdings_are_over(&conn->server->holdings) || conn->admin;
    if (!room)
        conn->server->held_back = true;
    return room;
}

/* May more of this request be read? While there is no room, of one at a time. */
static inline bool server_may_read_on(const struct conn *conn, const struct exchange *ex)
{
    bool may =
        !holdings_are_full(&conn->server->holdings) || ex == conn->server->favoured || conn->admin;
    if (!may)
        conn->server->held_back = true;
    return may;
}

/* ---- conn.c ---- */
/* Takes the next connection off the listener. UV_ENOMEM: it is still there. */
int conn_accept(struct server *server, uv_stream_t *listener, enum server_door door)
    __attribute__((warn_unused_result));
/* Parses what waits, sends what is ready, reads on if there is room. At most LIMIT_PIPELINE
 * requests are taken in one turn of the loop. */
void conn_pump(struct conn *conn);
/* The peer sends no more. */
void conn_eof(struct conn *conn);
void conn_on_deadline(struct conn *conn, enum deadline_kind kind);
/* Ends a connection that the peer has broken while nothing was read from it. */
void conn_look(struct conn *conn);
/* Takes an exchange that will not be sent out of the pipeline. One that nobody has seen goes
 * silently. */
void conn_abandon(struct conn *conn, struct exchange *ex);
/* Has something arrived that was not read yet? */
bool conn_has_input(const struct conn *conn);
/* At once; what is in the pipeline is told. */
void conn_close(struct conn *conn);
/* After the last answer: no more input is parsed; closes when the peer has had time to read. */
void conn_linger(struct conn *conn);
/* The log's turn, and the end of the connection's interest. */
void conn_finish(struct server *server, struct exchange *ex);

/* Would the kernel take or give bytes right now (poll's POLLOUT, POLLIN)? */
bool conn_can_move(const struct conn *conn, short how);
extern const struct http_fault conn_no_room; /* limits.memory */

/* ---- conn_in.c ---- */
/* Bytes of the peer, decrypted where need be; to be followed by conn_pump. */
void conn_input(struct conn *conn, struct str bytes);
/* Once a request, when its head is complete or it is refused; then harmless. 0 or UV_ENOMEM. */
int conn_identify(struct conn *conn, struct exchange *ex) __attribute__((warn_unused_result));
/* Parses what was kept for want of room. */
void conn_take_stash(struct conn *conn);
/* The body that is being read is refused for want of room: see limits.memory. */
void conn_give_up_body(struct conn *conn, struct exchange *ex);
/* Is there room for another request? */
bool conn_may_take(const struct conn *conn);
/* The sink's `pull`. */
void conn_pull(struct exchange *ex);
/* The request that is being read is answered: the rest of its body is read over when it is short;
 * else the connection ends with the answer. */
void conn_leave_body(struct conn *conn, struct exchange *ex);
/* The body that is being read has come too slowly. */
void conn_time_out_body(struct conn *conn);
/* The peer sends no more and all it sent is parsed. */
void conn_end_input(struct conn *conn);
/* Is the next byte one of a body? */
bool conn_is_in_body(const struct conn *conn);
/* Answers with the refusal, after the handlers' on_refused. */
void conn_answer_fault(struct conn *conn, struct exchange *ex, const struct http_fault *fault);
/* Answers the request whose head is being read with a refusal; nothing more is read. */
void conn_refuse(struct conn *conn, struct exchange *ex, const struct http_fault *fault);

/* ---- conn_up.c ---- */
/* Passes a request up whose head is complete, or answers it where all are sent to HTTPS. */
void conn_pass_up(struct conn *conn, struct exchange *ex);

/* ---- conn_tls.c ---- */
/* 0 or UV_ENOMEM. */
int conn_tls_start(struct conn *conn) __attribute__((warn_unused_result));
/* Bytes off the socket: decrypts and hands on. */
void conn_tls_input(struct conn *conn, struct str bytes);
/* Encrypts both; *head is then all that is to be sent, until tls_sent. */
bool conn_tls_seal(struct conn *conn, struct str *head, struct str *body);
/* Says good-bye, as far as the kernel takes it. */
void conn_tls_bye(struct conn *conn);

/* ---- conn_send.c ---- */
/* Bytes handed to libuv that the kernel has not taken. */
size_t conn_unsent(const struct conn *conn);
/* Of all that libuv was ever given, what the kernel has taken. */
uint64_t conn_taken(const struct conn *conn);
/* Hands bytes to the kernel, and queues what it does not take: all of `head`, and of `body` as much
 * as is returned. `ex` is the exchange whose body it is, or NULL; it may be borrowed from it for as
 * long as it is queued. */
size_t conn_send(struct conn *conn, struct str head, struct str body, struct exchange *ex);

/* ---- conn_out.c ---- */
extern const struct exchange_sink conn_sink;
/* Sends every answer that is ready and whose turn it is, as far as there is room. */
void conn_flush(struct conn *conn);
/* Is so much unsent, `out` included, that no more is put to it? */
bool conn_is_full(const struct conn *conn, const struct buf *out);
/* Is there something to send, and nobody who will wake the connection? Never between two turns of
 * the loop: a debug build looks. */
bool conn_is_stuck(const struct conn *conn);
/* Finishes the exchanges whose answers the kernel has taken. */
void conn_settle(struct conn *conn);
/* Sees to it that somebody goes on with what waits to be taken, and that it has a deadline. */
void conn_watch(struct conn *conn);
/* What was queued has been taken by the kernel. */
void conn_on_taken(struct conn *conn);
void conn_on_write_deadline(struct conn *conn);
/* The bytes that a peer has to take until the write deadline, at least. */
size_t conn_least_taken(const struct server *server);
/* The rest of this answer will not be taken: tells who works on it, and what the log is to say. */
void conn_break_off(const struct conn *conn, struct exchange *ex);

#endif
