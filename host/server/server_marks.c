/* What a server keeps of its connections: their deadlines, who has something to send, what waits
 * for whom, how many there are. */
#include "server/conn.h"

#include "base/pool.h"

/* ---- deadlines and marks ---- */

/* A loop that has not turned for longer than two ticks stood still, and so did its clients' bytes.
 */
uint64_t server_now(struct server *server)
{
    uint64_t now = uv_now(server->loop), since = now - server->looked_at;
    if (since > 2 * server->tick)
        server->stood_still += since - server->tick;
    server->looked_at = now;
    return now - server->stood_still;
}

void server_set_deadline(struct server *server, struct deadline *deadline, enum deadline_kind kind)
{
    list_remove(&deadline->node);
    deadline->kind = kind;
    if (kind == DEADLINE_NONE)
        return;
    deadline->at = server_now(server) + server->durations[kind];
    list_push(&server->deadlines[kind], &deadline->node);
}

/* Only there to keep the loop from sleeping. */
static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

void server_mark_dirty(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn == server->current || !list_is_empty(&conn->in_dirty) || conn->state != CONN_OPEN)
        return;
    list_push(&server->dirty, &conn->in_dirty);
    uv_idle_start(&server->idle, on_idle);
}

void server_mark_bulk(struct conn *conn)
{
    struct server *server = conn->server;
    if (!list_is_empty(&conn->in_dirty) || conn->state != CONN_OPEN)
        return;
    list_push(&server->bulk, &conn->in_dirty);
    uv_idle_start(&server->idle, on_idle);
}

/* ---- what clients leave with us ---- */

enum { STILL_MS = 500 }; /* in which a client has to move; more than a busy one beside us needs */

void server_hold(struct server *server, struct exchange *ex, size_t bytes)
{
    holding_set(&server->holdings, &ex->holding, bytes, server_now(server));
}

void server_moved(struct server *server, struct exchange *ex)
{
    holding_moved(&server->holdings, &ex->holding, server_now(server));
}

bool server_is_moving(struct server *server, uint64_t moved_at)
{
    return server_now(server) - moved_at < STILL_MS;
}

/* ---- how many there are ---- */

void server_tell_drained(struct server *server)
{
    if (!server->draining || server->stats.open > 0 || server->on_drained == NULL)
        return;
    void (*done)(void *) = server->on_drained;
    server->on_drained = NULL;
    done(server->drained_arg);
}

void server_handle_closed(struct server *server)
{
    server->handles--;
    if (server->handles == 0 && server->closing)
        server->on_closed(server->closed_arg);
}

void server_conn_closed(struct server *server)
{
    server->stats.open--;
    if (++server->closed % CONN_CLOSED_TRIM == 0)
        pool_trim(); /* after a rush nothing else may come that would */
    if (server->stats.open == 0)
        uv_timer_stop(&server->timer);
    server_tell_drained(server);
    server_handle_closed(server);
}
