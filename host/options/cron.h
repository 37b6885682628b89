/* When is it due? Cron expressions, in UTC.
 *
 * Five fields, "minute hour day month weekday", or six with seconds in front; or @hourly, @daily,
 * @weekly, @monthly, @yearly. A field is `*` or a list of numbers, ranges and steps ("1-5,30",
 * "8-18/2"); months and weekdays also by their English names of three letters; Sunday
 * is 0 and 7. Where day and weekday are both given (neither begins with `*`), either is enough. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct cron {
    uint64_t seconds, minutes; /* bit n: n is in the field */
    uint32_t hours, days, months;
    uint32_t weekdays;                  /* bits 0 (Sunday) to 6 */
    bool any_day_of_month, any_weekday; /* the field begins with `*` */
};

/* 0, or -EINVAL with what is wrong, and what to write instead. A day that never comes (30 February)
 * is refused. */
int cron_parse(struct str text, struct cron *out, struct err *err)
    __attribute__((warn_unused_result));

/* The first due time after `after`; both are seconds since 1970. */
int64_t cron_next(const struct cron *cron, int64_t after);
