/* From bytes to requests: parse, pass up, refuse; what there is no room for waits. */
#include "server/conn.h"

#include "base/limits.h"

static struct exchange *begin(struct conn *conn)
{
    struct exchange *ex = exchange_new(&conn_sink, conn);
    if (ex == NULL)
        return NULL;
    ex->admin = conn->admin;
    list_push(&conn->pipeline, &ex->in_conn);
    conn->pipeline_len++;
    conn->reading = ex;
    return ex;
}

int conn_identify(struct conn *conn, struct exchange *ex)
{
    if (ex->started_ns != 0)
        return 0;
    exchange_identify(ex);
    ex->req.scheme = conn->tls != NULL ? STR("https") : STR("http");
    ex->req.client_ip = arena_copy(&ex->arena, str_from(conn->ip));
    deadline_set(conn->server, &conn->read_deadline, DEADLINE_NONE);
    return ex->req.client_ip.ptr != NULL ? 0 : UV_ENOMEM;
}

void conn_answer_fault(struct conn *conn, struct exchange *ex, const struct http_fault *fault)
{
    const struct server_handlers *handlers = &conn->server->handlers;
    ex->error_code = fault->code;
    if (handlers->on_refused != NULL)
        handlers->on_refused(handlers->arg, ex);
    exchange_answer_error(ex, fault->status, str_from(fault->code), str_from(fault->text));
}

void conn_refuse(struct conn *conn, struct exchange *ex, const struct http_fault *fault)
{
    conn->reading = NULL;
    conn->done_reading = true;
    if (conn_identify(conn, ex) != 0) {
        conn_close(conn);
        return;
    }
    ex->res.close = true;
    conn_answer_fault(conn, ex, fault);
}

static void on_head(struct conn *conn, struct exchange *ex)
{
    const struct server_handlers *handlers = &conn->server->handlers;
    if (conn_identify(conn, ex) != 0) {
        conn_close(conn);
        return;
    }
    if (handlers->on_head != NULL)
        handlers->on_head(handlers->arg, ex);
    if (conn->reading == ex)
        conn->continue_due = ex->req.expects_continue;
}

static void on_request(struct conn *conn, struct exchange *ex)
{
    if (conn_identify(conn, ex) != 0) {
        conn_close(conn);
        return;
    }
    conn->reading = NULL;
    conn->continue_due = false;
    conn->done_reading = !ex->req.keep_alive;
    ex->state = EXCHANGE_WORKING;
    conn->server->handlers.on_request(conn->server->handlers.arg, ex);
}

bool conn_may_take(const struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->done_reading &&
           (conn->reading != NULL || conn->pipeline_len < LIMIT_PIPELINE) &&
           conn_unsent(conn) < LIMIT_WRITE_HIGH_WATER && conn->ready_bytes < LIMIT_WRITE_HIGH_WATER;
}

static void take_event(struct conn *conn, struct str *input)
{
    struct exchange *ex = conn->reading != NULL ? conn->reading : begin(conn);
    if (ex == NULL) {
        conn_close(conn);
        return;
    }
    switch (parser_feed(&conn->parser, input, &ex->arena, &ex->req)) {
    case PARSER_MORE:
        if (parser_is_idle(&conn->parser))
            conn_abandon(conn, ex);
        break;
    case PARSER_HEAD:
        on_head(conn, ex);
        break;
    case PARSER_DONE:
        on_request(conn, ex);
        break;
    case PARSER_FAULT:
        conn->server->stats.parse_errors++;
        conn_refuse(conn, ex, conn->parser.fault);
        break;
    }
}

/* Returns what there was no room for; nothing, once the input is of no interest. */
static struct str take(struct conn *conn, struct str input)
{
    while (input.len > 0 && conn_may_take(conn))
        take_event(conn, &input);
    if (conn->state != CONN_OPEN || conn->done_reading)
        return (struct str){NULL, 0};
    return input;
}

static struct str stashed(const struct conn *conn)
{
    if (conn->stash.len == 0)
        return (struct str){NULL, 0};
    return str_skip(buf_str(&conn->stash), conn->stash_used);
}

void conn_take_stash(struct conn *conn)
{
    struct str left = take(conn, stashed(conn));
    conn->stash_used = conn->stash.len - left.len;
    if (left.len == 0) {
        buf_free(&conn->stash);
        conn->stash_used = 0;
    }
}

void conn_take_input(struct conn *conn, struct str input)
{
    conn->server->current = conn;
    struct str left = take(conn, input);
    conn->server->current = NULL;
    buf_add_str(&conn->stash, left);
    conn->failed |= buf_failed(&conn->stash);
}

/* ---- which protocol? ---- */

static void start_h2(struct conn *conn, struct str first, struct str rest)
{
    conn->h2 = h2_new(conn);
    if (conn->h2 == NULL) {
        conn_close(conn);
        return;
    }
    h2_input(conn->h2, first);
    if (rest.len > 0 && conn->state == CONN_OPEN)
        h2_input(conn->h2, rest);
}

/* The first bytes tell. Those that may yet become HTTP/2's preface are kept back; `probed` counts
 * them. Under TLS the handshake has told. True when the input was dealt with. */
static bool probe(struct conn *conn, struct str bytes)
{
    struct str preface = H2_PREFACE;
    size_t before = conn->probed, i = 0;
    if (conn->tls != NULL) {
        conn->probed = preface.len;
        if (tls_wants_h2(conn->tls))
            start_h2(conn, bytes, STR(""));
        return conn->h2 != NULL || conn->state != CONN_OPEN;
    }
    if (!conn->server->limits.h2c) {
        conn->probed = preface.len;
        return false;
    }
    while (before + i < preface.len && i < bytes.len && bytes.ptr[i] == preface.ptr[before + i])
        i++;
    conn->probed = before + i;
    if (conn->probed == preface.len) {
        start_h2(conn, preface, str_skip(bytes, i));
        return true;
    }
    if (i == bytes.len)
        return true;
    conn->probed = preface.len;
    if (before > 0)
        conn_take_input(conn, (struct str){preface.ptr, before});
    return false;
}

void conn_input(struct conn *conn, struct str bytes)
{
    conn->fresh = true;
    if (conn->h2 != NULL)
        h2_input(conn->h2, bytes);
    else if (conn->probed == H2_PREFACE.len || !probe(conn, bytes))
        conn_take_input(conn, bytes);
}
