/* A test from a record: share/record.lua. */
#pragma once

#include <jansson.h>

#include "base/str.h"

/* Writes NAME_ID_test.lua into `folder`, sees to it that it passes, and prints where it is.
 * EXIT_GOOD, or EXIT_FAULT with why there is none. */
int replay_test_write(const char *config_file, struct str folder, struct str line);
