/* The sockets of a server that listen. */
#pragma once

#include "server/server.h"

/* Listens on a socket that is bound already, and takes the descriptor over. 0 or a negative errno.
 */
int acceptor_open(struct server *server, int fd, enum server_door door)
    __attribute__((warn_unused_result));
/* Closes all of a server, or all but those for admin connections. */
void acceptors_close(struct server *server, bool admin_too);
