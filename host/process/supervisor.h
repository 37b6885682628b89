/* The parent process: sockets that outlive a worker, N workers, their hearts, signals.
 *
 * It runs no loop of libuv and no Lua: what it does must go on working when a worker does not. A
 * worker that dies or whose loop has not turned for LIMIT_WATCHDOG is replaced. SIGTERM and SIGINT
 * drain, a second one ends at once; SIGHUP reloads; SIGUSR2 lets another program take over
 * (upgrade.h). */
#pragma once

#include "process/listener.h"
#include "process/worker.h"

struct supervisor_options {
    /* `slot`, `listen_fds` are filled in here; `config` is borrowed: each process has its copy */
    struct worker_options worker;
    unsigned workers;
    bool foreign;             /* the sockets are a service manager's, which goes on listening */
    char **argv;              /* of the program; NULL: it cannot be upgraded */
    int carried_fd, ready_fd; /* of the program before, in an upgrade (upgrade.h); -1: none */
};

/* Runs until the end; prints "listening on URL" for each listener when the first worker is ready.
 * Returns the exit status. */
int supervisor_run(struct supervisor_options *options, const struct listener *listeners,
                   unsigned count);
