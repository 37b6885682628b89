/* Bytes on their way to the kernel. What it does not take at once is queued: of a body only so much
 * that the kernel has something to ask for; the rest stays where it is. */
#include <stdlib.h>

#include "server/conn.h"

/* What the kernel did not take at once. */
struct pending {
    uv_write_t req;
    struct conn *conn;
    struct exchange *ex; /* reference: its body is borrowed; or NULL */
    char copy[];
};

static void on_write(uv_write_t *req, int status)
{
    struct pending *pending = req->data;
    struct conn *conn = pending->conn;
    if (pending->ex != NULL)
        exchange_release(pending->ex);
    free(pending);
    if (conn->state == CONN_CLOSED)
        return;
    conn->failed |= status != 0;
    conn->protocol->settle(conn);
    if (conn->has_more && conn_unsent(conn) == 0)
        server_mark_bulk(conn);
    else
        server_mark_dirty(conn);
}
/* `head` is copied, `body` too when it is small or may move. */
static bool queue(struct conn *conn, struct str head, struct str body, struct exchange *ex)
{
    bool borrow = ex != NULL && !ex->res.streamed && body.len > CONN_COPY_MAX;
    size_t copied = head.len + (borrow ? 0 : body.len);
    struct pending *pending = malloc(sizeof(*pending) + copied);
    if (pending == NULL)
        return false;
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
        return false;
    }
    if (borrow)
        exchange_hold(ex);
    conn->handed += head.len + body.len;
    return true;
}

/* How much does the kernel take now? */
static size_t try_write(struct conn *conn, struct str head, struct str body)
{
    if (conn_unsent(conn) > 0)
        return 0;
    uv_buf_t bufs[2] = {uv_buf_init((char *)(uintptr_t)head.ptr, (unsigned)head.len),
                        uv_buf_init((char *)(uintptr_t)body.ptr, (unsigned)body.len)};
    int count = uv_try_write((uv_stream_t *)&conn->tcp, bufs, body.len > 0 ? 2 : 1);
    conn->failed |= count < 0 && count != UV_EAGAIN;
    size_t sent = count > 0 ? (size_t)count : 0;
    conn->handed += sent;
    return sent;
}

static size_t send_raw(struct conn *conn, struct str head, struct str body, struct exchange *ex)
{
    if (head.len + body.len == 0 || conn->failed)
        return 0;
    size_t sent = try_write(conn, head, body);
    if (conn->failed || sent == head.len + body.len)
        return body.len;
    size_t of_head = sent < head.len ? sent : head.len, of_body = sent - of_head;
    head = str_skip(head, of_head);
    body = str_skip(body, of_body);
    if (body.len > LIMIT_WRITE_HIGH_WATER)
        body.len = LIMIT_WRITE_HIGH_WATER;
    conn->failed |= !queue(conn, head, body, ex);
    return of_body + body.len;
}

/* Encrypts both; *head is then all that is to be sent, until tls_sent. */
static bool seal(struct tls_session *tls, struct str *head, struct str *body)
{
    if (tls_write(tls, *head) != 0 || tls_write(tls, *body) != 0)
        return false;
    *head = tls_outgoing(tls);
    *body = STR("");
    return true;
}

size_t conn_send(struct conn *conn, struct str head, struct str body, struct exchange *ex)
{
    if (conn->tls == NULL)
        return send_raw(conn, head, body, ex);
    if (body.len > LIMIT_WRITE_HIGH_WATER)
        body.len = LIMIT_WRITE_HIGH_WATER;
    size_t accepted = body.len;
    conn->failed |= !seal(conn->tls, &head, &body);
    send_raw(conn, head, body, NULL);
    tls_sent(conn->tls);
    return accepted;
}

void conn_send_out(struct conn *conn, struct buf *out, bool last)
{
    struct str bytes = buf_str(out);
    conn->failed |= buf_failed(out);
    if (last && conn->tls != NULL && !conn->failed && !conn->resets) {
        conn->failed |= tls_write(conn->tls, bytes) != 0;
        tls_close(conn->tls);
        bytes = STR("");
    }
    conn_send(conn, bytes, STR(""), NULL);
    buf_clear(out);
}
