/* HTTP/2: the life of a stream. */
#include <stdlib.h>

#include "server/h2_internal.h"

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id, const struct exchange_sink *sink)
{
    struct h2_stream *s = calloc(1, sizeof(*s));
    struct exchange *ex = s != NULL ? exchange_new(sink, s) : NULL;
    if (ex == NULL) {
        free(s);
        return NULL;
    }
    s->h2 = h2;
    s->ex = ex;
    s->id = id;
    s->reading = true;
    ex->admin = h2->conn->admin;
    list_init(&s->ready);
    list_push(&h2->streams, &s->node);
    h2->requests++;
    return s;
}

void h2_hold(struct h2_stream *s, size_t bytes)
{
    s->h2->held += bytes - s->ex->holding.bytes;
    server_hold(s->h2->conn->server, s->ex, bytes);
}

/* The end: a request that nobody has seen goes silently. */
static void stream_end(struct h2_stream *s)
{
    struct exchange *ex = s->ex;
    struct conn *conn = s->h2->conn;
    bool whole = s->ended && ex->wire_end <= conn_taken(conn);
    h2_hold(s, 0);
    list_remove(&s->node);
    list_remove(&s->ready);
    buf_free(&s->head);
    buf_free(&s->cookie);
    free(s);
    if (ex->started_ns == 0) {
        exchange_release(ex);
        return;
    }
    if (!whole)
        conn_break_off(conn, ex, 0);
    conn_finish(conn->server, ex);
}

void h2_end_closed(struct h2 *h2)
{
    uint64_t taken = conn_taken(h2->conn);
    list_each(node, &h2->closed)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (!s->ended || s->ex->wire_end <= taken)
            stream_end(s);
    }
}

void h2_break_off(struct h2_stream *s, const char *why, uint32_t code)
{
    nghttp2_session *session = s->h2->session;
    if (s->ex->error_code == NULL)
        s->ex->error_code = why;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, code);
    nghttp2_session_set_stream_user_data(session, s->id, NULL);
    stream_end(s);
}

void h2_make_ready(struct h2_stream *s)
{
    if (list_is_empty(&s->ready))
        list_push(&s->h2->ready, &s->ready);
}

void h2_abandon(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    h2_end_closed(h2);
    while (!list_is_empty(&h2->closed))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        stream_end(container_of(h2->closed.next, struct h2_stream, node));
    while (!list_is_empty(&h2->streams)) {
        struct h2_stream *s = container_of(h2->streams.next, struct h2_stream, node);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        nghttp2_session_set_stream_user_data(h2->session, s->id, NULL);
        stream_end(s);
    }
}

bool h2_is_idle(const struct h2 *h2)
{
    return list_is_empty(&h2->streams) && list_is_empty(&h2->closed);
}
