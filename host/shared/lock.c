/* A lock that processes share: a robust mutex. */
#include "shared/lock.h"

#include <errno.h>

int shared_lock_init(struct shared_lock *lock)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);
    if (rc != 0)
        return -rc;
    rc = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (rc == 0)
        rc = pthread_mutex_init(&lock->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -rc;
}

void shared_lock_take(struct shared_lock *lock)
{
    if (pthread_mutex_lock(&lock->mutex) == EOWNERDEAD)
        pthread_mutex_consistent(&lock->mutex);
}

bool shared_lock_try(struct shared_lock *lock)
{
    int rc = pthread_mutex_trylock(&lock->mutex);
    if (rc == EOWNERDEAD)
        rc = pthread_mutex_consistent(&lock->mutex);
    return rc == 0;
}

void shared_lock_give(struct shared_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}
