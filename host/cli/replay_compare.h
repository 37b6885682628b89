/* What a replay gave, beside what was recorded. */
#pragma once

#include <jansson.h>

#include "cli/local.h"
#include "journal/replayer.h"

/* Prints where they differ; as JSON: {"same","calls","status","body","differences":[{"what","was",
 * "is"}]}, or with "another_way". EXIT_GOOD where they do not. */
int replay_compare(const json_t *record, struct replayer *replayer, struct local_call *call,
                   bool as_json);
