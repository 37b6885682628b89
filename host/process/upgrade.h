/* Another program takes over, without a lost connection.
 *
 * The supervisor starts the program anew (the file of argv[0], which may have been replaced) with
 * the sockets that listen and the carried memory as descriptors, and $LUAFN_UPGRADE that says which
 * is which. When all workers of the new one serve, it writes a byte to a pipe; only then the old
 * one takes nothing new and lets what runs end. Whatever goes wrong before that byte leaves the old
 * one as it was. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "process/listener.h"

enum upgrade_state {
    UPGRADE_NONE,
    UPGRADE_STARTING, /* the new program loads */
    UPGRADE_DONE,     /* it serves */
};

struct upgrade {
    enum upgrade_state state;
    pid_t pid;
    int ready_fd; /* owned; while STARTING */
    uint64_t deadline_ns;
    int exit_status; /* as of waitpid; when `ended` */
    bool ended;      /* the new program has ended */
};

/* What is handed over. */
struct inherited {
    int listen_fds[LISTENER_MAX];
    unsigned listen_count;
    bool foreign;                       /* as in supervisor.h */
    int admin_fd, carried_fd, ready_fd; /* -1: none */
};

/* Starts it. False when it cannot be (the log says why). */
bool upgrade_begin(struct upgrade *upgrade, char *const *argv, const struct inherited *what,
                   const sigset_t *mask);
/* Looks at how far it is, and gives up at the deadline. True once: when the new one serves. */
bool upgrade_check(struct upgrade *upgrade);
/* For every process that was waited for. */
void upgrade_on_exit(struct upgrade *upgrade, pid_t pid, int status);
/* In a worker: it is none of its business. */
void upgrade_forget(struct upgrade *upgrade);

/* In the new program: reads the variable, and takes it out of the environment. False when there is
 * none, or it is not for this process. */
bool upgrade_inherited(struct inherited *out);
/* In the new program: it serves. Closes the descriptor. */
void upgrade_tell_ready(int fd);
