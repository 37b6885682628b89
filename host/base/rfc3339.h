/* Times as RFC 3339 writes them: "2026-01-02T03:04:05Z". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Seconds since 1970, and what is over them, 0 to less than 1. A date alone is its midnight UTC;
 * a fraction and a zone ("+01:30") may be there. False: it is no such time. */
bool rfc3339_read(struct str text, int64_t *seconds, double *fraction);
