/* The turns of the loop: which connections have one, and what each does in it. */
#include <assert.h>
#include <netinet/tcp.h>

#include "server/conn.h"

enum {
    DISCARD_BYTES = 256 * 1024,
    OUT_KEEP_MAX = 256 * 1024, /* the scratch buffer is not kept larger */
    TICK_MS_MAX = 250,
    RELIEF_MS = 20,
    GATHER_MAX = 32,
    GATHER_NS = 200000,
    BULK_NS = 50000 /* of a turn of the loop, for those who send much */
};

/* ---- who has a turn ---- */

/* The request that needs least to be complete, most likely. */
static struct exchange *find_favoured(const struct holdings *all)
{
    struct exchange *best = NULL;
    list_each(node, &all->list)
    {
        struct holding *one = container_of(node, struct holding, node);
        struct exchange *ex = container_of(one, struct exchange, holding);
        if (ex->body != NULL && !ex->body->complete &&
            (best == NULL || one->bytes > best->holding.bytes))
            best = ex;
    }
    return best;
}

static void on_relief(uv_timer_t *timer)
{
    (void)timer; /* the loop turns: that is all */
}

/* From those that have not moved for longest, until there is some room again; each is looked at
 * once. Whoever was held back for want of it goes on. */
static void relieve(struct server *server)
{
    struct holdings *all = &server->holdings;
    bool full = holdings_are_full(all);
    if (!full && !server->held_back) {
        server->favoured = NULL;
        return;
    }
    for (size_t left = all->count; full && left > 0 && all->bytes > all->limit / 8 * 5; left--) {
        struct holding *one = container_of(all->list.next, struct holding, node);
        struct exchange *ex = container_of(one, struct exchange, holding);
        list_remove(&one->node);
        list_push(&all->list, &one->node);
        server->stats.given_up += !ex->admin && ex->sink->give_up(ex);
    }
    struct exchange *before = server->favoured;
    full = holdings_are_full(all);
    server->favoured = full ? find_favoured(all) : NULL;
    if (full && !server->closing)
        uv_timer_start(&server->relief, on_relief, RELIEF_MS, 0);
    if (!server->held_back || (full && server->favoured == before))
        return;
    server->held_back = false;
    list_each(node, &server->conns)
    {
        struct conn *conn = container_of(node, struct conn, in_server);
        if (conn->held_back)
            server_mark_dirty(conn);
        conn->held_back = false;
    }
}

/* What is marked while this runs waits for the next turn, so that nobody starves the loop. */
static void flush_dirty(struct server *server)
{
    server->gathered = 0;
    relieve(server);
    struct list *last = server->dirty.prev;
    bool done = list_is_empty(&server->dirty);
    while (!done && !list_is_empty(&server->dirty)) {
        struct list *node = server->dirty.next;
        done = node == last;
        list_remove(node);
        turn_pump(container_of(node, struct conn, in_dirty));
    }
    if (list_is_empty(&server->dirty) && list_is_empty(&server->bulk))
        uv_idle_stop(&server->idle);
}

/* One after the other, for as long as it can go on: what is sent in one go wakes its reader less
 * often. Then others first. */
static void flush_bulk(struct server *server)
{
    struct list *node = server->bulk.next;
    uint64_t begun = uv_hrtime();
    server->in_bulk = true;
    while (!list_is_empty(&server->bulk) && uv_hrtime() - begun < BULK_NS) {
        list_remove(node);
        turn_pump(container_of(node, struct conn, in_dirty));
        if (server->bulk.prev != node)
            node = server->bulk.next;
    }
    server->in_bulk = false;
}

/* A mark, with those of the same turn that come after it, but not much later: who reads several
 * answers, a proxy or a load generator beside us, is then woken once, and waking it costs the
 * writer more than the write. */
static void gather(struct conn *conn)
{
    struct server *server = conn->server;
    server_mark_dirty(conn);
    uint64_t now = uv_hrtime();
    if (server->gathered++ == 0)
        server->gathered_since = now;
    else if (server->gathered >= GATHER_MAX || now - server->gathered_since > GATHER_NS)
        flush_dirty(server);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *conn = handle->data;
    *buf = uv_buf_init(conn->server->input, CONN_INPUT_BYTES);
}

/* Before the last answer is out little is read; afterwards all, for the time of a linger: a byte
 * that is left unread would break the connection, and the answer might be lost (RFC 9112 9.6). */
static void discard(struct conn *conn, size_t count)
{
    conn->discarded += (uint32_t)count; /* of one read */
    if (conn->discarded > DISCARD_BYTES && conn->state != CONN_LINGER) {
        uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->is_reading = false;
    }
}

/* What was asked is still answered, what waits to be parsed too. */
static void on_eof(struct conn *conn)
{
    conn->peer_eof = true;
    conn->is_reading = false;
    uv_read_stop((uv_stream_t *)&conn->tcp); /* TLS has an end of its own */
    if (conn->state == CONN_LINGER)
        conn_close(conn);
    else
        turn_pump(conn);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    int error = count < 0 ? (int)count : 0;
    if (count > 0 && (conn->state == CONN_LINGER || conn->done_reading)) {
        discard(conn, (size_t)count);
        return;
    }
    if (count > 0)
        error = conn_input(conn, (struct str){buf->base, (size_t)count});
    if (error == UV_EOF)
        on_eof(conn);
    else if (error != 0)
        conn_close(conn);
    else if (count == CONN_INPUT_BYTES) /* the next follows at once, unless it is stopped */
        turn_pump(conn);
    else if (count > 0)
        gather(conn);
}

static void update_reading(struct conn *conn)
{
    bool room = conn->done_reading || conn->protocol->may_read(conn);
    bool wanted = !conn->peer_eof &&
                  (conn->state == CONN_LINGER || (room && conn->discarded <= DISCARD_BYTES));
    if (wanted == conn->is_reading)
        return;
    uv_stream_t *stream = (uv_stream_t *)&conn->tcp;
    int error = wanted ? uv_read_start(stream, on_alloc, on_read) : uv_read_stop(stream);
    if (error != 0)
        conn_close(conn);
    else
        conn->is_reading = wanted;
}

/* ---- deadlines ---- */

static enum deadline_kind deadline_of(const struct conn *conn)
{
    bool draining = conn->server->draining;
    if (conn->announced != NULL || (conn->tls != NULL && !tls_is_open(conn->tls)))
        return draining ? DEADLINE_DRAIN : DEADLINE_HANDSHAKE;
    if (!conn->is_reading || conn->done_reading)
        return DEADLINE_NONE;
    enum deadline_kind kind = conn->protocol->waits_for(conn);
    if (kind != DEADLINE_IDLE)
        return kind;
    if (conn_unsent(conn) > 0)
        return DEADLINE_NONE;
    return draining ? DEADLINE_DRAIN : DEADLINE_IDLE;
}

static void update_deadline(struct conn *conn)
{
    enum deadline_kind kind = deadline_of(conn);
    if (kind != conn->read_deadline.kind || (kind == DEADLINE_BODY && conn->fresh))
        server_set_deadline(conn->server, &conn->read_deadline, kind);
    conn->fresh = false;
}

/* ---- sending ---- */

/* While there is more the kernel sends full segments alone: each one that it sends wakes the
 * reader, which costs more than to copy its bytes. What comes after the last ones is our end. */
static void cork(struct conn *conn, bool on)
{
    uv_os_fd_t fd;
    int value = on;
    if (conn->corked == on || uv_fileno((const uv_handle_t *)&conn->tcp, &fd) != 0)
        return;
    conn->corked = on;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

/* True: with it the connection ends. */
static bool put_out(struct conn *conn)
{
    struct buf *out = &conn->server->out;
    conn->has_more = false;
    bool last = conn->protocol->output(conn, out);
    bool broken = buf_failed(out);
    if (conn->has_more || last)
        cork(conn, true);
    conn_send_out(conn, out, last);
    if (!conn->has_more && !last)
        cork(conn, false);
    if (out->cap > OUT_KEEP_MAX || broken)
        buf_free(out);
    return last && !conn->failed;
}

/* Who wakes the connection when there is more to send: the kernel, by on_write, when it took less
 * than it was given; we ourselves when it took all and the high-water mark alone had stopped us;
 * else the peer, by its window, or whoever works on the answer. What waits has a deadline, whoever
 * it waits for. */
static void watch(struct conn *conn)
{
    bool unsent = conn_unsent(conn) > 0;
    if (!unsent && conn->has_more)
        server_mark_bulk(conn);
    bool waits = unsent || conn->has_more || conn->blocked;
    bool watched = conn->write_deadline.kind != DEADLINE_NONE;
    if (waits == watched)
        return;
    conn->taken_seen = conn_taken(conn);
    server_set_deadline(conn->server, &conn->write_deadline,
                        waits ? DEADLINE_WRITE : DEADLINE_NONE);
}

/* Has it sent its share, so that its turn comes later? */
static bool waits_for_turn(const struct conn *conn)
{
    return conn->has_more && !conn->server->in_bulk && !list_is_empty(&conn->in_dirty);
}

static void flush(struct conn *conn)
{
    if (waits_for_turn(conn))
        return;
    list_remove(&conn->in_dirty);
    if (conn->state != CONN_OPEN)
        return;
    bool last = put_out(conn);
    conn->protocol->settle(conn);
    if (last && conn->state == CONN_OPEN)
        conn_linger(conn);
    else if (conn->state == CONN_OPEN && !conn->failed)
        watch(conn);
}

/* ---- one turn ---- */

/* Nothing under way, and nothing more to expect. */
static bool is_over(const struct conn *conn)
{
    return conn->done_reading && conn_unsent(conn) == 0 &&
           conn->protocol->waits_for(conn) == DEADLINE_IDLE;
}

void turn_pump(struct conn *conn)
{
    conn->protocol->take(conn);
    flush(conn);
    if (conn->state == CONN_OPEN && conn->failed)
        conn_close(conn);
    else if (conn->state == CONN_OPEN && is_over(conn) && conn->unread)
        conn_linger(conn); /* the peer has to have time to read the answer */
    else if (conn->state == CONN_OPEN && is_over(conn))
        conn_close(conn);
    if (conn->state != CONN_CLOSED)
        update_reading(conn);
    if (conn->state == CONN_OPEN)
        update_deadline(conn);
}

static void on_write_deadline(struct conn *conn)
{
    bool waits = conn_unsent(conn) > 0 || conn->has_more;
    if (waits && conn_taken(conn) - conn->taken_seen < conn_least_taken(conn->server)) {
        conn->server->stats.timeouts++;
        conn->why = "write_timeout";
        conn_close(conn);
        return;
    }
    if (conn->protocol->judge != NULL)
        conn->protocol->judge(conn);
    if (conn->state == CONN_OPEN)
        turn_pump(conn);
    else
        watch(conn);
}

static void on_idle_deadline(struct conn *conn)
{
    if (conn->is_reading && conn_has_input(conn)) {
        update_deadline(conn);
        return;
    }
    if (conn->protocol->bye != NULL) {
        conn->protocol->bye(conn);
        flush(conn);
    }
    conn_close(conn);
}

static void on_deadline(struct conn *conn, enum deadline_kind kind)
{
    if (kind == DEADLINE_WRITE) {
        on_write_deadline(conn);
    } else if (kind == DEADLINE_IDLE || kind == DEADLINE_DRAIN) {
        on_idle_deadline(conn);
    } else if (kind == DEADLINE_LINGER) {
        conn_close(conn);
    } else if (kind == DEADLINE_HANDSHAKE) {
        conn->server->stats.timeouts++;
        conn_close(conn);
    } else {
        conn->protocol->time_out(conn);
        turn_pump(conn);
    }
}

/* ---- the clock ---- */

static struct conn *conn_of(struct deadline *deadline, enum deadline_kind kind)
{
    if (kind == DEADLINE_WRITE)
        return container_of(deadline, struct conn, write_deadline);
    return container_of(deadline, struct conn, read_deadline);
}

#ifdef LUAFN_DEBUG
/* Is there something to send, and nobody who will wake the connection? Never between two turns. */
static void check_nobody_is_stuck(const struct server *server)
{
    list_each(node, &server->conns)
    {
        const struct conn *conn = container_of(node, struct conn, in_server);
        assert(conn->state != CONN_OPEN || conn_unsent(conn) > 0 ||
               !list_is_empty(&conn->in_dirty) || !conn->protocol->has_output(conn));
    }
}
#endif

static void on_tick(uv_timer_t *timer)
{
    struct server *server = timer->data;
    uint64_t now = server_now(server);
#ifdef LUAFN_DEBUG
    check_nobody_is_stuck(server);
#endif
    list_each(node, &server->conns)
    {
        struct conn *conn = container_of(node, struct conn, in_server);
        if (conn->state == CONN_OPEN)
            conn->protocol->look(conn);
    }
    for (int kind = 0; kind < DEADLINE_NONE; kind++) {
        struct list *list = &server->deadlines[kind];
        while (!list_is_empty(list)) {
            struct deadline *first = container_of(list->next, struct deadline, node);
            if (first->at > now)
                break;
            server_set_deadline(server, first, DEADLINE_NONE);
            on_deadline(conn_of(first, (enum deadline_kind)kind), (enum deadline_kind)kind);
        }
    }
}

static uint64_t tick_of(const struct server *server)
{
    uint64_t tick = TICK_MS_MAX;
    for (int kind = 0; kind < DEADLINE_NONE; kind++) {
        uint64_t quarter = server->durations[kind] / 4;
        tick = quarter < tick ? quarter : tick;
    }
    return tick > 0 ? tick : 1;
}

void server_start_clock(struct server *server)
{
    if (!uv_is_active((uv_handle_t *)&server->timer))
        uv_timer_start(&server->timer, on_tick, server->tick, server->tick);
}

/* ---- the loop ---- */

static void on_check(uv_check_t *check)
{
    struct server *server = check->data;
    flush_dirty(server);
    if (!list_is_empty(&server->bulk))
        flush_bulk(server);
}

static void on_prepare(uv_prepare_t *prepare)
{
    flush_dirty(prepare->data);
}

/* None of these keeps the loop alive by itself. */
void server_start_turns(struct server *server)
{
    server->tick = tick_of(server);
    server->looked_at = uv_now(server->loop);
    uv_timer_init(server->loop, &server->timer);
    uv_check_init(server->loop, &server->check);
    uv_prepare_init(server->loop, &server->prepare);
    uv_idle_init(server->loop, &server->idle);
    uv_timer_init(server->loop, &server->rest);
    uv_timer_init(server->loop, &server->relief);
    uv_handle_t *own[] = {(uv_handle_t *)&server->timer,   (uv_handle_t *)&server->check,
                          (uv_handle_t *)&server->prepare, (uv_handle_t *)&server->idle,
                          (uv_handle_t *)&server->rest,    (uv_handle_t *)&server->relief};
    memcpy(server->own, own, sizeof(own));
    for (size_t i = 0; i < SERVER_HANDLES; i++) {
        own[i]->data = server;
        uv_unref(own[i]);
        server->handles++;
    }
    uv_check_start(&server->check, on_check);
    uv_prepare_start(&server->prepare, on_prepare);
}
