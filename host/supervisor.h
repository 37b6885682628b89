/* The parent process: sockets that outlive a worker, N workers, their hearts, signals.
 *
 * It runs no loop of libuv and no Lua: what it does must go on working when a worker does not. A
 * worker that dies or whose loop has not turned for LIMIT_WATCHDOG is replaced. SIGTERM and SIGINT
 * drain, a second one ends at once; SIGHUP reloads. */
#ifndef LUAFN_SUPERVISOR_H
#define LUAFN_SUPERVISOR_H

#include "base/err.h"
#include "worker.h"

enum { SUPERVISOR_LISTEN_MAX = 16 };

struct supervisor_options {
    struct worker_options worker; /* `slot`, `listen_fds` are filled in here */
    unsigned workers;
};

struct listener {
    int fd;
    char url[128]; /* "http://127.0.0.1:8888" */
};

/* Binds "HOST:PORT", "[V6]:PORT" or "PORT" (port 0 picks one); `scheme` is for the
 * URL. 0, or a negative errno with the reason. */
int supervisor_bind(const char *address, const char *scheme, struct listener *out, struct err *err);

/* Runs until the end; prints "listening on URL" for each listener when the first worker is ready.
 * Returns the exit status. */
int supervisor_run(struct supervisor_options *options, const struct listener *listeners,
                   unsigned count);

#endif
