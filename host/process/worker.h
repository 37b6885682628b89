/* A worker: one process, one event loop, one app. Made by the supervisor by fork. */
#pragma once

#include "app/app.h"
#include "process/confine.h"
#include "shared/workers.h"

struct worker_options {
    struct app_options app;
    const int *listen_fds; /* borrowed; the descriptors are taken over */
    unsigned listen_count;
    bool redirects;                /* the last of them sends all to HTTPS */
    int admin_fd;                  /* taken over; -1: none */
    double drain;                  /* seconds */
    const struct confine *confine; /* borrowed: what it may do (confine.h); NULL: anything */
    struct worker_slot *slot;
    struct suspension_table *suspensions;
    struct worker_table *table;
    int keep_fd; /* taken over: the socket to who keeps what is served (keeper.h); -1: nobody */
};

/* Exit codes that the supervisor tells apart. */
enum {
    WORKER_EXIT_OK = 0,
    WORKER_EXIT_FAILED = 1,
    WORKER_EXIT_CONFIG = 3,
    WORKER_EXIT_STORE = 4 /* the file of kv must be looked at, and opened anew */
};

/* Gives up what it does not need (confine.h); before there is a second thread. NULL: nothing.
 * False: the log says why. */
bool worker_confine(const struct confine *limits);

/* What the listener at this place is for. */
enum server_door worker_door(const struct worker_options *options, unsigned i);

/* Runs until drained. The process should exit with what it returns. */
int worker_run(const struct worker_options *options);
