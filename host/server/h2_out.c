/* HTTP/2: from answers to frames. */
#include "http/date.h"
#include "server/h2_internal.h"

enum { OWN_FIELDS = 3 }; /* :status, date, content-length */

/* ---- bodies ---- */

static ssize_t read_file(struct h2_stream *s, uint8_t *out, size_t size, uint32_t *flags)
{
    struct file_body *file = s->ex->res.file;
    size_t count = file->left < size ? (size_t)file->left : size;
    if (file_body_read(file, (char *)out, count) != 0) {
        s->ex->error_code = "file_changed";
        s->cut = true;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    }
    s->ex->bytes_sent += count;
    if (file->left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)count;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)source;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* was broken off */
    struct exchange *ex = s->ex;
    struct server *server = s->h2->conn->server;
    ex->wire_end = CONN_NOT_HANDED;
    if (exchange_sends_file(ex))
        return read_file(s, out, size, flags);
    struct str rest = exchange_rest(ex);
    size_t count = rest.len < size ? rest.len : size;
    if (s->cut && count == 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    if (count > 0) {
        memcpy(out, rest.ptr, count);
        exchange_put(ex, count);
        h2_hold(s, exchange_holds(ex));
        ex->bytes_sent += count;
        s->h2->moved_at = server_now(server);
        server_moved(server, ex);
    }
    if (count == rest.len && exchange_is_complete(ex) && !s->cut)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (count == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)count;
}

/* ---- heads ---- */

struct fields {
    nghttp2_nv *list; /* in the exchange's arena, room for all; NULL: out of memory */
    size_t count;
    bool failed;
};

static void add(struct fields *f, struct str name, struct str value)
{
    f->failed |= name.ptr == NULL || value.ptr == NULL;
    f->list[f->count++] =
        (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                     value.len, NGHTTP2_NV_FLAG_NONE};
}

/* RFC 9113 8.2: names in lower case, nothing of the connection. */
static bool belongs_to_connection(struct str name)
{
    return response_is_framing(name) || str_eq_nocase(name, STR("keep-alive")) ||
           str_eq_nocase(name, STR("upgrade")) || str_eq_nocase(name, STR("proxy-connection"));
}

static void fill(struct h2_stream *s, struct fields *f)
{
    struct exchange *ex = s->ex;
    struct arena *arena = &ex->arena;
    f->list = arena_alloc(arena, (ex->res.headers.len + OWN_FIELDS) * sizeof(*f->list));
    f->failed = f->list == NULL;
    if (f->failed)
        return;
    add(f, STR(":status"), arena_printf(arena, "%d", ex->res.status));
    add(f, STR("date"), date_now());
    for (uint32_t i = 0; i < ex->res.headers.len; i++) {
        struct header h = ex->res.headers.items[i];
        if (!belongs_to_connection(h.name))
            add(f, arena_lower(arena, h.name), h.value);
    }
    bool sized = ex->res.streamed ? ex->res.sized && ex->res.status != 204
                                  : response_has_body(ex->res.status) || ex->res.status == 205;
    if (sized && !ex->res.unsized)
        add(f, STR("content-length"),
            arena_printf(arena, "%llu", (unsigned long long)response_length(&ex->res)));
}

/* From now on its peer has to take something. */
static void begin_judging(struct h2_stream *s)
{
    s->judged_at = server_now(s->h2->conn->server);
    s->judged_from = s->ex->bytes_sent;
}

/* A client that asked for a WebSocket takes every 2xx for one. False: this is none. */
static bool settle_tunnel(struct h2_stream *s)
{
    struct exchange *ex = s->ex;
    if (!ex->res.upgraded)
        return ex->res.status < 200 || ex->res.status > 299;
    ex->body = body_new(&ex->arena, BODY_UNSIZED);
    if (ex->body != NULL)
        ex->body->complete = !s->reading;
    return ex->body != NULL;
}

void h2_answer(struct exchange *ex)
{
    struct h2_stream *s = ex->conn;
    struct h2 *h2 = s->h2;
    struct fields f = {.count = 0};
    bool opens = !s->tunnel || settle_tunnel(s);
    response_mend(&ex->res, &ex->arena);
    fill(s, &f);
    nghttp2_data_provider provider = {.source = {.ptr = s}, .read_callback = on_read};
    bool body = exchange_sends_body(ex) && (ex->res.streamed || response_length(&ex->res) > 0);
    ex->head_sent = true;
    ex->wire_end = CONN_NOT_HANDED;
    s->submitted = true;
    begin_judging(s);
    if (body)
        h2_hold(s, exchange_holds(ex));
    if (f.failed || !opens ||
        nghttp2_submit_response(h2->session, s->id, f.list, f.count, body ? &provider : NULL) !=
            0) {
        ex->error_code = opens ? "out_of_memory" : "not_a_websocket";
        nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    }
    server_mark_dirty(h2->conn);
}

size_t h2_stream_write(struct exchange *ex, struct str bytes)
{
    struct h2_stream *s = ex->conn;
    if (bytes.len > 0 && exchange_sends_body(ex)) {
        if (exchange_rest(ex).len == 0)
            begin_judging(s);
        exchange_add(ex, bytes);
        s->h2->conn->failed |= buf_failed(&ex->stream);
        h2_hold(s, exchange_holds(ex));
        nghttp2_session_resume_data(s->h2->session, s->id);
        server_mark_dirty(s->h2->conn);
    }
    return exchange_rest(ex).len;
}

void h2_stream_more(struct exchange *ex)
{
    struct h2_stream *s = ex->conn;
    nghttp2_session_resume_data(s->h2->session, s->id);
    server_mark_dirty(s->h2->conn);
}

/* ---- the connection's turn ---- */

/* Answers wait although the socket takes bytes: the peer gives no window. */
static bool is_blocked(const struct h2 *h2)
{
    list_each(node, &h2->streams)
    {
        const struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (s->submitted && exchange_has_rest(s->ex))
            return true;
    }
    return false;
}

bool h2_output(struct conn *conn, struct buf *out)
{
    struct h2 *h2 = conn->own;
    while (!conn->failed) {
        if (conn_is_full(conn, out)) {
            conn->has_more = true;
            break;
        }
        const uint8_t *bytes;
        ssize_t count = nghttp2_session_mem_send(h2->session, &bytes);
        conn->failed |= count < 0;
        if (count <= 0)
            break;
        buf_add(out, bytes, (size_t)count);
    }
    bool over =
        nghttp2_session_want_read(h2->session) == 0 && nghttp2_session_want_write(h2->session) == 0;
    conn->done_reading |= over;
    conn->blocked = is_blocked(h2);
    return false;
}

static struct h2_stream *find_drained(struct h2 *h2)
{
    list_each(node, &h2->streams)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (s->ex->on_drained != NULL && exchange_rest(s->ex).len < LIMIT_STREAM_BYTES / 2)
            return s;
    }
    return NULL;
}

/* Only those that wait now: one that writes and waits again has its turn when more is out. */
static void tell_drained(struct h2 *h2)
{
    struct h2_stream *s;
    for (unsigned turns = 0;
         turns < LIMIT_H2_STREAMS && h2->conn->state == CONN_OPEN && (s = find_drained(h2)) != NULL;
         turns++) {
        void (*on_drained)(struct exchange *) = s->ex->on_drained;
        s->ex->on_drained = NULL;
        on_drained(s->ex);
    }
}

bool h2_has_output(const struct conn *conn)
{
    const struct h2 *h2 = conn->own;
    return nghttp2_session_want_write(h2->session) != 0;
}

static void mark_handed(const struct conn *conn, struct list *streams)
{
    list_each(node, streams)
    {
        struct exchange *ex = container_of(node, struct h2_stream, node)->ex;
        if (ex->wire_end == CONN_NOT_HANDED)
            ex->wire_end = conn->handed;
    }
}

void h2_settle(struct h2 *h2)
{
    mark_handed(h2->conn, &h2->streams);
    mark_handed(h2->conn, &h2->closed);
    h2_end_closed(h2);
    tell_drained(h2);
}

static bool takes_too_little(struct h2_stream *s, uint64_t now)
{
    const struct server *server = s->h2->conn->server;
    if (!s->submitted || !exchange_has_rest(s->ex) ||
        now - s->judged_at < server->durations[DEADLINE_WRITE])
        return false;
    bool little = s->ex->bytes_sent - s->judged_from < conn_least_taken(server);
    begin_judging(s);
    return little;
}

void h2_judge(struct conn *conn)
{
    struct h2 *h2 = conn->own;
    uint64_t now = server_now(conn->server);
    bool any = false;
    list_each(node, &h2->streams)
    {
        struct h2_stream *s = container_of(node, struct h2_stream, node);
        if (!takes_too_little(s, now))
            continue;
        h2_break_off(s, "write_timeout", NGHTTP2_CANCEL);
        conn->server->stats.timeouts++;
        any = true;
    }
    if (any && h2_is_idle(h2))
        nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
}
