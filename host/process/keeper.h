/* The way of what is served (app/kept.h) from worker to supervisor, and on to the next worker: a
 * sealed file without a name, whose descriptor goes through a socket. */
#pragma once

#include "app/kept.h"

/* Two ends of a socket: [0] the supervisor's, [1] the workers'. 0 or a negative errno. */
int keeper_open(int ends[2]) __attribute__((warn_unused_result));

/* In a worker: gives it away. 0 or a negative errno: it was not taken. */
int keeper_give(int fd, struct str text) __attribute__((warn_unused_result));
/* In the supervisor: takes what has come; the newest file replaces *file (-1: none), which is the
 * caller's. */
void keeper_take(int fd, int *file);
/* In a new worker: what the file says; NULL: nothing that is any good. Closes it. */
struct kept *keeper_read(int file);
