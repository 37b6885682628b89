/* From bytes to requests: parse, pass up, refuse; what there is no room for waits.
 *
 * A request goes up when its head is complete. Its body is read while somebody pulls it
 * (conn_pull), and what is left of it when the answer comes is read over, or ends the connection
 * (conn_leave_body). */
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
    if (handlers->on_refused != NULL)
        handlers->on_refused(handlers->arg, ex);
    exchange_refuse(ex, fault);
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

static void pass_up(struct conn *conn, struct exchange *ex, bool has_body)
{
    if (conn_identify(conn, ex) != 0) {
        conn_close(conn);
        return;
    }
    if (!has_body) {
        conn->reading = NULL;
        conn->done_reading = !ex->req.keep_alive;
    } else if ((ex->body = body_new(&ex->arena, parser_body_length(&conn->parser))) == NULL) {
        conn_close(conn);
        return;
    }
    conn_pass_up(conn, ex);
}

/* ---- bodies ---- */

void conn_pull(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    if (!body_has_room(ex->body))
        return;
    if (ex->body->received == 0 && !ex->head_sent)
        conn->continue_due = ex->req.expects_continue;
    parser_limit_body(&conn->parser, ex->body->limit);
    body_listen(ex->body, uv_now(conn->server->loop));
    server_mark_dirty(conn);
}

/* Nothing more of it, and of what is behind it, can be read. */
static void break_body(struct conn *conn, struct exchange *ex, const struct http_fault *fault)
{
    conn->reading = NULL;
    conn->done_reading = conn->unread = true;
    conn->continue_due = false;
    ex->req.keep_alive = false;
    ex->body->fault = fault;
    exchange_tell_body(ex);
}

void conn_give_up_body(struct conn *conn, struct exchange *ex)
{
    server_hold(conn->server, ex, 0);
    body_free(ex->body);
    break_body(conn, ex, &conn_no_room);
}

static void end_body(struct conn *conn, struct exchange *ex, struct str last)
{
    server_hold(conn->server, ex, 0);
    body_push(ex->body, last, uv_now(conn->server->loop));
    conn->reading = NULL;
    conn->continue_due = false;
    conn->done_reading = !ex->req.keep_alive;
    ex->body->complete = true;
    exchange_tell_body(ex);
}

void conn_leave_body(struct conn *conn, struct exchange *ex)
{
    /* Who was not told to go on sends a body or does not: the next byte could be either. */
    bool unsure = ex->req.expects_continue && ex->body->mode == BODY_UNWANTED;
    conn->reading = NULL;
    conn->continue_due = false;
    conn->skipping = !unsure && parser_skip_body(&conn->parser, LIMIT_BODY_SKIPPED);
    if (conn->skipping)
        return;
    conn->done_reading = conn->unread = true;
    ex->req.keep_alive = false;
}

static void take_body(struct conn *conn, struct exchange *ex, struct str piece)
{
    struct server *server = conn->server;
    body_push(ex->body, piece, uv_now(server->loop));
    server_hold(server, ex, ex->body->buf.cap);
    server_moved(server, ex);
    conn->continue_due = false;
    if (ex->body->fault != NULL)
        break_body(conn, ex, ex->body->fault);
    else if (body_is_late(ex->body, uv_now(server->loop), server->durations[DEADLINE_BODY]))
        conn_time_out_body(conn);
}

void conn_time_out_body(struct conn *conn)
{
    conn->server->stats.timeouts++;
    if (conn->reading != NULL)
        break_body(conn, conn->reading, &fault_late);
    else
        conn_close(conn); /* it was answered long ago */
}

void conn_end_input(struct conn *conn)
{
    static const struct http_fault cut = {400, "body_incomplete",
                                          "The connection ended within the body"};
    struct exchange *ex = conn->reading;
    if (ex != NULL && ex->body != NULL && ex->body->mode == BODY_PIECES)
        break_body(conn, ex, &cut);
    else if (ex != NULL)
        conn_abandon(conn, ex);
    conn->skipping = false;
    conn->done_reading = true;
}

bool conn_is_in_body(const struct conn *conn)
{
    return conn->skipping || (conn->reading != NULL && conn->reading->body != NULL);
}

/* ---- both ---- */

/* HTTP/2 has to read on for windows; what it begins is its own business. */
static bool may_begin(const struct conn *conn)
{
    return conn->h2 != NULL || (conn->pipeline_len < LIMIT_PIPELINE && server_has_room(conn));
}

bool conn_may_take(const struct conn *conn)
{
    const struct exchange *ex = conn->reading;
    if (conn->state != CONN_OPEN || conn->done_reading)
        return false;
    if (ex != NULL && ex->body != NULL &&
        (!body_has_room(ex->body) || !server_may_read_on(conn, ex)))
        return false;
    return (ex != NULL || conn->skipping || may_begin(conn)) &&
           conn_unsent(conn) < LIMIT_WRITE_HIGH_WATER && conn->ready_bytes < LIMIT_WRITE_HIGH_WATER;
}

static void on_fault(struct conn *conn, struct exchange *ex)
{
    conn->server->stats.parse_errors++;
    if (ex->body != NULL)
        break_body(conn, ex, conn->parser.fault);
    else
        conn_refuse(conn, ex, conn->parser.fault);
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
        pass_up(conn, ex, true);
        break;
    case PARSER_BODY:
        take_body(conn, ex, conn->parser.piece);
        break;
    case PARSER_DONE:
        if (ex->body == NULL) {
            pass_up(conn, ex, false);
            break;
        }
        end_body(conn, ex, conn->parser.piece);
        break;
    case PARSER_FAULT:
        on_fault(conn, ex);
        break;
    }
}

/* Of a body whose request was answered; one that is too long or wrong ends the connection. */
static void skip_event(struct conn *conn, struct str *input)
{
    switch (parser_feed(&conn->parser, input, NULL, NULL)) {
    case PARSER_DONE:
        conn->skipping = false;
        break;
    case PARSER_FAULT:
        conn->skipping = false;
        conn->done_reading = conn->unread = true;
        break;
    default:
        break;
    }
}

/* Returns what there was no room for; nothing, once the input is of no interest. */
static struct str take(struct conn *conn, struct str input)
{
    while (input.len > 0 && conn_may_take(conn)) {
        if (conn->skipping)
            skip_event(conn, &input);
        else
            take_event(conn, &input);
    }
    if (conn->reading != NULL && conn->reading->body != NULL)
        exchange_tell_body(conn->reading);
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

/* Parses what was just read; what there is no room for is kept, what is of no interest dropped. */
static void take_input(struct conn *conn, struct str input)
{
    struct str left = input;
    conn->server->current = conn;
    if (conn->stash.len == 0) /* else it is not its turn */
        left = take(conn, input);
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
        take_input(conn, (struct str){preface.ptr, before});
    return false;
}

void conn_input(struct conn *conn, struct str bytes)
{
    conn->fresh = true;
    if (conn->h2 != NULL)
        h2_input(conn->h2, bytes);
    else if (conn->probed == H2_PREFACE.len || !probe(conn, bytes))
        take_input(conn, bytes);
}
