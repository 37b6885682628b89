/* A lock in memory that processes share. One that dies while it holds the lock leaves it to the
 * next, with whatever is behind it as it was then: write so that any moment will do. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct shared_lock {
    pthread_mutex_t mutex;
};

/* 0 or a negative errno. Needs no clearing. */
int shared_lock_init(struct shared_lock *lock) __attribute__((warn_unused_result));
void shared_lock_take(struct shared_lock *lock);
/* False: somebody has it, maybe the caller. */
bool shared_lock_try(struct shared_lock *lock) __attribute__((warn_unused_result));
void shared_lock_give(struct shared_lock *lock);
