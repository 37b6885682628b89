/* Whether a worker's loop has stopped, as seen from outside. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Of one that is late: the beat before, when it was first seen to be late, and the processor time
 * of the process then. All zeros at first. */
struct heart {
    uint64_t beat_ns, since_ns, cpu_ns;
};

/* For how long the loop of process `pid` has been stopped, that was last seen to turn at beat_ns
 * (clock_monotonic_ns); 0 where that is not long ago.
 *
 * On a machine that is too busy a loop does not turn either, and to kill its worker, which takes
 * time from others to start again, makes that worse. So all counts from when it was seen to be
 * late: we may have been kept waiting, too, as where the whole machine stands still. And of a
 * process that could run, or that the kernel makes wait for a disk (a file, memory that was
 * swapped out), only the time counts that it was given. */
uint64_t heart_stopped_ns(struct heart *heart, pid_t pid, uint64_t beat_ns);
