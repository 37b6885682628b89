/* Who runs a job: a worker, for as long as its process lives.
 *
 * Each worker draws a number and holds a lock on that byte of a file that all workers of the
 * machine know. The kernel lets go of it whatever ends the process, so whoever asks knows at once.
 * Of workers of other machines nobody knows more than what the store says. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* "MACHINE-NUMBER", each of 16 hexadecimal digits. */
enum { JOB_OWNER_BYTES = 33, JOB_OWNER_GONE = 16, JOB_OWNER_UNSURE = 5 };

struct job_owner {
    int fd; /* owned; -1: of no file: nobody's life is known */
    char text[JOB_OWNER_BYTES + 1];
    /* For the store: workers of this machine that it has seen to be gone. */
    char gone[JOB_OWNER_GONE][JOB_OWNER_BYTES + 1];
    unsigned gone_count;
    /* It may have jobs that it does not know of, as a reply was lost; so many requests that are
     * answered from now on put that right: a server that stood still may do late what it was asked.
     */
    unsigned unsure;
    /* The store's, of its last answer: a server that went and came may have gone back, too. */
    unsigned ups;
};

/* Takes a number. `file` NULL: of no file. 0, or a negative errno with the reason. */
int job_owner_open(struct job_owner *owner, const char *file, struct err *err)
    __attribute__((warn_unused_result));
/* Lets go of it. */
void job_owner_close(struct job_owner *owner);

/* The digits of its machine. */
static inline struct str job_owner_machine(const struct job_owner *owner)
{
    return (struct str){owner->text, 16};
}

/* Is that one, of this machine, known to run no more? */
bool job_owner_is_gone(const struct job_owner *owner, struct str other);
