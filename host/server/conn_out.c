/* Answers on their way out: in pipeline order, gathered, with backpressure. */
#include "server/conn.h"

#include <stdlib.h>

#include "base/limits.h"

enum {
    COPY_MAX = 16 * 1024, /* bodies up to this are copied behind their head; larger are borrowed */
    OUT_KEEP_MAX = 256 * 1024 /* the scratch buffer is not kept larger */
};

/* What the kernel did not take at once. */
struct pending {
    uv_write_t req;
    struct conn *conn;
    struct exchange *ex; /* whose body is borrowed; finished afterwards; or NULL */
    char copy[];
};

size_t conn_unsent(const struct conn *conn)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
}

uint64_t conn_taken(const struct conn *conn)
{
    return conn->handed - conn_unsent(conn);
}

static void watch_taking(struct conn *conn, enum deadline_kind kind)
{
    conn->taken_seen = conn_taken(conn);
    deadline_set(conn->server, &conn->write_deadline, kind);
}

static void on_write(uv_write_t *req, int status)
{
    struct pending *pending = req->data;
    struct conn *conn = pending->conn;
    if (pending->ex != NULL)
        conn_finish(conn->server, pending->ex);
    free(pending);
    if (conn->state == CONN_CLOSED)
        return;
    if (status != 0) {
        conn_close(conn);
        return;
    }
    watch_taking(conn, conn_unsent(conn) > 0 ? DEADLINE_WRITE : DEADLINE_NONE);
    if (conn->state == CONN_OPEN)
        conn_pump(conn);
}

/* Queues the rest: `head` is copied, `body` too when it is small or nobody's. Returns true when the
 * exchange was taken over. */
static bool queue(struct conn *conn, struct str head, struct str body, struct exchange *ex)
{
    bool borrow = ex != NULL && body.len > COPY_MAX;
    size_t copied = head.len + (borrow ? 0 : body.len);
    struct pending *pending = malloc(sizeof(*pending) + copied);
    if (pending == NULL) {
        conn->failed = true;
        return false;
    }
    if (head.len > 0)
        memcpy(pending->copy, head.ptr, head.len);
    if (!borrow && body.len > 0)
        memcpy(pending->copy + head.len, body.ptr, body.len);
    pending->conn = conn;
    pending->ex = borrow ? ex : NULL;
    pending->req.data = pending;
    uv_buf_t bufs[2] = {uv_buf_init(pending->copy, (unsigned)copied),
                        uv_buf_init((char *)(uintptr_t)body.ptr, (unsigned)body.len)};
    unsigned first = copied > 0 ? 0 : 1;
    unsigned count = (borrow ? 2 : 1) - first;
    if (uv_write(&pending->req, (uv_stream_t *)&conn->tcp, bufs + first, count, on_write) != 0) {
        free(pending);
        conn->failed = true;
        return false;
    }
    conn->handed += copied + (borrow ? body.len : 0);
    if (conn->write_deadline.kind == DEADLINE_NONE)
        watch_taking(conn, DEADLINE_WRITE);
    return borrow;
}

static bool send_raw(struct conn *conn, struct str head, struct str body, struct exchange *ex)
{
    size_t total = head.len + body.len;
    if (total == 0 || conn->failed)
        return false;
    size_t sent = 0;
    if (conn_unsent(conn) == 0) {
        uv_buf_t bufs[2] = {uv_buf_init((char *)(uintptr_t)head.ptr, (unsigned)head.len),
                            uv_buf_init((char *)(uintptr_t)body.ptr, (unsigned)body.len)};
        int count = uv_try_write((uv_stream_t *)&conn->tcp, bufs, body.len > 0 ? 2 : 1);
        if (count < 0 && count != UV_EAGAIN) {
            conn->failed = true;
            return false;
        }
        sent = count > 0 ? (size_t)count : 0;
        conn->handed += sent;
    }
    if (sent == total)
        return false;
    size_t of_head = sent < head.len ? sent : head.len;
    return queue(conn, str_skip(head, of_head), str_skip(body, sent - of_head), ex);
}

bool conn_send(struct conn *conn, struct str head, struct str body, struct exchange *ex)
{
    if (conn->tls == NULL)
        return send_raw(conn, head, body, ex);
    conn->failed |= !conn_tls_seal(conn, &head, &body);
    send_raw(conn, head, body, NULL);
    tls_sent(conn->tls);
    return false;
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
    response_mend(&ex->res, &ex->arena);
    bool keep_alive = keeps_alive(conn, ex);
    ex->res.close = !keep_alive;
    ex->head_sent = true;
    response_write_head(&ex->res, &ex->req, keep_alive, out);
}

/* Appends or sends a buffered body. True when the exchange was taken over. */
static bool put_body(struct conn *conn, struct exchange *ex, struct buf *out)
{
    struct str body = ex->res.body;
    conn->ready_bytes -= body.len < conn->ready_bytes ? body.len : conn->ready_bytes;
    if (!exchange_sends_body(ex))
        return false;
    ex->bytes_sent = body.len;
    if (body.len <= COPY_MAX) {
        buf_add_str(out, body);
        return false;
    }
    bool taken = conn_send(conn, buf_str(out), body, ex);
    buf_clear(out);
    return taken;
}

/* Appends the next piece of a file, as much as there is room for. True when it was the last one: of
 * a file that has become shorter, too, which the client sees by the end of the connection. */
static bool put_piece(struct conn *conn, struct exchange *ex, struct buf *out)
{
    struct file_body *file = ex->res.file;
    size_t room =
        conn_is_full(conn, out) ? 0 : LIMIT_WRITE_HIGH_WATER - conn_unsent(conn) - out->len;
    size_t count = file->left < room ? (size_t)file->left : room;
    if (buf_reserve(out, count) != 0)
        return false;
    if (file_body_read(file, out->data + out->len, count) != 0) {
        ex->error_code = "file_changed";
        ex->res.close = true;
        return true;
    }
    out->len += count;
    ex->bytes_sent += count;
    conn->has_more = file->left > 0;
    return file->left == 0;
}

static void put_continue(struct conn *conn, const struct exchange *ex, struct buf *out)
{
    if (conn->reading != ex || !conn->continue_due)
        return;
    conn->continue_due = false;
    buf_add_str(out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

enum progress { WAITING, WRITTEN, TAKEN };

/* As much of the front's answer as there is. */
static enum progress put_answer(struct conn *conn, struct exchange *ex, struct buf *out)
{
    if (ex->state < EXCHANGE_STREAMING) {
        put_continue(conn, ex, out);
        return WAITING;
    }
    if (!ex->head_sent)
        put_head(conn, ex, out);
    if (exchange_sends_file(ex))
        return put_piece(conn, ex, out) ? WRITTEN : WAITING;
    if (!ex->res.streamed)
        return put_body(conn, ex, out) ? TAKEN : WRITTEN;
    buf_add_str(out, buf_str(&ex->stream));
    buf_clear(&ex->stream);
    return exchange_is_complete(ex) ? WRITTEN : WAITING;
}

/* ---- all answers ---- */

/* The streamer may go on once half of the mark is free. */
static void tell_drained(struct conn *conn)
{
    if (conn->state != CONN_OPEN || list_is_empty(&conn->pipeline))
        return;
    struct exchange *ex = container_of(conn->pipeline.next, struct exchange, in_conn);
    void (*on_drained)(struct exchange *) = ex->on_drained;
    size_t waiting = ex->stream.len + conn_unsent(conn);
    if (on_drained == NULL || !ex->head_sent || waiting >= LIMIT_STREAM_BYTES / 2)
        return;
    ex->on_drained = NULL;
    on_drained(ex);
}

static void finish_all(struct server *server, struct list *sent)
{
    while (!list_is_empty(sent)) {
        struct exchange *ex = container_of(sent->next, struct exchange, in_conn);
        list_remove(&ex->in_conn);
        conn_finish(server, ex);
    }
}

/* Moves answers from the pipeline to the wire or the buffer; true when the last one is among them,
 * after which nothing counts. */
static bool put_answers(struct conn *conn, struct buf *out, struct list *sent)
{
    bool last = false;
    conn->has_more = false;
    while (!last && !conn->failed && !list_is_empty(&conn->pipeline)) {
        if (conn_is_full(conn, out)) {
            conn->has_more = true;
            break;
        }
        struct exchange *ex = container_of(conn->pipeline.next, struct exchange, in_conn);
        enum progress progress = put_answer(conn, ex, out);
        if (progress == WAITING)
            break;
        last = ex->res.close;
        list_remove(&ex->in_conn);
        conn->pipeline_len--;
        if (progress == WRITTEN)
            list_push(sent, &ex->in_conn);
    }
    return last;
}

/* Who wakes the connection when there is more to send: the kernel, by on_write, when it took less
 * than it was given; we ourselves when it took all and the high-water mark alone had stopped us;
 * else the peer, by its window, or whoever works on the answer. What waits has a deadline, whoever
 * it waits for. */
static void see_to_the_rest(struct conn *conn)
{
    if (conn_unsent(conn) > 0)
        return;
    if (conn->has_more)
        server_mark_dirty(conn);
    bool waits = conn->has_more || (conn->h2 != NULL && h2_is_blocked(conn->h2));
    bool moved = conn->h2 != NULL ? h2_has_moved(conn->h2) : conn_taken(conn) != conn->taken_seen;
    bool has_deadline = conn->write_deadline.kind != DEADLINE_NONE;
    if (waits && (!has_deadline || moved))
        watch_taking(conn, DEADLINE_WRITE);
    else if (!waits && has_deadline)
        watch_taking(conn, DEADLINE_NONE);
}

bool conn_is_full(const struct conn *conn, const struct buf *out)
{
    return conn_unsent(conn) + out->len >= LIMIT_WRITE_HIGH_WATER;
}

/* Is the front's answer, or a part of it, there to be put? */
static bool front_is_ready(const struct conn *conn)
{
    if (list_is_empty(&conn->pipeline))
        return false;
    const struct exchange *ex = container_of(conn->pipeline.next, struct exchange, in_conn);
    if (ex->state < EXCHANGE_STREAMING)
        return conn->reading == ex && conn->continue_due;
    return !ex->head_sent || ex->stream.len > 0 || exchange_is_complete(ex);
}

bool conn_is_stuck(const struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn_unsent(conn) > 0 || !list_is_empty(&conn->in_dirty))
        return false;
    return conn->h2 != NULL ? h2_has_output(conn->h2) : front_is_ready(conn);
}

void conn_flush(struct conn *conn)
{
    list_remove(&conn->in_dirty);
    if (conn->state != CONN_OPEN)
        return;
    struct buf *out = &conn->server->out;
    struct list sent;
    list_init(&sent);
    bool last = false;
    if (conn->h2 != NULL)
        h2_output(conn->h2, out);
    else
        last = put_answers(conn, out, &sent);
    conn_send(conn, buf_str(out), STR(""), NULL);
    conn->failed |= buf_failed(out);
    if (out->cap > OUT_KEEP_MAX || buf_failed(out))
        buf_free(out);
    buf_clear(out);
    finish_all(conn->server, &sent);
    if (conn->state == CONN_OPEN && last && !conn->failed)
        conn_linger(conn);
    if (conn->state != CONN_OPEN || conn->failed)
        return;
    see_to_the_rest(conn);
    if (conn->h2 != NULL)
        h2_tell_drained(conn->h2);
    else
        tell_drained(conn);
}

/* ---- the exchange's side ---- */

static void sink_answer(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    if (conn->reading == ex && ex->res.streamed)
        ex->req.keep_alive = false; /* how much of the body will be read is not known yet */
    else if (conn->reading == ex)
        conn_leave_body(conn, ex);
    if (!ex->res.streamed)
        conn->ready_bytes += ex->res.body.len;
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
        if (is_chunked(ex))
            buf_printf(&ex->stream, "%zx\r\n", bytes.len);
        buf_add_str(&ex->stream, bytes);
        if (is_chunked(ex))
            buf_add_str(&ex->stream, STR("\r\n"));
        conn->failed |= buf_failed(&ex->stream);
        server_mark_dirty(conn);
    }
    return ex->stream.len + conn_unsent(conn);
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

const struct exchange_sink conn_sink = {
    .answer = sink_answer,
    .stream_write = sink_stream_write,
    .stream_end = sink_stream_end,
    .stream_abort = sink_stream_abort,
    .pull = conn_pull,
};
