/* What a replay gave, beside what was recorded. */
#pragma once

#include "run/rerun.h"

/* Prints where they differ; as JSON: {"same","calls","status","body","differences":[{"what","was",
 * "is"}]}, or with "another_way". EXIT_GOOD where they do not. */
int replay_compare(const struct rerun *run, bool as_json);
