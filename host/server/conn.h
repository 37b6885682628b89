/* Inside of the server: connections, what they speak, and their deadlines. For this room alone.
 *
 * Bytes go: on_read (turn.c) -> conn_input, which knows TLS and chooses the protocol -> h1.c or
 * h2.c, up to the handlers, and back: an answer marks the connection, which is flushed once for all
 * that was answered in the same turn of the loop. Callbacks of the handlers may answer, drain or
 * close anything: a connection that was closed stays in memory until the loop says so. */
#pragma once

#include <uv.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "http/exchange.h"
#include "http/parser.h"
#include "server/peers.h"
#include "server/server.h"
#include "server/tls.h"

enum {
    CONN_INPUT_BYTES = 64 * 1024, /* one read, shared by all connections */
    CONN_COPY_MAX = 16 * 1024,    /* bodies up to this are copied behind their head */
    CONN_CLOSED_TRIM = 256,       /* so many have closed: their pages are given back */
    SERVER_HANDLES = 6
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
    uint64_t at; /* of server_now */
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
    struct list dirty;                     /* connections with something to flush */
    struct list bulk;                      /* those that have sent their share and have more */
    bool in_bulk;                          /* it is the turn of one of them */
    unsigned gathered;                     /* of `dirty`, by gather, */
    uint64_t gathered_since;               /* the first at this time, of uv_hrtime */
    uv_timer_t timer;                      /* runs while there are connections, each `tick` */
    uint64_t tick, looked_at, stood_still; /* milliseconds: server_now */
    uv_timer_t rest;                       /* wakes the acceptors that rest */
    uv_poll_t room;                        /* closed as soon as it was opened: see make_room */
    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t idle; /* runs while `dirty` is not empty, so that the loop does not sleep */
    uv_handle_t *own[SERVER_HANDLES]; /* the six above, but for `room` */
    unsigned handles;                 /* not yet closed */
    struct buf out;                   /* where answers are put together */
    char *input;                      /* owned; what was just read */
    char *plain;                      /* owned; the same, decrypted; NULL without TLS */
    struct tls *tls;                  /* owned; NULL: connections are plain */
    int https_port;                   /* of the first public listener; 0: there is none yet */
    struct peers *peers;  /* owned; NULL: an address may have any number of connections */
    struct conn *current; /* the connection whose input is being handled; it needs no mark */
    uv_tcp_t reject;      /* takes a connection that there is no memory for, and closes it */
    bool rejecting;       /* `reject` is in use */
    bool draining;
    bool closing;
    unsigned closed; /* connections, ever */
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

/* What a connection speaks: HTTP/1 from its beginning (h1.c), HTTP/2 (h2.c) once its first bytes
 * say so (conn_input.c). All that is known of requests and answers is the protocol's, in conn->own;
 * the connection itself knows bytes and deadlines. Any of these may close the connection, but for
 * those that ask; of one that is closed only `free` is called, and take, which does nothing. */
struct protocol {
    /* Its part of a connection. NULL: out of memory. */
    void *(*new)(struct conn *conn);
    void (*free)(void *own); /* after `abandon` */
    /* Bytes of the peer; to be followed by turn_pump. */
    void (*input)(struct conn *conn, struct str bytes);
    /* Takes up what had to wait for room, and that the peer sends no more (peer_eof) or that the
     * server drains. */
    void (*take)(struct conn *conn);
    /* Is there room for more of the peer's bytes? */
    bool (*may_read)(struct conn *conn);
    /* What the peer has time for: DEADLINE_HEAD, _BODY; _NONE: the next move is ours; _IDLE:
     * nothing is under way. A body that moves sets conn->fresh where its time begins anew. */
    enum deadline_kind (*waits_for)(const struct conn *conn);
    /* That time is over. */
    void (*time_out)(struct conn *conn);
    /* From time to time: looks for what nobody tells. */
    void (*look)(struct conn *conn);
    /* Appends what is to be sent, until conn_is_full: has_more. True: with it the connection ends,
     * after a linger. */
    bool (*output)(struct conn *conn, struct buf *out);
    /* What `output` gave was handed on, or the kernel has taken some: ends the exchanges whose
     * answers it has, tells those who wait for room, marks the connection if it may `take`. */
    void (*settle)(struct conn *conn);
    /* Is there something to put that waits for nobody? */
    bool (*has_output)(const struct conn *conn);
    /* The write deadline, where the socket has taken enough: breaks off single answers that were
     * not. NULL: there are none. */
    void (*judge)(struct conn *conn);
    /* Leaves something to be sent before an idle connection is closed. NULL: there is nothing. */
    void (*bye)(struct conn *conn);
    /* Tells of exchanges that nothing more will be sent: all when the connection is closed; when it
     * lingers, those of which nothing was. */
    void (*abandon)(struct conn *conn);
};

/* In the process' pool, with h1's part: many come and go at once, and leave whole pages. */
struct conn {
    uv_tcp_t tcp;
    struct server *server;
    const struct protocol *protocol;
    void *own;               /* the protocol's; owned */
    struct tls_session *tls; /* owned; NULL: plain */
    struct buf *announced; /* owned; of the PROXY header that has to come first; NULL: it is over */
    struct peer *peer;     /* where it counts; NULL: nowhere */
    struct list in_server;
    struct list in_dirty;
    enum conn_state state;
    bool admin;
    bool redirects;      /* every request is sent to HTTPS */
    bool secure;         /* the peer speaks TLS, with us or with the proxy that announced it */
    bool is_reading;     /* uv_read_start is in force */
    bool peer_eof;       /* the peer sends no more */
    bool done_reading;   /* what the peer sends is of no interest any more */
    bool unread;         /* the peer may still be sending what will not be read */
    bool has_more;       /* sending stopped at the high-water mark, not for want of answers */
    bool blocked;        /* answers wait although the socket takes bytes: the peer's windows */
    bool held_back;      /* it waits for room: server_has_room, server_may_read_on */
    bool corked;         /* the kernel sends full segments only */
    bool failed;         /* a write failed: close */
    bool resets;         /* closing breaks the connection, so that the peer notices */
    bool fresh;          /* the time for a body begins anew */
    uint8_t probed;      /* bytes that were HTTP/2's preface so far; its length: it is decided */
    uint32_t discarded;  /* bytes; while it lingers nobody looks */
    uint64_t handed;     /* bytes that libuv was given to send, ever */
    uint64_t taken_seen; /* conn_taken when the write deadline was set */
    const char *why;     /* static: what breaks answers off, for the log; NULL: the client left */
    struct deadline read_deadline;
    struct deadline write_deadline;
    char ip[46];
};

/* ---- server_marks.c ---- */
/* Milliseconds of a clock that all deadlines go by. It stands while this process does, on a machine
 * that is too busy: what came meanwhile is read before anybody is late. */
uint64_t server_now(struct server *server);

/* Restarts a deadline; DEADLINE_NONE stops it. */
void server_set_deadline(struct server *server, struct deadline *deadline, enum deadline_kind kind);
/* The connection will be pumped before the loop sleeps. */
void server_mark_dirty(struct conn *conn);
/* The connection has sent its share, and has more: it has another turn after all who have not, and
 * after those of its kind who wait. The loop gives them but a part of its time. */
void server_mark_bulk(struct conn *conn);
/* So many bytes of this exchange wait for its client; it has sent or taken some; was that lately?
 */
void server_hold(struct server *server, struct exchange *ex, size_t bytes);
void server_moved(struct server *server, struct exchange *ex);
bool server_is_moving(struct server *server, uint64_t moved_at);
/* For every handle that was counted in server->handles, when it has closed. */
void server_handle_closed(struct server *server);
void server_conn_closed(struct server *server);
/* Calls on_drained, if the time has come. */
void server_tell_drained(struct server *server);

/* May this connection begin another request? Not while clients have left too much with us. It is
 * marked when it may. */
static inline bool server_has_room(struct conn *conn)
{
    bool room = !holdings_are_over(&conn->server->holdings) || conn->admin;
    if (!room)
        conn->held_back = conn->server->held_back = true;
    return room;
}

/* May more of this request be read? While there is no room, of one at a time. */
static inline bool server_may_read_on(struct conn *conn, const struct exchange *ex)
{
    bool may =
        !holdings_are_full(&conn->server->holdings) || ex == conn->server->favoured || conn->admin;
    if (!may)
        conn->held_back = conn->server->held_back = true;
    return may;
}

/* ---- conn_send.c ---- */
/* Bytes handed to libuv that the kernel has not taken. */
static inline size_t conn_unsent(const struct conn *conn)
{
    return conn->tcp.write_queue_size;
}

/* Of all that libuv was ever given, what the kernel has taken. */
static inline uint64_t conn_taken(const struct conn *conn)
{
    return conn->handed - conn_unsent(conn);
}

/* Is so much unsent, `out` included, that no more is put to it? */
static inline bool conn_is_full(const struct conn *conn, const struct buf *out)
{
    return conn_unsent(conn) + out->len >= LIMIT_WRITE_HIGH_WATER;
}

/* Hands bytes to the kernel, and queues what it does not take: all of `head`, and of `body` as much
 * as is returned. `ex` is the exchange whose body it is, or NULL; it may be borrowed from it for as
 * long as it is queued. Under TLS both are encrypted before. */
size_t conn_send(struct conn *conn, struct str head, struct str body, struct exchange *ex);
/* The same for what was put together, which is then empty, and for what TLS has to say besides: of
 * the handshake, alerts, and that these were the last bytes. */
void conn_send_out(struct conn *conn, struct buf *out, bool last);
/* The bytes that a peer has to take until the write deadline, at least. */
static inline size_t conn_least_taken(const struct server *server)
{
    return (size_t)(server->durations[DEADLINE_WRITE] * LIMIT_WRITE_RATE / 1000);
}

/* ---- conn.c ---- */
/* From now on it speaks this protocol. 0 or UV_ENOMEM: then it speaks the one before. */
int conn_speak(struct conn *conn, const struct protocol *protocol)
    __attribute__((warn_unused_result));
/* Counts it where its address counts. False: that has as many as it may. */
bool conn_count_in(struct conn *conn);
/* Over a limit: says so without reading, and closes. */
void conn_turn_away(struct conn *conn);
/* Passes a request up whose head is complete, or answers it where all are sent to HTTPS. Closes the
 * connection when out of memory. */
void conn_pass_up(struct conn *conn, struct exchange *ex);
/* Answers a request that was not passed up with the refusal, after the handlers' on_refused; or as
 * above. */
void conn_refuse(struct conn *conn, struct exchange *ex, const struct http_fault *fault);
/* The log's turn, and the end of the connection's interest. */
void conn_finish(struct server *server, struct exchange *ex);
/* The rest of this answer will not be taken: tells who works on it, and what the log is to say.
 * `unput`: bytes that were counted as sent, and were not put on the wire. */
void conn_break_off(const struct conn *conn, struct exchange *ex, uint64_t unput);
/* At once; what is in the pipeline is told. */
void conn_close(struct conn *conn);
/* After the last answer: no more input is parsed; closes when the peer has had time to read. */
void conn_linger(struct conn *conn);
/* Has something arrived that was not read yet? */
bool conn_has_input(const struct conn *conn);
/* Is any of these true of the socket right now (poll's POLLOUT, POLLIN, POLLERR ...)? */
bool conn_can_move(const struct conn *conn, short how);
extern const struct http_fault conn_no_room; /* limits.memory */

/* ---- h1.c, h2.c ---- */
extern const struct protocol h1_protocol;
extern const struct protocol h2_protocol;

/* ---- conn_input.c ---- */
/* Bytes off the socket. 0; UV_EOF when the peer has ended TLS in order; another error. */
int conn_input(struct conn *conn, struct str bytes) __attribute__((warn_unused_result));

/* ---- turn.c ---- */
/* Takes what waits, sends what is ready, reads on if there is room. */
void turn_pump(struct conn *conn);
/* The turns of the loop begin; each handle is counted. */
void server_start_turns(struct server *server);
void server_start_clock(struct server *server); /* there is a connection, or will be */
