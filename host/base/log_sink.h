/* Where log lines go: stdout and stderr, without waiting for whoever reads them.
 *
 * A pipe whose reader has stalled would stop the loop in write(2). So pipes and terminals are
 * opened once more without blocking (the flag belongs to the description, which others share), and
 * sockets are asked not to wait. Lines for which there is no room within a moment are lost. */
#pragma once

#include <stdint.h>

#include "base/str.h"

/* Opens what has to be opened: early, as it takes the rights that the process began with. Without,
 * lines go out all the same, but may wait. */
void log_sink_open(void);

/* Writes whole lines to STDOUT_FILENO or STDERR_FILENO. Returns how many of them were lost. */
uint64_t log_sink_write(int fd, struct str lines);
