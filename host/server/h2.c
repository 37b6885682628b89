/* HTTP/2: from frames to exchanges. */
#include <stdlib.h>

#include "base/limits.h"
#include "server/h2_internal.h"

enum { BROKEN_MAX = 100 };

static const struct http_fault timed_out = {408, "request_timeout",
                                            "The request took too long to arrive"};

/* ---- streams ---- */

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
    struct h2_stream *s = calloc(1, sizeof(*s));
    struct exchange *ex = s != NULL ? exchange_new(&h2_sink, s) : NULL;
    if (ex == NULL) {
        free(s);
        return NULL;
    }
    s->h2 = h2;
    s->ex = ex;
    s->id = id;
    s->reading = true;
    s->heard_at = uv_now(h2->conn->server->loop);
    ex->admin = h2->conn->admin;
    parser_init(&s->parser, &h2->conn->server->parser_limits);
    list_init(&s->ready);
    list_push(&h2->streams, &s->node);
    h2->requests++;
    return s;
}

/* The end: a request that nobody has seen goes silently. */
static void stream_end(struct h2_stream *s)
{
    struct exchange *ex = s->ex;
    struct server *server = s->h2->conn->server;
    list_remove(&s->node);
    list_remove(&s->ready);
    parser_free(&s->parser);
    buf_free(&s->head);
    free(s);
    if (ex->started_ns == 0) {
        exchange_release(ex);
        return;
    }
    if ((!exchange_is_complete(ex) || exchange_sends_file(ex)) && ex->error_code == NULL)
        ex->error_code = "client_gone";
    exchange_detach(ex);
    conn_finish(server, ex);
}

void h2_end_closed(struct h2 *h2)
{
    /* stream_end takes the stream out of its list, which the analyzer does not follow. */
    while (!list_is_empty(&h2->closed))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        stream_end(container_of(h2->closed.next, struct h2_stream, node));
}

/* ---- to the parser ---- */

static void make_ready(struct h2_stream *s)
{
    if (list_is_empty(&s->ready))
        list_push(&s->h2->ready, &s->ready);
}

static void feed(struct h2_stream *s, struct str input)
{
    while (s->reading && s->fault == NULL && input.len > 0) {
        switch (parser_feed(&s->parser, &input, &s->ex->arena, &s->ex->req)) {
        case PARSER_MORE:
            break;
        case PARSER_HEAD:
            if (conn_identify(s->h2->conn, s->ex) == 0 && s->ex->req.expects_continue)
                nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL,
                                       &(nghttp2_nv){(uint8_t *)(uintptr_t) ":status",
                                                     (uint8_t *)(uintptr_t) "100", 7, 3,
                                                     NGHTTP2_NV_FLAG_NONE},
                                       1, NULL);
            break;
        case PARSER_DONE:
            s->reading = false;
            make_ready(s);
            break;
        case PARSER_FAULT:
            s->fault = s->parser.fault;
            s->h2->conn->server->stats.parse_errors++;
            make_ready(s);
            break;
        }
    }
}

static int feed_head(struct h2_stream *s)
{
    struct buf head = BUF_INIT;
    struct request *req = &s->ex->req;
    buf_printf(&head, "%.*s %.*s HTTP/1.1\r\n", STR_ARG(req->method_name), STR_ARG(req->target));
    if (s->authority.len > 0)
        buf_printf(&head, "host: %.*s\r\n", STR_ARG(s->authority));
    buf_add_str(&head, buf_str(&s->head));
    buf_add_str(&head, s->chunked ? STR("transfer-encoding: chunked\r\n\r\n") : STR("\r\n"));
    bool failed = buf_failed(&head) || buf_failed(&s->head);
    *req = (struct request){0};
    if (!failed)
        feed(s, buf_str(&head));
    buf_free(&head);
    buf_free(&s->head);
    return failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void feed_end(struct h2_stream *s)
{
    if (s->chunked && s->reading)
        feed(s, STR("0\r\n\r\n"));
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
        feed_head(s) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        feed_end(s);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg)
{
    (void)flags;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s == NULL || len == 0 || !s->reading || s->fault != NULL)
        return 0;
    s->heard_at = uv_now(s->h2->conn->server->loop);
    char line[24];
    int line_len = snprintf(line, sizeof(line), "%zx\r\n", len);
    if (s->chunked)
        feed(s, (struct str){line, (size_t)line_len});
    feed(s, (struct str){(const char *)data, len});
    if (s->chunked)
        feed(s, STR("\r\n"));
    return 0;
}

/* ---- ends ---- */

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct h2 *h2 = arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s == NULL)
        return 0;
    (void)error;
    h2->broken += !s->ended && !s->cut;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    list_remove(&s->node);
    list_remove(&s->ready);
    list_push(&h2->closed, &s->node);
    return 0;
}

/* An answer that came before the end of its request ends the request as well. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)arg;
    bool end = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
               (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct h2_stream *s =
        end ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
    if (s != NULL)
        s->ended = true;
    if (s != NULL && s->reading)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    return 0;
}

/* ---- the handlers' turn ---- */

static void refuse(struct h2_stream *s, const struct http_fault *fault)
{
    struct exchange *ex = s->ex;
    if (conn_identify(s->h2->conn, ex) != 0)
        return;
    conn_answer_fault(s->h2->conn, ex, fault);
}

static void pass_up(struct h2_stream *s)
{
    const struct server_handlers *handlers = &s->h2->conn->server->handlers;
    struct exchange *ex = s->ex;
    if (s->fault != NULL) {
        refuse(s, s->fault);
    } else if (conn_identify(s->h2->conn, ex) != 0) {
        conn_close(s->h2->conn);
    } else {
        ex->state = EXCHANGE_WORKING;
        handlers->on_request(handlers->arg, ex);
    }
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
    uint64_t now_ms = uv_now(h2->conn->server->loop);
    return receive(h2, h2_frames_complete(&h2->frames, &bytes, now_ms)) &&
           receive(h2, h2_frames_take(&h2->frames, &bytes, now_ms));
}

void h2_input(struct h2 *h2, struct str bytes)
{
    struct conn *conn = h2->conn;
    bool understood = take_frames(h2, bytes);
    while (conn->state == CONN_OPEN && !list_is_empty(&h2->ready)) {
        struct h2_stream *s = container_of(h2->ready.next, struct h2_stream, ready);
        list_remove(&s->ready);
        pass_up(s);
    }
    if (conn->state != CONN_OPEN)
        return;
    h2_end_closed(h2);
    if (is_abusive(h2))
        nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
    else if (!understood)
        nghttp2_session_terminate_session(h2->session, NGHTTP2_PROTOCOL_ERROR);
}

unsigned h2_time_out(struct h2 *h2)
{
    const struct server *server = h2->conn->server;
    unsigned count = 0;
    list_each(node, &h2->streams)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        bool silent = uv_now(server->loop) - s->heard_at >= server->durations[DEADLINE_BODY];
        if (s->reading && s->fault == NULL && silent) {
            s->fault = &timed_out;
            refuse(s, s->fault);
            count++;
        }
    }
    return count;
}

void h2_drain(struct h2 *h2)
{
    if (h2->draining)
        return;
    h2->draining = true;
    nghttp2_submit_shutdown_notice(h2->session);
}

void h2_end(struct h2 *h2)
{
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

void h2_abandon(struct h2 *h2)
{
    h2_end_closed(h2);
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

bool h2_is_reading(const struct h2 *h2)
{
    list_each(node, &h2->streams)
    {
        const struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (s->reading && s->fault == NULL)
            return true;
    }
    return false;
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
    };
    int rc = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof(settings) / sizeof(settings[0]));
    return rc != 0 ? rc
                   : nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                           4 * LIMIT_H2_WINDOW);
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    return callbacks;
}

struct h2 *h2_new(struct conn *conn)
{
    struct h2 *h2 = calloc(1, sizeof(*h2));
    nghttp2_session_callbacks *callbacks = make_callbacks();
    int rc = h2 != NULL && callbacks != NULL
                 ? nghttp2_session_server_new(&h2->session, callbacks, h2)
                 : NGHTTP2_ERR_NOMEM;
    nghttp2_session_callbacks_del(callbacks);
    if (rc == 0) {
        h2->conn = conn;
        h2_frames_init(&h2->frames, uv_now(conn->server->loop));
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

void h2_free(struct h2 *h2)
{
    if (h2 == NULL)
        return;
    nghttp2_session_del(h2->session);
    free(h2);
}
