/* HTTP/2: from frames to exchanges. */
#include <stdlib.h>

#include "server/h2_internal.h"

enum {
    BROKEN_MAX = 100,
    /* Of an answer, as nghttp2 reckons it: what handlers and rules may add, and the framing. */
    HEADER_BLOCK_MAX = 4 * LIMIT_RESPONSE_HEADER_BYTES
};

/* ---- requests ---- */

/* What the parser thinks of the head. Fields alone tell it whether a body follows. */
static const struct http_fault *parse_head(struct h2_stream *s, struct str head)
{
    struct exchange *ex = s->ex;
    struct parser parser;
    const struct http_fault *fault = NULL;
    parser_init(&parser, &s->h2->conn->server->parser_limits);
    switch (parser_feed(&parser, &head, &ex->arena, &ex->req)) {
    case PARSER_HEAD:
        ex->body = body_new(&ex->arena, parser_body_length(&parser));
        ex->req.headers.len -= s->unsized; /* the last one is ours: see take_head */
        fault = ex->body == NULL ? &fault_no_memory : NULL;
        break;
    case PARSER_DONE:
        s->reading = s->tunnel; /* what comes then is read when it is answered */
        ex->req.upgrade = ex->req.tunnel = s->tunnel;
        break;
    default: /* the head is whole, so there is never MORE to come */
        fault = parser.fault;
        s->h2->conn->server->stats.parse_errors++;
        break;
    }
    parser_free(&parser);
    return fault;
}

static int take_head(struct h2_stream *s)
{
    struct buf head = BUF_INIT;
    struct request *req = &s->ex->req;
    if (s->tunnel) { /* for everybody else it is what it would be over HTTP/1.1 */
        req->method_name = STR("GET");
        s->unsized = false;
    }
    buf_printf(&head, "%.*s %.*s HTTP/1.1\r\n", STR_ARG(req->method_name), STR_ARG(req->target));
    if (s->authority.len > 0)
        buf_printf(&head, "host: %.*s\r\n", STR_ARG(s->authority));
    buf_add_str(&head, buf_str(&s->head));
    if (s->cookie.len > 0)
        buf_printf(&head, "cookie: %.*s\r\n", STR_ARG(buf_str(&s->cookie)));
    buf_add_str(&head, s->unsized ? STR("transfer-encoding: chunked\r\n\r\n") : STR("\r\n"));
    bool failed = buf_failed(&head) || buf_failed(&s->head) || buf_failed(&s->cookie);
    *req = (struct request){0};
    if (!failed) {
        if (s->fault == NULL)
            s->fault = parse_head(s, buf_str(&head));
        h2_make_ready(s);
    }
    buf_free(&head);
    buf_free(&s->head);
    buf_free(&s->cookie);
    return failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* Does anybody take what comes? */
static bool takes_body(const struct h2_stream *s)
{
    return s->reading && s->fault == NULL && s->ex->body != NULL && !exchange_is_complete(s->ex);
}

static bool waits_for_body(const struct h2_stream *s)
{
    return takes_body(s) && s->ex->on_body != NULL && !s->ex->res.upgraded;
}

static void end_body(struct h2_stream *s)
{
    if (takes_body(s)) {
        s->ex->body->complete = true;
        h2_hold(s, 0);
        h2_make_ready(s);
    }
    s->reading = false;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST &&
        take_head(s) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        end_body(s);
    return 0;
}

/* The peer may send as much again as is not kept here for somebody who has not asked yet, or for
 * want of room. */
static void give_window(struct h2_stream *s)
{
    const struct body *body = s->ex->body;
    bool whole = body != NULL && body->mode == BODY_WHOLE && body->fault == NULL;
    if (whole && !server_may_read_on(s->h2->conn, s->ex))
        return;
    size_t kept = body != NULL && !whole ? body->buf.len - body->used : 0;
    if (s->kept > kept && !s->ended)
        nghttp2_session_consume_stream(s->h2->session, s->id, s->kept - kept);
    s->kept = kept;
}

static void give_windows(struct h2 *h2)
{
    list_each(node, &h2->streams)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (s->kept > 0)
            give_window(s);
    }
}

/* The connection's window is given at once: those who let a stream wait must not hold up others. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg)
{
    (void)flags;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    nghttp2_session_consume_connection(session, len);
    if (s == NULL)
        return 0; /* he has his answer, and gets no more window: what is under way is thrown away */
    if (!takes_body(s)) {
        if (!exchange_is_complete(s->ex))
            nghttp2_session_consume_stream(session, id, len);
        return 0;
    }
    body_push(s->ex->body, (struct str){(const char *)data, len}, server_now(s->h2->conn->server));
    s->kept += len;
    h2_hold(s, s->ex->body->buf.cap);
    server_moved(s->h2->conn->server, s->ex);
    give_window(s);
    h2_make_ready(s);
    return 0;
}

static void sink_pull(struct exchange *ex)
{
    struct h2_stream *s = ex->conn;
    struct h2 *h2 = s->h2;
    if (body_has_room(ex->body))
        body_listen(ex->body, server_now(h2->conn->server));
    if (ex->req.expects_continue && ex->body->received == 0 && !ex->head_sent) {
        ex->req.expects_continue = false;
        nghttp2_submit_headers(h2->session, NGHTTP2_FLAG_NONE, s->id, NULL,
                               &(nghttp2_nv){(uint8_t *)(uintptr_t) ":status",
                                             (uint8_t *)(uintptr_t) "100", 7, 3,
                                             NGHTTP2_NV_FLAG_NONE},
                               1, NULL);
    }
    if (ex->body->mode == BODY_WHOLE)
        nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, s->id,
                                              LIMIT_H2_WINDOW_WHOLE);
    give_window(s);
    server_mark_dirty(h2->conn);
}

/* ---- the exchange's side ---- */

static void sink_stream_abort(struct exchange *ex)
{
    ((struct h2_stream *)ex->conn)->cut = true;
    h2_stream_more(ex);
}

/* A peer gives windows by what it sends. Where the stream's is open, and the peer takes something
 * of the others, it is their turn. */
static bool is_moving(const struct h2_stream *s)
{
    struct server *server = s->h2->conn->server;
    return server_is_moving(server, s->ex->holding.moved_at) ||
           (server_is_moving(server, s->h2->moved_at) &&
            nghttp2_session_get_stream_remote_window_size(s->h2->session, s->id) > 0);
}

static bool sink_give_up(struct exchange *ex)
{
    struct h2_stream *s = ex->conn;
    struct conn *conn = s->h2->conn;
    if (is_moving(s))
        return false;
    if (s->reading && !s->submitted && ex->body != NULL) {
        h2_hold(s, 0);
        body_free(ex->body);
        ex->body->fault = &conn_no_room;
        h2_make_ready(s);
    } else {
        h2_break_off(s, conn_no_room.code, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    server_mark_dirty(conn);
    return true;
}

static const struct exchange_sink sink = {
    .answer = h2_answer,
    .stream_write = h2_stream_write,
    .stream_end = h2_stream_more,
    .stream_abort = sink_stream_abort,
    .pull = sink_pull,
    .give_up = sink_give_up,
};

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *s = h2_stream_new(arg, frame->hd.stream_id, &sink);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->unsized = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0;
    return nghttp2_session_set_stream_user_data(session, s->id, s);
}

/* ---- ends ---- */

static void leave_session(struct h2_stream *s)
{
    struct h2 *h2 = s->h2;
    nghttp2_session_set_stream_user_data(h2->session, s->id, NULL);
    list_remove(&s->node);
    list_remove(&s->ready);
    list_push(&h2->closed, &s->node);
}

/* One whose answer was out before: the peer has ended it by itself. */
static void forget_late(struct h2 *h2, int32_t id)
{
    for (unsigned i = 0; i < h2->late_count; i++) {
        if (h2->late[i].id == id) {
            h2->late[i] = h2->late[--h2->late_count];
            return;
        }
    }
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct h2 *h2 = arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)error;
    forget_late(h2, id);
    if (s == NULL)
        return 0;
    h2->broken += !s->ended && !s->cut;
    leave_session(s);
    return 0;
}

/* A frame for which nghttp2 resets its stream, with the next output: a peer breaks off its requests
 * by them as well as by RST_STREAM (CVE-2025-8671), so it is counted at once, and who has not seen
 * the request does not begin. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *arg)
{
    struct h2 *h2 = arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)error;
    if (s == NULL || s->cut)
        return 0;
    s->cut = true;
    h2->broken++;
    if (!s->passed_up)
        list_remove(&s->ready);
    return 0;
}

static void end_request(struct h2 *h2, unsigned index)
{
    nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, h2->late[index].id, NGHTTP2_NO_ERROR);
    h2->late[index] = h2->late[--h2->late_count];
}

/* An answer that came before the end of its request ends the request as well (RFC 9113 8.1), but
 * not at once: there are clients that see the end before the answer, and lose it. Most end the
 * request by themselves; without more window they cannot send on. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    bool end = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
               (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct h2_stream *s =
        end ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
    if (s == NULL)
        return 0;
    s->ended = true;
    if (!s->reading)
        return 0;
    if (h2->late_count == H2_LATE)
        end_request(h2, 0);
    h2->late[h2->late_count++] = (struct h2_late){.id = s->id, .at = server_now(h2->conn->server)};
    leave_session(s);
    return 0;
}

static void look(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    for (unsigned i = h2->late_count; i-- > 0;) {
        if (server_now(conn->server) - h2->late[i].at < conn->server->durations[DEADLINE_LINGER])
            continue;
        end_request(h2, i);
        server_mark_dirty(conn);
    }
}

/* ---- the handlers' turn ---- */

static void pass_up(struct h2_stream *s)
{
    struct exchange *ex = s->ex;
    if (s->passed_up) {
        exchange_tell_body(ex);
        return;
    }
    s->passed_up = true;
    if (s->fault != NULL)
        conn_refuse(s->h2->conn, ex, s->fault);
    else
        conn_pass_up(s->h2->conn, ex);
}

/* A peer that makes us begin and drop work over and over (CVE-2023-44487 and its kin), or look at
 * frames that lead nowhere (CVE-2019-9512, 9515, 9518). */
static bool is_abusive(const struct h2 *h2)
{
    bool breaks_off = h2->broken > BROKEN_MAX && h2->broken > h2->requests / 2;
    return breaks_off || h2_frames_are_idle_talk(&h2->frames);
}

static bool receive(struct h2 *h2, struct str bytes)
{
    return bytes.len == 0 ||
           nghttp2_session_mem_recv(h2->session, (const uint8_t *)bytes.ptr, bytes.len) >= 0;
}

static bool take_frames(struct h2 *h2, struct str bytes)
{
    uint64_t now_ms = server_now(h2->conn->server);
    return receive(h2, h2_frames_complete(&h2->frames, &bytes, now_ms)) &&
           receive(h2, h2_frames_take(&h2->frames, &bytes, now_ms));
}

/* Answers that wait are this connection's own, then everybody's. News need no room, nor refusals.
 */
static struct h2_stream *first_ready(const struct h2 *h2)
{
    list_each(node, &h2->ready)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, ready);
        if (s->passed_up || s->fault != NULL ||
            (h2->held < LIMIT_H2_READY && server_has_room(h2->conn)))
            return s;
    }
    return NULL;
}

static void take_ready(struct h2 *h2)
{
    struct h2_stream *s;
    give_windows(h2);
    while (h2->conn->state == CONN_OPEN && (s = first_ready(h2)) != NULL) {
        list_remove(&s->ready);
        pass_up(s);
    }
}

/* ---- the connection's turn ---- */

static void input(struct conn *conn, struct str bytes)
{
    struct h2 *h2 = conn->own;
    bool understood = take_frames(h2, bytes);
    take_ready(h2);
    if (conn->state != CONN_OPEN)
        return;
    h2_end_closed(h2);
    if (is_abusive(h2))
        nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
    else if (!understood)
        nghttp2_session_terminate_session(h2->session, NGHTTP2_PROTOCOL_ERROR);
}

/* Draining, the peer is told to begin no more streams (RFC 9113 6.8); what it begins before it has
 * read that is answered. */
static void take(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    if (conn->peer_eof) {
        conn_close(conn);
        return;
    }
    take_ready(h2);
    if (conn->server->draining && !h2->draining) {
        h2->draining = true;
        nghttp2_submit_shutdown_notice(h2->session);
    }
}

/* It has to read on for windows; what it begins is its own business. */
static bool may_read(struct conn *conn)
{
    return conn_unsent(conn) < LIMIT_WRITE_HIGH_WATER;
}

static void settle(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    h2_settle(h2);
    if (conn->state == CONN_OPEN && first_ready(h2) != NULL)
        server_mark_dirty(conn); /* others first */
}

static enum deadline_kind waits_for(const struct conn *conn)
{
    const struct h2 *h2 = conn->own;
    list_each(node, &h2->streams)
    {
        const struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (waits_for_body(s) && !conn->done_reading)
            return DEADLINE_BODY;
    }
    return conn->done_reading || h2_is_idle(h2) ? DEADLINE_IDLE : DEADLINE_NONE;
}

static void time_out(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    struct server *server = conn->server;
    list_each(node, &h2->streams)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (waits_for_body(s) &&
            body_is_late(s->ex->body, server_now(server), server->durations[DEADLINE_BODY])) {
            s->ex->body->fault = &fault_late;
            h2_make_ready(s);
            server->stats.timeouts++;
        }
    }
}

/* No more streams are taken. */
static void bye(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

const char *h2_library_version(void)
{
    return nghttp2_version(0)->version_str;
}

/* ---- life ---- */

static int begin(struct h2 *h2)
{
    const struct server *server = h2->conn->server;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_H2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_H2_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)server->limits.header_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    int rc = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof(settings) / sizeof(settings[0]));
    return rc != 0 ? rc
                   : nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                           LIMIT_H2_WINDOW_ALL);
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    return callbacks;
}

static void h2_free(void *own)
{
    struct h2 *h2 = own;
    if (h2 != NULL)
        nghttp2_session_del(h2->session);
    free(h2);
}

static void *h2_new(struct conn *conn)
{
    struct h2 *h2 = calloc(1, sizeof(*h2));
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = NULL;
    int rc = nghttp2_option_new(&option);
    if (rc == 0 && h2 != NULL && callbacks != NULL) {
        nghttp2_option_set_no_auto_window_update(option, 1); /* see give_window */
        nghttp2_option_set_max_send_header_block_length(option, HEADER_BLOCK_MAX);
        rc = nghttp2_session_server_new2(&h2->session, callbacks, h2, option);
    } else {
        rc = NGHTTP2_ERR_NOMEM;
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (rc == 0) {
        h2->conn = conn;
        h2_frames_init(&h2->frames, server_now(conn->server));
        list_init(&h2->streams);
        list_init(&h2->ready);
        list_init(&h2->closed);
        rc = begin(h2);
    }
    if (rc != 0) {
        h2_free(h2);
        return NULL;
    }
    return h2;
}

const struct protocol h2_protocol = {
    .new = h2_new,
    .free = h2_free,
    .input = input,
    .take = take,
    .may_read = may_read,
    .waits_for = waits_for,
    .time_out = time_out,
    .look = look,
    .output = h2_output,
    .settle = settle,
    .has_output = h2_has_output,
    .judge = h2_judge,
    .bye = bye,
    .abandon = h2_abandon,
};
