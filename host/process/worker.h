/* A worker: one process, one event loop, one app. Made by the supervisor by fork. */
#ifndef LUAFN_PROCESS_WORKER_H
#define LUAFN_PROCESS_WORKER_H

#include <stdatomic.h>

#include "app/app.h"
#include "process/confine.h"

/* What a worker tells its supervisor, in memory that both see. */
struct worker_slot {
    _Atomic uint64_t
        heartbeat_ns;      /* CLOCK_MONOTONIC, written each time the loop's clock timer fires */
    _Atomic int ready;     /* 1: it serves */
    _Atomic int reloading; /* set with a SIGHUP, cleared when that has come to an end */
    _Atomic int last;      /* set before a SIGTERM after which nobody has these sockets */
    char running[VM_NAME_BYTES]; /* the function that runs right now; empty: none */
};

enum { SUSPENSIONS_MAX = 32 };

/* Functions that hung workers again and again. Written by the supervisor; `content` by the first
 * worker that reads it. */
struct suspension {
    _Atomic int active;
    char name[VM_NAME_BYTES];
    _Atomic uint64_t content; /* hash of the files at that time; when they change it is over */
};

struct worker_options {
    struct app_options app;
    const int *listen_fds; /* borrowed; the descriptors are taken over */
    unsigned listen_count;
    int admin_fd;                  /* taken over; -1: none */
    double drain;                  /* seconds */
    const struct confine *confine; /* borrowed: what it may do (confine.h); NULL: anything */
    struct worker_slot *slot;
    struct suspension *suspensions; /* SUSPENSIONS_MAX; NULL: none */
};

/* Exit codes that the supervisor tells apart. */
enum { WORKER_EXIT_OK = 0, WORKER_EXIT_FAILED = 1, WORKER_EXIT_CONFIG = 3 };

/* Runs until drained. The process should exit with what it returns. */
int worker_run(const struct worker_options *options);

#endif
