/* HTTP/1: from bytes to requests, and the life of an exchange. What there is no room for waits.
 *
 * A request goes up when its head is complete. Its body is read while somebody pulls it
 * (sink_pull), and what is left of it when the answer comes is read over, or ends the connection
 * (leave_body). */
#include "server/h1.h"

#include <poll.h>
#include <stdio.h>

#include "base/pool.h"

/* Takes an exchange that will not be sent out of the pipeline. One that nobody has seen goes
 * silently. */
static void abandon(struct h1 *h1, struct exchange *ex)
{
    struct server *server = h1->conn->server;
    list_remove(&ex->in_conn);
    h1->pipeline_len--;
    if (h1->reading == ex)
        h1->reading = NULL;
    if (h1->upgrading == ex)
        h1->upgrading = NULL;
    if (ex->started_ns == 0) {
        server_hold(server, ex, 0);
        exchange_release(ex);
        return;
    }
    conn_break_off(h1->conn, ex, ex->res.streamed ? exchange_rest(ex).len : 0);
    conn_finish(server, ex);
}

/* Answers the request whose head is being read with a refusal; nothing more is read. */
static void refuse(struct h1 *h1, struct exchange *ex, const struct http_fault *fault)
{
    h1->reading = NULL;
    h1->conn->done_reading = true;
    ex->res.close = true;
    conn_refuse(h1->conn, ex, fault);
}

static void pass_up(struct h1 *h1, struct exchange *ex, bool has_body)
{
    struct conn *conn = h1->conn;
    server_set_deadline(conn->server, &conn->read_deadline,
                        DEADLINE_NONE); /* the next one has its own */
    if (!has_body) {
        h1->reading = NULL;
        h1->upgrading = ex->req.upgrade ? ex : NULL;
        conn->done_reading = !ex->req.keep_alive && !ex->req.upgrade;
    } else if ((ex->body = body_new(&ex->arena, parser_body_length(h1->parser))) == NULL) {
        refuse(h1, ex, &fault_no_memory);
        return;
    }
    conn_pass_up(conn, ex);
}

/* ---- bodies ---- */

static void sink_pull(struct exchange *ex)
{
    struct h1 *h1 = ex->conn;
    if (!body_has_room(ex->body))
        return;
    if (ex->body->received == 0 && !ex->head_sent)
        h1->continue_due = ex->req.expects_continue;
    if (h1->parser != NULL)
        parser_limit_body(h1->parser, ex->body->limit);
    body_listen(ex->body, server_now(h1->conn->server));
    server_mark_dirty(h1->conn);
}

/* Nothing more of it, and of what is behind it, can be read. */
static void break_body(struct h1 *h1, struct exchange *ex, const struct http_fault *fault)
{
    h1->reading = NULL;
    h1->conn->done_reading = h1->conn->unread = true;
    h1->continue_due = false;
    ex->req.keep_alive = false;
    ex->body->fault = fault;
    exchange_tell_body(ex);
}

static void end_body(struct h1 *h1, struct exchange *ex, struct str last)
{
    struct server *server = h1->conn->server;
    server_hold(server, ex, 0);
    body_push(ex->body, last, server_now(server));
    h1->reading = NULL;
    h1->continue_due = false;
    h1->conn->done_reading = !ex->req.keep_alive;
    ex->body->complete = true;
    exchange_tell_body(ex);
}

/* The request that is being read is answered: the rest of its body is read over when it is short;
 * else the connection ends with the answer. */
static void leave_body(struct h1 *h1, struct exchange *ex)
{
    if (h1->reading != ex)
        return;
    if (ex->res.upgraded) {
        h1->reading = NULL;
        h1->conn->done_reading = h1->conn->unread = true;
        return;
    }
    /* Who was not told to go on sends a body or does not: the next byte could be either. */
    bool unsure = ex->req.expects_continue && ex->body->mode == BODY_UNWANTED;
    h1->reading = NULL;
    h1->continue_due = false;
    h1->skipping = !unsure && parser_skip_body(h1->parser, LIMIT_BODY_SKIPPED);
    h1->conn->unread = true;
    if (h1->skipping)
        return;
    h1->conn->done_reading = true;
    ex->req.keep_alive = false;
}

/* The rest of the request will not be read. */
static void fail(struct h1 *h1, struct exchange *ex, const struct http_fault *fault)
{
    if (ex->body != NULL)
        break_body(h1, ex, fault);
    else
        refuse(h1, ex, fault);
}

static void time_out(struct conn *conn)
{
    struct h1 *h1 = conn->own;
    conn->server->stats.timeouts++;
    if (h1->reading != NULL)
        fail(h1, h1->reading, &fault_late);
    else
        conn_close(conn); /* it was answered long ago */
}

static void take_body(struct h1 *h1, struct exchange *ex, struct str piece)
{
    struct server *server = h1->conn->server;
    body_push(ex->body, piece, server_now(server));
    server_hold(server, ex, ex->body->buf.cap);
    server_moved(server, ex);
    h1->continue_due = false;
    h1->conn->fresh = true;
    if (ex->body->fault != NULL)
        break_body(h1, ex, ex->body->fault);
    else if (body_is_late(ex->body, server_now(server), server->durations[DEADLINE_BODY]))
        time_out(h1->conn);
}

static bool peer_has_left(const struct h1 *h1)
{
    for (struct list *node = h1->pipeline.next; node != &h1->pipeline; node = node->next) {
        const struct exchange *ex = container_of(node, struct exchange, in_conn);
        if (ex->ends_with_peer && !exchange_is_complete(ex))
            return true;
    }
    return false;
}

/* The peer sends no more and all it sent is parsed. */
static void end_input(struct h1 *h1)
{
    static const struct http_fault cut = {400, "body_incomplete",
                                          "The connection ended within the body"};
    struct exchange *ex = h1->reading;
    if (ex != NULL && ex->res.upgraded) {
        ex->body->complete = true;
        exchange_tell_body(ex);
    } else if (ex != NULL && ex->body != NULL && ex->body->mode == BODY_PIECES)
        break_body(h1, ex, &cut);
    else if (ex != NULL)
        abandon(h1, ex);
    if (h1->skipping)
        h1->skipping = h1->conn->unread = false;
    h1->conn->done_reading = true;
    if (peer_has_left(h1))
        conn_close(h1->conn);
}

/* Is the next byte one of a body? */
static bool is_in_body(const struct h1 *h1)
{
    return h1->skipping || (h1->reading != NULL && h1->reading->body != NULL);
}

/* ---- the exchange's side ---- */

static void drop_parser(struct h1 *h1)
{
    if (h1->parser != NULL)
        parser_free(h1->parser);
    pool_free(h1->parser, sizeof(*h1->parser));
    h1->parser = NULL;
}

/* A request that asked for a WebSocket is answered. */
static void settle_upgrade(struct h1 *h1, struct exchange *ex)
{
    struct conn *conn = h1->conn;
    h1->upgrading = NULL;
    conn->done_reading = !ex->req.keep_alive && !ex->res.upgraded;
    if (!ex->res.upgraded)
        return;
    ex->res.close = true; /* there is no way back */
    ex->body = body_new(&ex->arena, BODY_UNSIZED);
    conn->failed |= ex->body == NULL;
    if (ex->body == NULL)
        return;
    h1->reading = ex;
    drop_parser(h1);
}

static void sink_answer(struct exchange *ex)
{
    struct h1 *h1 = ex->conn;
    if (h1->upgrading == ex)
        settle_upgrade(h1, ex);
    if (h1->reading == ex && ex->res.streamed && !ex->res.upgraded)
        ex->req.keep_alive = false; /* how much of the body will be read is not known yet */
    else if (!ex->res.upgraded)
        leave_body(h1, ex);
    response_mend(&ex->res, &ex->arena);
    if (!ex->res.streamed) {
        h1->ready_bytes += ex->res.body.len;
        if (ex->res.body.len > CONN_COPY_MAX)
            server_hold(h1->conn->server, ex, ex->res.body.len);
    }
    server_mark_dirty(h1->conn);
}

static bool is_chunked(const struct exchange *ex)
{
    return ex->req.version_minor > 0 && !ex->res.sized && !ex->res.upgraded;
}

static size_t sink_stream_write(struct exchange *ex, struct str bytes)
{
    struct conn *conn = ((struct h1 *)ex->conn)->conn;
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
    struct h1 *h1 = ex->conn;
    leave_body(h1, ex);
    if (is_chunked(ex) && exchange_sends_body(ex))
        buf_add_str(&ex->stream, STR("0\r\n\r\n"));
    h1->conn->failed |= buf_failed(&ex->stream);
    server_mark_dirty(h1->conn);
}

/* A chunked body that stops without its last chunk is seen to be cut, and one that is shorter than
 * it said; one that lasts until the end of the connection only when the connection breaks. */
static void sink_stream_abort(struct exchange *ex)
{
    struct h1 *h1 = ex->conn;
    leave_body(h1, ex);
    ex->res.close = true;
    if ((ex->req.version_minor == 0 && !ex->res.sized) || ex->res.upgraded)
        h1->conn->failed = h1->conn->resets = true;
    server_mark_dirty(h1->conn);
}

/* The front may be about to take more; who waits behind another has time. */
static bool is_moving(const struct h1 *h1, const struct exchange *ex)
{
    return server_is_moving(h1->conn->server, ex->holding.moved_at) ||
           (ex == h1_front(h1) && conn_can_move(h1->conn, ex == h1->reading ? POLLIN : POLLOUT));
}

static bool sink_give_up(struct exchange *ex)
{
    struct h1 *h1 = ex->conn;
    struct conn *conn = h1->conn;
    if (is_moving(h1, ex))
        return false;
    if (h1->reading == ex && ex->body != NULL) {
        server_hold(conn->server, ex, 0);
        body_free(ex->body);
        break_body(h1, ex, &conn_no_room);
        server_mark_dirty(conn);
        return true;
    }
    conn->why = conn_no_room.code;
    conn_close(conn);
    return true;
}

static const struct exchange_sink sink = {
    .answer = sink_answer,
    .stream_write = sink_stream_write,
    .stream_end = sink_stream_end,
    .stream_abort = sink_stream_abort,
    .pull = sink_pull,
    .give_up = sink_give_up,
};

/* ---- input ---- */

static bool may_take(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    const struct exchange *ex = h1->reading;
    if (conn->state != CONN_OPEN || conn->done_reading || h1->upgrading != NULL ||
        conn_unsent(conn) >= LIMIT_WRITE_HIGH_WATER || h1->ready_bytes >= LIMIT_WRITE_HIGH_WATER)
        return false;
    if (ex != NULL)
        return ex->body == NULL || (body_has_room(ex->body) && server_may_read_on(conn, ex));
    return h1->skipping || (h1->pipeline_len < LIMIT_PIPELINE && server_has_room(conn));
}

static struct exchange *begin(struct h1 *h1)
{
    struct exchange *ex = exchange_new(&sink, h1);
    if (ex == NULL)
        return NULL;
    ex->admin = h1->conn->admin;
    list_push(&h1->pipeline, &ex->in_conn);
    h1->pipeline_len++;
    h1->reading = ex;
    return ex;
}

static void take_event(struct h1 *h1, struct str *input)
{
    struct exchange *ex = h1->reading != NULL ? h1->reading : begin(h1);
    if (ex == NULL) {
        conn_close(h1->conn);
        return;
    }
    switch (parser_feed(h1->parser, input, &ex->arena, &ex->req)) {
    case PARSER_MORE:
        if (parser_is_idle(h1->parser))
            abandon(h1, ex);
        break;
    case PARSER_HEAD:
        pass_up(h1, ex, true);
        break;
    case PARSER_BODY:
        take_body(h1, ex, h1->parser->piece);
        break;
    case PARSER_DONE:
        if (ex->body == NULL)
            pass_up(h1, ex, false);
        else
            end_body(h1, ex, h1->parser->piece);
        break;
    case PARSER_FAULT:
        h1->conn->server->stats.parse_errors++;
        fail(h1, ex, h1->parser->fault);
        break;
    }
}

/* Of a body whose request was answered; one that is too long or wrong ends the connection. */
static void skip_event(struct h1 *h1, struct str *input)
{
    enum parser_event event = parser_feed(h1->parser, input, NULL, NULL);
    if (event == PARSER_DONE)
        h1->skipping = h1->conn->unread = false;
    else if (event == PARSER_FAULT) {
        h1->skipping = false;
        h1->conn->done_reading = true;
    }
}

/* Bytes of what HTTP was given up for. */
static void take_foreign(struct h1 *h1, struct str *input)
{
    struct server *server = h1->conn->server;
    struct exchange *ex = h1->reading;
    body_push(ex->body, *input, server_now(server));
    *input = STR("");
    server_hold(server, ex, ex->body->buf.cap);
    server_moved(server, ex);
    if (ex->body->fault != NULL)
        break_body(h1, ex, ex->body->fault);
}

/* Returns what there was no room for; nothing, once the input is of no interest. */
static struct str take_from(struct h1 *h1, struct str input)
{
    while (input.len > 0 && may_take(h1)) {
        if (h1->skipping)
            skip_event(h1, &input);
        else if (h1->reading != NULL && h1->reading->res.upgraded)
            take_foreign(h1, &input);
        else
            take_event(h1, &input);
    }
    if (h1->reading != NULL && h1->reading->body != NULL)
        exchange_tell_body(h1->reading);
    if (h1->conn->state != CONN_OPEN || h1->conn->done_reading)
        return (struct str){NULL, 0};
    return input;
}

/* Who sends no more may read on, or be gone, which is told by the next byte that he gets. Where
 * none may come for long he gets one: a chunk's size may begin with a zero, and be one. */
static void ask_peer(struct h1 *h1)
{
    struct exchange *ex = h1_front(h1);
    h1->asked = true;
    if (ex == NULL || ex->state != EXCHANGE_STREAMING || !ex->head_sent || exchange_has_rest(ex) ||
        conn_unsent(h1->conn) > 0 || !is_chunked(ex) || !exchange_sends_body(ex))
        return;
    buf_add_str(&ex->stream, STR("0"));
    h1->conn->failed |= buf_failed(&ex->stream);
}

/* What was kept, and then the end. */
static void take(struct conn *conn)
{
    struct h1 *h1 = conn->own;
    if (h1->stash.len > 0) {
        struct str left = take_from(h1, str_skip(buf_str(&h1->stash), h1->stash_used));
        h1->stash_used = h1->stash.len - left.len;
        if (left.len == 0) {
            buf_free(&h1->stash);
            h1->stash_used = 0;
        }
    }
    if (!conn->peer_eof || h1->stash.len > 0 || conn->state != CONN_OPEN)
        return;
    if (!conn->done_reading)
        end_input(h1);
    else if (peer_has_left(h1)) /* behind the last request nothing is read */
        conn_close(conn);
    if (conn->state == CONN_OPEN && !h1->asked)
        ask_peer(h1);
}

static void take_input(struct conn *conn, struct str input)
{
    struct h1 *h1 = conn->own;
    struct str left = input;
    if (h1->stash.len == 0) /* else it is not its turn */
        left = take_from(h1, input);
    buf_add_str(&h1->stash, left);
    conn->failed |= buf_failed(&h1->stash);
}

static bool may_read(struct conn *conn)
{
    struct h1 *h1 = conn->own;
    return h1->stash.len == 0 && may_take(h1);
}

static enum deadline_kind waits_for(const struct conn *conn)
{
    const struct h1 *h1 = conn->own;
    if (h1->reading != NULL && h1->reading->res.upgraded)
        return DEADLINE_NONE; /* run/websocket.c has the clock */
    if (is_in_body(h1))
        return DEADLINE_BODY;
    if (h1->reading != NULL)
        return DEADLINE_HEAD;
    return list_is_empty(&h1->pipeline) ? DEADLINE_IDLE : DEADLINE_NONE;
}

/* A peer whose body has to wait is not heard, nor one who sends no more: what he breaks is asked
 * for. */
static void look(struct conn *conn)
{
    bool unheard = !conn->is_reading && (conn->peer_eof || is_in_body(conn->own));
    if (unheard && conn_can_move(conn, POLLERR | POLLHUP))
        conn_close(conn);
}

static void settle(struct conn *conn)
{
    struct h1 *h1 = conn->own;
    h1_settle(h1);
    if (h1->stash.len > 0 && !conn->has_more && may_take(h1))
        server_mark_dirty(conn); /* others first */
}

/* ---- life ---- */

static void *h1_new(struct conn *conn)
{
    struct h1 *h1 = pool_take(sizeof(*h1));
    struct parser *parser = pool_take(sizeof(*parser));
    if (h1 == NULL || parser == NULL) {
        pool_free(h1, sizeof(*h1));
        pool_free(parser, sizeof(*parser));
        return NULL;
    }
    *h1 = (struct h1){.conn = conn, .parser = parser};
    list_init(&h1->pipeline);
    list_init(&h1->sending);
    parser_init(h1->parser, &conn->server->parser_limits);
    return h1;
}

static void h1_free(void *own)
{
    struct h1 *h1 = own;
    drop_parser(h1);
    buf_free(&h1->stash);
    pool_free(h1, sizeof(*h1));
}

static void abandon_all(struct conn *conn)
{
    struct h1 *h1 = conn->own;
    if (conn->state == CONN_CLOSED)
        h1_settle(h1);
    while (conn->state == CONN_CLOSED && !list_is_empty(&h1->sending)) {
        struct exchange *ex = container_of(h1->sending.next, struct exchange, in_conn);
        list_remove(&ex->in_conn);
        conn_break_off(conn, ex, 0);
        conn_finish(conn->server, ex);
    }
    while (!list_is_empty(&h1->pipeline))
        abandon(h1, container_of(h1->pipeline.next, struct exchange, in_conn));
}

const struct protocol h1_protocol = {
    .new = h1_new,
    .free = h1_free,
    .input = take_input,
    .take = take,
    .may_read = may_read,
    .waits_for = waits_for,
    .time_out = time_out,
    .look = look,
    .output = h1_output,
    .settle = settle,
    .has_output = h1_has_output,
    .abandon = abandon_all,
};
