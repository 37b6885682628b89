/* Sockets that listen: made from addresses before any worker, and owned by the supervisor. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { LISTENER_MAX = 16 };

struct listener {
    int fd;
    char url[128]; /* "http://127.0.0.1:8888", "unix:/run/luafn.sock" */
    ino_t file;    /* of a unix socket, as it was when this was filled in; 0: none */
};

/* Binds "HOST:PORT", "[V6]:PORT" or "PORT" (port 0 picks one), which `option` was given; `scheme`
 * is for the URL. 0, or a negative errno with the reason; -EINVAL: that is no address. */
int listener_bind(const char *option, const char *address, const char *scheme, struct listener *out,
                  struct err *err);

/* "unix:...", which is for the next one. */
bool listener_names_file(const char *address);
/* Binds "unix:FILE" (mode 0660), in the place of a file that nobody listens at any more. As above.
 */
int listener_bind_file(const char *option, const char *address, struct listener *out,
                       struct err *err);

/* Takes a socket that somebody else has bound and made listen. 0, or -ENOTSOCK and the like with
 * the reason; the descriptor stays the caller's then. */
int listener_adopt(int fd, const char *scheme, struct listener *out, struct err *err);

/* Removes the file of a unix socket, unless another lies there by now: from then on nobody comes to
 * it. */
void listener_remove(const struct listener *listener);

/* Gives the file of a unix socket to this user and group. 0 or a negative errno. */
int listener_give(const struct listener *listener, uid_t user, gid_t group)
    __attribute__((warn_unused_result));

/* Before the last of those who listen closes it: from now on no connection begins, and what waits
 * in the queue can be taken. Closing resets what waits there, so whoever connected in between would
 * have believed to be let in; now he is refused. Holds for every process that has the socket; again
 * is as good as once. A unix socket is ended by listener_remove. 0, or a negative errno where the
 * kernel does not let us. */
int listener_end(int fd) __attribute__((warn_unused_result));
