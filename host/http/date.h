/* Dates in messages (RFC 9110 5.6.7): written as IMF-fixdate, read in all three forms. */
#pragma once

#include <stdint.h>

#include "base/str.h"

enum { DATE_LEN = 29 };

/* The current date, made once a second. */
struct str date_now(void);

/* "Thu, 01 Jan 1970 00:00:00 GMT", without a NUL; `when` in seconds, LIMIT_DATE_MIN to
 * LIMIT_DATE_MAX. */
void date_format(char out[DATE_LEN], int64_t when);

/* In seconds since 1970; -1 for what is no date. */
int64_t date_parse(struct str text);
