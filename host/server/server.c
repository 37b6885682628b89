/* The beginning of a server, and the end of everything. */
#include "server/server.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "server/acceptor.h"
#include "server/conn.h"

enum { LINGER_MS = 1000 };

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

static uint64_t milliseconds(double seconds)
{
    return seconds > 0.001 ? (uint64_t)(seconds * 1000) : 1;
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
    server_start_turns(server);
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

void server_announce_drain(struct server *server)
{
    server->draining = true;
}

/* Without connections `done` comes from here. */
void server_drain(struct server *server, void (*done)(void *arg), void *arg)
{
    server_announce_drain(server);
    server->on_drained = done;
    server->drained_arg = arg;
    acceptors_close(server, false); /* who operates the host may still look */
    list_each(node, &server->conns)
    {
        turn_pump(container_of(node, struct conn, in_server));
    }
    server_tell_drained(server);
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
    for (size_t i = 0; i < SERVER_HANDLES; i++)
        uv_close(server->own[i], on_own_closed);
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
