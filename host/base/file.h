/* Small files, whole. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* Is there something of that name, if only a link that leads nowhere? */
bool file_exists(const char *path);

/* Writes a new file; -EEXIST where there is one. 0 or a negative errno. */
int file_create(const char *path, struct str text) __attribute__((warn_unused_result));
