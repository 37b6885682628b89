/* Answers on their way out: in pipeline order, gathered, in pieces as the peer takes them. */
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>

#include "base/limits.h"
#include "server/conn.h"

enum {
    OUT_KEEP_MAX = 256 * 1024, /* the scratch buffer is not kept larger */
    UNSENT_BYTES = 4096        /* what an exchange takes beside its body */
};

static struct exchange *first_of(const struct list *list)
{
    return list_is_empty(list) ? NULL : container_of(list->next, struct exchange, in_conn);
}

/* Whose answer, or request, is the next to move. */
static struct exchange *front_of(const struct conn *conn)
{
    struct exchange *ex = first_of(&conn->sending);
    return ex != NULL ? ex : first_of(&conn->pipeline);
}

/* ---- one answer ---- */

/* Draining, the last of the requests that are here is the one that ends the connection. */
static bool is_last(const struct conn *conn)
{
    return conn->server->draining && conn->pipeline_len == 1 && conn->stash.len == 0 &&
           !conn_has_input(conn);
}

static bool keeps_alive(const struct conn *conn, const struct exchange *ex)
{
    bool until_close = ex->res.streamed && !ex->res.sized && ex->req.version_minor == 0;
    return ex->req.keep_alive && !ex->res.close && !until_close && !is_last(conn);
}

static void put_head(struct conn *conn, struct exchange *ex, struct buf *out)
{
    bool keep_alive = keeps_alive(conn, ex);
    ex->res.close = !keep_alive;
    ex->head_sent = true;
    response_write_head(&ex->res, &ex->req, keep_alive, out);
}

static void put_continue(struct conn *conn, const struct exchange *ex, struct buf *out)
{
    if (conn->reading != ex || !conn->continue_due)
        return;
    conn->continue_due = false;
    buf_add_str(out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

enum progress {
    WAITING, /* for whoever works on it */
    BLOCKED, /* there is more, but no room */
    WRITTEN  /* whole */
};

/* As much of the body as there is, and room for. */
static enum progress put_body(struct conn *conn, struct exchange *ex, struct buf *out)
{
    struct str rest = exchange_rest(ex);
    size_t count = rest.len;
    if (rest.len > CONN_COPY_MAX) {
        count = conn_send(conn, buf_str(out), rest, ex);
        buf_clear(out);
    } else {
        buf_add_str(out, rest);
    }
    if (!ex->res.streamed)
        ex->bytes_sent += count;
    exchange_put(ex, count);
    if (ex->res.streamed)
        server_hold(conn->server, ex, exchange_holds(ex));
    if (count < rest.len)
        return BLOCKED;
    return exchange_is_complete(ex) ? WRITTEN : WAITING;
}

/* The next piece of a file, as much as there is room for. One that has become shorter is broken
 * off, which the client sees by the end of the connection. */
static enum progress put_file(struct conn *conn, struct exchange *ex, struct buf *out)
{
    struct file_body *file = ex->res.file;
    size_t room =
        conn_is_full(conn, out) ? 0 : LIMIT_WRITE_HIGH_WATER - conn_unsent(conn) - out->len;
    size_t count = file->left < room ? (size_t)file->left : room;
    if (buf_reserve(out, count) != 0)
        return BLOCKED;
    if (file_body_read(file, out->data + out->len, count) != 0) {
        ex->error_code = "file_changed";
        ex->res.close = true;
        return WRITTEN;
    }
    out->len += count;
    ex->bytes_sent += count;
    return file->left > 0 ? BLOCKED : WRITTEN;
}

/* As much of the front's answer as there is. */
static enum progress put_answer(struct conn *conn, struct exchange *ex, struct buf *out)
{
    if (ex->state < EXCHANGE_STREAMING) {
        put_continue(conn, ex, out);
        return WAITING;
    }
    if (!ex->head_sent)
        put_head(conn, ex, out);
    ex->wire_end = CONN_NOT_HANDED;
    return exchange_sends_file(ex) ? put_file(conn, ex, out) : put_body(conn, ex, out);
}

/* ---- all answers ---- */

/* The streamer may go on once half of the mark is free. */
static void tell_drained(struct conn *conn)
{
    struct exchange *ex = conn->state == CONN_OPEN ? first_of(&conn->pipeline) : NULL;
    if (ex == NULL || ex->on_drained == NULL || !ex->head_sent ||
        exchange_rest(ex).len + conn_unsent(conn) >= LIMIT_STREAM_BYTES / 2)
        return;
    void (*on_drained)(struct exchange *) = ex->on_drained;
    ex->on_drained = NULL;
    on_drained(ex);
}

/* Sends what was put together; where it ends on the wire is now known. */
static void send_out(struct conn *conn, struct buf *out)
{
    conn_send(conn, buf_str(out), STR(""), NULL);
    conn->failed |= buf_failed(out);
    buf_clear(out);
    for (struct list *node = conn->sending.prev; node != &conn->sending; node = node->prev) {
        struct exchange *ex = container_of(node, struct exchange, in_conn);
        if (ex->wire_end != CONN_NOT_HANDED)
            break;
        ex->wire_end = conn->handed;
        if (conn_unsent(conn) > 0)
            server_hold(conn->server, ex, ex->res.body.len + UNSENT_BYTES);
    }
    struct exchange *front = first_of(&conn->pipeline);
    if (front != NULL && front->wire_end == CONN_NOT_HANDED)
        front->wire_end = conn->handed;
}

/* Moves answers from the pipeline to the wire or the buffer; true when the last one is among them,
 * after which nothing counts. */
static bool put_answers(struct conn *conn, struct buf *out)
{
    bool last = false;
    struct exchange *ex;
    while (!last && !conn->failed && (ex = first_of(&conn->pipeline)) != NULL) {
        /* A large answer goes by itself, so that each one's place on the wire is its own. */
        if (out->len > 0 && !list_is_empty(&conn->sending) && exchange_rest(ex).len > CONN_COPY_MAX)
            send_out(conn, out);
        conn->has_more = conn_is_full(conn, out);
        if (conn->has_more)
            break;
        enum progress progress = put_answer(conn, ex, out);
        conn->has_more = progress == BLOCKED;
        if (progress != WRITTEN)
            break;
        last = ex->res.close;
        if (!ex->res.streamed)
            conn->ready_bytes -= ex->res.body.len;
        list_remove(&ex->in_conn);
        conn->pipeline_len--;
        list_push(&conn->sending, &ex->in_conn);
    }
    return last;
}

void conn_settle(struct conn *conn)
{
    uint64_t taken = conn_taken(conn);
    struct exchange *ex;
    while ((ex = first_of(&conn->sending)) != NULL && ex->wire_end <= taken) {
        list_remove(&ex->in_conn);
        conn_finish(conn->server, ex);
    }
}

bool conn_is_full(const struct conn *conn, const struct buf *out)
{
    return conn_unsent(conn) + out->len >= LIMIT_WRITE_HIGH_WATER;
}

/* Is the front's answer, or a part of it, there to be put? */
static bool front_is_ready(const struct conn *conn)
{
    const struct exchange *ex = first_of(&conn->pipeline);
    if (ex == NULL)
        return false;
    if (ex->state < EXCHANGE_STREAMING)
        return conn->reading == ex && conn->continue_due;
    return !ex->head_sent || exchange_has_rest(ex) || exchange_is_complete(ex);
}

bool conn_is_stuck(const struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn_unsent(conn) > 0 || !list_is_empty(&conn->in_dirty))
        return false;
    return conn->h2 != NULL ? h2_has_output(conn->h2) : front_is_ready(conn);
}

/* While there is more the kernel sends full segments alone: each one that it sends wakes the
 * reader, which costs more than to copy its bytes. */
static void cork(struct conn *conn, bool on)
{
    uv_os_fd_t fd;
    int value = on;
    if (conn->corked == on || uv_fileno((const uv_handle_t *)&conn->tcp, &fd) != 0)
        return;
    conn->corked = on;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

static void put_out(struct conn *conn, bool *last)
{
    struct buf *out = &conn->server->out;
    conn->has_more = false;
    if (conn->h2 != NULL)
        h2_output(conn->h2, out);
    else
        *last = put_answers(conn, out);
    bool broken = buf_failed(out);
    if (conn->has_more)
        cork(conn, true);
    send_out(conn, out);
    if (!conn->has_more)
        cork(conn, false);
    if (out->cap > OUT_KEEP_MAX || broken)
        buf_free(out);
}

/* Has it sent its share, so that its turn comes later? */
static bool waits_for_turn(const struct conn *conn)
{
    return conn->has_more && !conn->server->in_bulk && !list_is_empty(&conn->in_dirty);
}

void conn_flush(struct conn *conn)
{
    bool last = false;
    if (waits_for_turn(conn))
        return;
    list_remove(&conn->in_dirty);
    if (conn->state != CONN_OPEN)
        return;
    put_out(conn, &last);
    conn_settle(conn);
    if (conn->h2 != NULL)
        h2_settle(conn->h2);
    if (last && !conn->failed)
        conn_linger(conn);
    if (conn->state != CONN_OPEN || conn->failed)
        return;
    conn_watch(conn);
    if (conn->h2 != NULL)
        h2_tell_drained(conn->h2);
    else
        tell_drained(conn);
}

/* ---- how the peer takes them ---- */

/* Who wakes the connection when there is more to send: the kernel, by conn_on_taken, when it took
 * less than it was given; we ourselves when it took all and the high-water mark alone had stopped
 * us; else the peer, by its window, or whoever works on the answer. What waits has a deadline,
 * whoever it waits for. */
void conn_watch(struct conn *conn)
{
    bool unsent = conn_unsent(conn) > 0;
    if (!unsent && conn->has_more)
        server_mark_bulk(conn);
    bool waits = unsent || conn->has_more || (conn->h2 != NULL && h2_is_blocked(conn->h2));
    bool watched = conn->write_deadline.kind != DEADLINE_NONE;
    if (waits == watched)
        return;
    conn->taken_seen = conn_taken(conn);
    deadline_set(conn->server, &conn->write_deadline, waits ? DEADLINE_WRITE : DEADLINE_NONE);
}

void conn_on_taken(struct conn *conn)
{
    struct server *server = conn->server;
    struct exchange *ex = front_of(conn);
    if (ex != NULL)
        server_moved(server, ex);
    conn_settle(conn);
    bool all = conn->has_more && conn_unsent(conn) == 0; /* and it waits for its turn */
    if (conn->state == CONN_OPEN && !all)
        conn_pump(conn);
    else
        conn_watch(conn);
}

size_t conn_least_taken(const struct server *server)
{
    return (size_t)(server->durations[DEADLINE_WRITE] * LIMIT_WRITE_RATE / 1000);
}

void conn_on_write_deadline(struct conn *conn)
{
    bool waits = conn_unsent(conn) > 0 || (conn->h2 == NULL && conn->has_more);
    if (waits && conn_taken(conn) - conn->taken_seen < conn_least_taken(conn->server)) {
        conn->server->stats.timeouts++;
        conn->why = "write_timeout";
        conn_close(conn);
        return;
    }
    if (conn->h2 != NULL)
        conn->server->stats.timeouts += h2_time_out_answers(conn->h2);
    if (conn->state == CONN_OPEN)
        conn_pump(conn);
    else
        conn_watch(conn);
}

/* Of what was put, the last bytes are those that were not taken. */
void conn_break_off(const struct conn *conn, struct exchange *ex)
{
    bool counted_before = ex->res.streamed && conn->h2 == NULL;
    uint64_t lost = counted_before ? exchange_rest(ex).len : 0, taken = conn_taken(conn);
    if (ex->wire_end == CONN_NOT_HANDED)
        lost = ex->bytes_sent;
    else if (ex->wire_end > taken)
        lost += ex->wire_end - taken;
    ex->bytes_sent -= lost < ex->bytes_sent ? lost : ex->bytes_sent;
    const char *before = ex->error_code;
    exchange_detach(ex);
    ex->error_code = before;
    if (before == NULL)
        ex->error_code = conn->why != NULL ? conn->why : "client_gone";
}

/* ---- the exchange's side ---- */

static void sink_answer(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    if (conn->reading == ex && ex->res.streamed)
        ex->req.keep_alive = false; /* how much of the body will be read is not known yet */
    else if (conn->reading == ex)
        conn_leave_body(conn, ex);
    response_mend(&ex->res, &ex->arena);
    if (!ex->res.streamed) {
        conn->ready_bytes += ex->res.body.len;
        if (ex->res.body.len > CONN_COPY_MAX)
            server_hold(conn->server, ex, ex->res.body.len);
    }
    server_mark_dirty(conn);
}

static bool is_chunked(const struct exchange *ex)
{
    return ex->req.version_minor > 0 && !ex->res.sized;
}

static size_t sink_stream_write(struct exchange *ex, struct str bytes)
{
    struct conn *conn = ex->conn;
    if (bytes.len > 0 && exchange_sends_body(ex)) {
        ex->bytes_sent += bytes.len;
        char size[24];
        int len = snprintf(size, sizeof(size), "%zx\r\n", bytes.len);
        if (is_chunked(ex))
            exchange_add(ex, (struct str){size, (size_t)len});
        exchange_add(ex, bytes);
        if (is_chunked(ex))
            buf_add_str(&ex->stream, STR("\r\n"));
        conn->failed |= buf_failed(&ex->stream);
        server_hold(conn->server, ex, exchange_holds(ex));
        server_mark_dirty(conn);
    }
    return exchange_rest(ex).len + conn_unsent(conn);
}

static void sink_stream_end(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    if (conn->reading == ex)
        conn_leave_body(conn, ex);
    if (is_chunked(ex) && exchange_sends_body(ex))
        buf_add_str(&ex->stream, STR("0\r\n\r\n"));
    conn->failed |= buf_failed(&ex->stream);
    server_mark_dirty(conn);
}

/* A chunked body that stops without its last chunk is seen to be cut, and one that is shorter than
 * it said; one that lasts until the end of the connection only when the connection breaks. */
static void sink_stream_abort(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    if (conn->reading == ex)
        conn_leave_body(conn, ex);
    ex->res.close = true;
    if (ex->req.version_minor == 0 && !ex->res.sized)
        conn->failed = conn->resets = true;
    server_mark_dirty(conn);
}

/* The front may be about to take more; who waits behind another has time. */
static bool is_moving(const struct conn *conn, const struct exchange *ex)
{
    const struct exchange *front = front_of(conn);
    return server_is_moving(conn->server, ex) ||
           (ex == front && conn_can_move(conn, ex == conn->reading ? POLLIN : POLLOUT));
}

static bool sink_give_up(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    if (is_moving(conn, ex))
        return false;
    if (conn->reading == ex && ex->body != NULL) {
        conn_give_up_body(conn, ex);
        server_mark_dirty(conn);
        return true;
    }
    conn->why = conn_no_room.code;
    conn_close(conn);
    return true;
}

const struct exchange_sink conn_sink = {
    .answer = sink_answer,
    .stream_write = sink_stream_write,
    .stream_end = sink_stream_end,
    .stream_abort = sink_stream_abort,
    .pull = conn_pull,
    .give_up = sink_give_up,
};
