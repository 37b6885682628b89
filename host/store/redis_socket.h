/* A connected socket to a server of Redis' protocol (RESP 2): commands out, replies in, over TLS
 * where the address says so. It goes with redis_socket_drop alone. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/redis_server.h"

struct redis_socket;
struct redisReply; /* of hiredis */

/* Called from the loop, on_lost from within redis_socket_send as well; each may drop the socket. */
struct redis_socket_user {
    void (*on_reply)(void *arg, const struct redisReply *reply); /* valid during the call */
    void (*on_room)(void *arg); /* what was given has been written; more may be */
    /* It is of no use any more, and has to be dropped. `closed`: the server has closed it. */
    void (*on_lost)(void *arg, const char *why, bool closed);
};

/* `tcp`: connected to `host`, which is borrowed; taken over in any case. `user`: static. NULL with
 * the reason. */
struct redis_socket *redis_socket_new(uv_tcp_t *tcp, struct redis_server *server, const char *host,
                                      const struct redis_socket_user *user, void *arg,
                                      struct err *err);

/* Sends these commands, and empties the buffer. Once at a time: not before on_room. */
void redis_socket_send(struct redis_socket *socket, struct buf *commands);
bool redis_socket_has_room(const struct redis_socket *socket);

/* No callback any more. NULL is fine. */
void redis_socket_drop(struct redis_socket *socket);
