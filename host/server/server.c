/* The clock of all deadlines, and the end of everything. */
#include "server/server.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "server/acceptor.h"
#include "server/conn.h"

enum { LINGER_MS = 1000, TICK_MS_MAX = 250 };
enum { GATHER_MAX = 32, GATHER_NS = 200000 };
enum { BULK_NS = 50000 }; /* of a turn of the loop, for those who send much */

void server_limits_init(struct server_limits *limits)
{
    *limits = (struct server_limits){
        .header_bytes = LIMIT_HEADER_BYTES,
        .memory = LIMIT_CLIENT_MEMORY,
        .connections = LIMIT_CONNECTIONS,
        .head_timeout = LIMIT_HEAD_TIMEOUT,
        .body_timeout = LIMIT_BODY_TIMEOUT,
        .idle_timeout = LIMIT_IDLE_TIMEOUT,
        .write_timeout = LIMIT_WRITE_TIMEOUT,
    };
}

bool exchange_is_admin(const struct exchange *ex)
{
    return ex->admin;
}

const struct holdings *server_holdings(const struct server *server)
{
    return &server->holdings;
}

struct server_stats server_stats(const struct server *server)
{
    struct server_stats stats = server->stats;
    stats.held = server->holdings.bytes;
    return stats;
}

/* ---- deadlines ---- */

void deadline_set(struct server *server, struct deadline *deadline, enum deadline_kind kind)
{
    list_remove(&deadline->node);
    deadline->kind = kind;
    if (kind == DEADLINE_NONE)
        return;
    deadline->at = uv_now(server->loop) + server->durations[kind];
    list_push(&server->deadlines[kind], &deadline->node);
}

static struct conn *conn_of(struct deadline *deadline, enum deadline_kind kind)
{
    if (kind == DEADLINE_WRITE)
        return container_of(deadline, struct conn, write_deadline);
    return container_of(deadline, struct conn, read_deadline);
}

#ifdef LUAFN_DEBUG
static void check_nobody_is_stuck(const struct server *server)
{
    list_each(node, &server->conns)
    {
        assert(!conn_is_stuck(container_of(node, struct conn, in_server)));
    }
}
#endif

static void on_tick(uv_timer_t *timer)
{
    struct server *server = timer->data;
    uint64_t now = uv_now(server->loop);
#ifdef LUAFN_DEBUG
    check_nobody_is_stuck(server);
#endif
    list_each(node, &server->conns)
    {
        conn_look(container_of(node, struct conn, in_server));
    }
    for (int kind = 0; kind < DEADLINE_NONE; kind++) {
        struct list *list = &server->deadlines[kind];
        while (!list_is_empty(list)) {
            struct deadline *first = container_of(list->next, struct deadline, node);
            if (first->at > now)
                break;
            deadline_set(server, first, DEADLINE_NONE);
            conn_on_deadline(conn_of(first, (enum deadline_kind)kind), (enum deadline_kind)kind);
        }
    }
}

static uint64_t milliseconds(double seconds)
{
    return seconds > 0.001 ? (uint64_t)(seconds * 1000) : 1;
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
    uint64_t tick = tick_of(server);
    if (!uv_is_active((uv_handle_t *)&server->timer))
        uv_timer_start(&server->timer, on_tick, tick, tick);
}

/* ---- flushing once a turn ---- */

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

/* ---- what clients leave with us ---- */

enum {
    STILL_MS = 500, /* in which a client has to move; more than a busy one beside us needs */
    RELIEF_MS = 20
};

void server_hold(struct server *server, struct exchange *ex, size_t bytes)
{
    holding_set(&server->holdings, &ex->holding, bytes, uv_now(server->loop));
}

void server_moved(struct server *server, struct exchange *ex)
{
    holding_moved(&server->holdings, &ex->holding, uv_now(server->loop));
}

bool server_is_moving(const struct server *server, const struct exchange *ex)
{
    return uv_now(server->loop) - ex->holding.moved_at < STILL_MS;
}

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
        if (!conn->is_reading || conn->h2 != NULL)
            server_mark_dirty(conn);
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
        conn_pump(container_of(node, struct conn, in_dirty));
    }
    if (list_is_empty(&server->dirty) && list_is_empty(&server->bulk))
        uv_idle_stop(&server->idle);
}

void server_mark_bulk(struct conn *conn)
{
    struct server *server = conn->server;
    if (!list_is_empty(&conn->in_dirty) || conn->state != CONN_OPEN)
        return;
    list_push(&server->bulk, &conn->in_dirty);
    uv_idle_start(&server->idle, on_idle);
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
        conn_pump(container_of(node, struct conn, in_dirty));
        if (server->bulk.prev != node)
            node = server->bulk.next;
    }
    server->in_bulk = false;
}

void server_gather(struct conn *conn)
{
    struct server *server = conn->server;
    server_mark_dirty(conn);
    uint64_t now = uv_hrtime();
    if (server->gathered++ == 0)
        server->gathered_since = now;
    else if (server->gathered >= GATHER_MAX || now - server->gathered_since > GATHER_NS)
        flush_dirty(server);
}

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

/* ---- the whole ---- */

/* Every connection needs a descriptor, and so does everything else: a quarter of what the process
 * may have, and some, is left to it. */
static unsigned connections_for(unsigned wanted)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return wanted;
    rlim_t room = files.rlim_cur - files.rlim_cur / 4;
    room = room > 32 ? room - 16 : room / 2 + 1;
    return room < wanted ? (unsigned)room : wanted;
}

static void on_own_closed(uv_handle_t *handle)
{
    server_handle_closed(handle->data);
}

/* Never called. */
static void on_room(uv_poll_t *room, int status, int events)
{
    (void)room;
    (void)status;
    (void)events;
}

/* libuv has a table that grows with the highest descriptor, and ends the process when there is no
 * memory for that: it grows here, once, for all that connections and others may have. */
static void make_room(struct server *server)
{
    struct rlimit files;
    rlim_t most = (rlim_t)server->limits.connections / 3 * 4 + 64;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < most)
        most = files.rlim_cur;
    int any = eventfd(0, EFD_CLOEXEC);
    int highest = any >= 0 ? fcntl(any, F_DUPFD_CLOEXEC, (int)most - 1) : -1;
    if (highest >= 0 && uv_poll_init(server->loop, &server->room, highest) == 0) {
        server->room.data = server;
        server->handles++;
        uv_poll_start(&server->room, UV_READABLE, on_room);
        uv_close((uv_handle_t *)&server->room, on_own_closed);
    }
    if (highest >= 0)
        close(highest);
    if (any >= 0)
        close(any);
}

static void init_lists(struct server *server)
{
    list_init(&server->conns);
    list_init(&server->acceptors);
    list_init(&server->dirty);
    list_init(&server->bulk);
    for (int kind = 0; kind < DEADLINE_NONE; kind++)
        list_init(&server->deadlines[kind]);
}

/* None of these keeps the loop alive by itself. */
static void init_handles(struct server *server)
{
    uv_timer_init(server->loop, &server->timer);
    uv_check_init(server->loop, &server->check);
    uv_prepare_init(server->loop, &server->prepare);
    uv_idle_init(server->loop, &server->idle);
    uv_timer_init(server->loop, &server->rest);
    uv_timer_init(server->loop, &server->relief);
    uv_handle_t *handles[] = {(uv_handle_t *)&server->timer,   (uv_handle_t *)&server->check,
                              (uv_handle_t *)&server->prepare, (uv_handle_t *)&server->idle,
                              (uv_handle_t *)&server->rest,    (uv_handle_t *)&server->relief};
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        handles[i]->data = server;
        uv_unref(handles[i]);
        server->handles++;
    }
    uv_check_start(&server->check, on_check);
    uv_prepare_start(&server->prepare, on_prepare);
}

struct server *server_new(uv_loop_t *loop, const struct server_handlers *handlers,
                          const struct server_limits *limits)
{
    struct server *server = calloc(1, sizeof(*server));
    char *input = malloc(CONN_INPUT_BYTES);
    unsigned each = limits->connections_per_address;
    struct peers *peers = each > 0 ? peers_new(each, connections_for(limits->connections)) : NULL;
    if (server == NULL || input == NULL || (each > 0 && peers == NULL)) {
        free(server);
        free(input);
        peers_free(peers);
        return NULL;
    }
    server->peers = peers;
    server->loop = loop;
    server->input = input;
    server->handlers = *handlers;
    server->limits = *limits;
    server->limits.connections = connections_for(limits->connections);
    server->parser_limits = (struct parser_limits){limits->header_bytes};
    server->durations[DEADLINE_HANDSHAKE] = milliseconds(limits->head_timeout);
    server->durations[DEADLINE_HEAD] = milliseconds(limits->head_timeout);
    server->durations[DEADLINE_BODY] = milliseconds(limits->body_timeout);
    server->durations[DEADLINE_IDLE] = milliseconds(limits->idle_timeout);
    server->durations[DEADLINE_DRAIN] = milliseconds(LIMIT_DRAIN_GRACE);
    server->durations[DEADLINE_WRITE] = milliseconds(limits->write_timeout);
    server->durations[DEADLINE_LINGER] = LINGER_MS;
    init_lists(server);
    holdings_init(&server->holdings, limits->memory);
    init_handles(server);
    make_room(server);
    return server;
}

static int port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&address)->sin_port) : 0;
}

int server_listen_fd(struct server *server, int fd, enum server_door door)
{
    if (door == SERVER_PUBLIC && server->https_port == 0)
        server->https_port = port_of(fd);
    return acceptor_open(server, fd, door);
}

int server_use_tls(struct server *server, struct tls *tls)
{
    server->tls = tls;
    server->plain = malloc(CONN_INPUT_BYTES);
    return server->plain != NULL ? 0 : UV_ENOMEM;
}

bool server_refresh(struct server *server)
{
    return server->tls != NULL && tls_refresh(server->tls);
}

static void tell_if_drained(struct server *server)
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
    if (server->stats.open == 0)
        uv_timer_stop(&server->timer);
    tell_if_drained(server);
    server_handle_closed(server);
}

/* Without connections `done` comes from here. */
void server_drain(struct server *server, void (*done)(void *arg), void *arg)
{
    server->draining = true;
    server->on_drained = done;
    server->drained_arg = arg;
    acceptors_close(server, false); /* who operates the host may still look */
    list_each(node, &server->conns)
    {
        conn_pump(container_of(node, struct conn, in_server));
    }
    tell_if_drained(server);
}

void server_close(struct server *server, void (*done)(void *arg), void *arg)
{
    server->closing = true;
    server->on_drained = NULL;
    server->on_closed = done;
    server->closed_arg = arg;
    acceptors_close(server, true);
    list_each(node, &server->conns)
    {
        conn_close(container_of(node, struct conn, in_server));
    }
    uv_close((uv_handle_t *)&server->timer, on_own_closed);
    uv_close((uv_handle_t *)&server->check, on_own_closed);
    uv_close((uv_handle_t *)&server->prepare, on_own_closed);
    uv_close((uv_handle_t *)&server->idle, on_own_closed);
    uv_close((uv_handle_t *)&server->rest, on_own_closed);
    uv_close((uv_handle_t *)&server->relief, on_own_closed);
}

void server_free(struct server *server)
{
    buf_free(&server->out);
    tls_free(server->tls);
    peers_free(server->peers);
    free(server->plain);
    free(server->input);
    free(server);
}
