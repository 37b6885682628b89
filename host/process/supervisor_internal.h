/* What the files of the supervisor share. */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "base/limits.h"
#include "shared/carried.h"
#include "process/heart.h"
#include "process/supervisor.h"
#include "process/upgrade.h"

struct child {
    pid_t pid; /* 0: none */
    uint64_t born_ns;
    uint64_t respawn_at_ns; /* 0: not waiting */
    unsigned failures;      /* of this place, one after the other: workers that did not serve */
    struct heart heart;
};

/* A worker that was killed while this function ran. */
struct blame {
    char name[LIMIT_RUNNING_NAME];
    uint64_t at_ns;
};

struct supervisor {
    struct blame blames[16]; /* the newest ones, in a ring */
    unsigned blame_count;
    struct supervisor_options *options;
    const struct listener *listeners;
    unsigned listener_count;
    int fds[LISTENER_MAX];  /* -1 once it takes nothing new */
    struct carried carried; /* memory that workers share, and the next program */
    struct child children[LIMIT_WORKERS];
    pid_t store_check;  /* looks at the store's file (store.h); 0: none */
    pid_t stand_in;     /* answers while no worker does (stand_in.h); 0: none */
    bool stand_in_told; /* to go */
    uint64_t served_ns; /* when a worker was last seen to serve */
    struct upgrade upgrade;
    int signal_fd;
    int keep_fds[2]; /* keeper.h */
    int kept_file;   /* the newest; -1: none */
    sigset_t old_mask;
    pid_t self;
    bool announced;
    bool stopping;
    bool refused;         /* a worker does not begin with what there is: the first start is none */
    bool told_to_stop;    /* by a signal */
    bool killed;          /* what outlasted that, which has been told */
    bool hangup_ends;     /* SIGHUP means that the terminal is gone, not a reload */
    bool reloading;       /* the service manager waits for the end of it */
    uint64_t kill_at_ns;  /* when draining takes too long */
    uint64_t watchdog_ns; /* between two signs of life for the service manager; 0: none wanted */
    uint64_t next_sign_ns;
    int status;
};

void children_spawn(struct supervisor *s, unsigned index);
void children_signal(struct supervisor *s, int signal);
/* Takes note of every worker that has ended. */
void children_reap(struct supervisor *s);
unsigned children_alive(const struct supervisor *s);
/* Looks at each heart and replaces who is dead. Returns how many are ready. */
unsigned children_check(struct supervisor *s);
