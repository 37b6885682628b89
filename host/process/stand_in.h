/* Who answers while no worker serves: every request gets 503 and Retry-After, so that nobody waits
 * for nothing. A process of its own that loads nothing: what ends workers does not end it. */
#pragma once

#include "process/worker.h"

/* Runs until a worker serves, or SIGTERM. The process should exit with what it returns. */
int stand_in_run(const struct worker_options *options);
