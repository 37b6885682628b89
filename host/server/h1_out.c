/* HTTP/1: answers on their way out, in pipeline order, in pieces as the peer takes them. */
#include "server/h1.h"

enum { UNSENT_BYTES = 4096 /* what an exchange takes beside its body */ };

static struct exchange *first_of(const struct list *list)
{
    return list_is_empty(list) ? NULL : container_of(list->next, struct exchange, in_conn);
}

struct exchange *h1_front(const struct h1 *h1)
{
    struct exchange *ex = first_of(&h1->sending);
    return ex != NULL ? ex : first_of(&h1->pipeline);
}

/* ---- one answer ---- */

/* Draining, the last of the requests that are here is the one that ends the connection. */
static bool is_last(const struct h1 *h1)
{
    return h1->conn->server->draining && h1->pipeline_len == 1 && h1->stash.len == 0 &&
           !conn_has_input(h1->conn);
}

static bool keeps_alive(const struct h1 *h1, const struct exchange *ex)
{
    bool until_close = ex->res.streamed && !ex->res.sized && ex->req.version_minor == 0;
    return ex->req.keep_alive && !ex->res.close && !until_close && !is_last(h1);
}

static void put_head(const struct h1 *h1, struct exchange *ex, struct buf *out)
{
    bool keep_alive = keeps_alive(h1, ex);
    ex->res.close = !keep_alive;
    ex->head_sent = true;
    response_write_head(&ex->res, &ex->req, keep_alive, out);
}

static void put_continue(struct h1 *h1, const struct exchange *ex, struct buf *out)
{
    if (h1->reading != ex || !h1->continue_due)
        return;
    h1->continue_due = false;
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
static enum progress put_answer(struct h1 *h1, struct exchange *ex, struct buf *out)
{
    if (ex->state < EXCHANGE_STREAMING) {
        put_continue(h1, ex, out);
        return WAITING;
    }
    if (!ex->head_sent)
        put_head(h1, ex, out);
    ex->wire_end = CONN_NOT_HANDED;
    return exchange_sends_file(ex) ? put_file(h1->conn, ex, out) : put_body(h1->conn, ex, out);
}

/* ---- all answers ---- */

/* What was put together is handed on; where it ends on the wire is now known. */
static void mark_handed(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    for (struct list *node = h1->sending.prev; node != &h1->sending; node = node->prev) {
        struct exchange *ex = container_of(node, struct exchange, in_conn);
        if (ex->wire_end != CONN_NOT_HANDED)
            break;
        ex->wire_end = conn->handed;
        if (conn_unsent(conn) > 0)
            server_hold(conn->server, ex, ex->res.body.len + UNSENT_BYTES);
    }
    struct exchange *front = first_of(&h1->pipeline);
    if (front != NULL && front->wire_end == CONN_NOT_HANDED)
        front->wire_end = conn->handed;
}

bool h1_output(struct conn *conn, struct buf *out)
{
    struct h1 *h1 = conn->own;
    bool last = false;
    struct exchange *ex;
    while (!last && !conn->failed && (ex = first_of(&h1->pipeline)) != NULL) {
        /* A large answer goes by itself, so that each one's place on the wire is its own. */
        if (out->len > 0 && !list_is_empty(&h1->sending) && exchange_rest(ex).len > CONN_COPY_MAX) {
            conn_send_out(conn, out, false);
            mark_handed(h1);
        }
        conn->has_more = conn_is_full(conn, out);
        if (conn->has_more)
            break;
        enum progress progress = put_answer(h1, ex, out);
        conn->has_more = progress == BLOCKED;
        if (progress != WRITTEN)
            break;
        last = ex->res.close;
        if (!ex->res.streamed)
            h1->ready_bytes -= ex->res.body.len;
        list_remove(&ex->in_conn);
        h1->pipeline_len--;
        list_push(&h1->sending, &ex->in_conn);
    }
    return last;
}

/* The streamer may go on once half of the mark is free. */
static void tell_drained(const struct h1 *h1)
{
    const struct conn *conn = h1->conn;
    struct exchange *ex = conn->state == CONN_OPEN ? first_of(&h1->pipeline) : NULL;
    if (ex == NULL || ex->on_drained == NULL || !ex->head_sent ||
        exchange_rest(ex).len + conn_unsent(conn) >= LIMIT_STREAM_BYTES / 2)
        return;
    void (*on_drained)(struct exchange *) = ex->on_drained;
    ex->on_drained = NULL;
    on_drained(ex);
}

void h1_settle(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    size_t unsent = conn_unsent(conn);
    uint64_t taken = conn_taken(conn);
    struct exchange *ex = unsent < h1->unsent ? h1_front(h1) : NULL;
    h1->unsent = unsent;
    if (ex != NULL)
        server_moved(conn->server, ex);
    mark_handed(h1);
    while ((ex = first_of(&h1->sending)) != NULL && ex->wire_end <= taken) {
        list_remove(&ex->in_conn);
        conn_finish(conn->server, ex);
    }
    tell_drained(h1);
}

/* Is the front's answer, or a part of it, there to be put? */
bool h1_has_output(const struct conn *conn)
{
    const struct h1 *h1 = conn->own;
    const struct exchange *ex = first_of(&h1->pipeline);
    if (ex == NULL)
        return false;
    if (ex->state < EXCHANGE_STREAMING)
        return h1->reading == ex && h1->continue_due;
    return !ex->head_sent || exchange_has_rest(ex) || exchange_is_complete(ex);
}
