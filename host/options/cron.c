/* Cron expressions: reading, and finding the next time. */
#include "options/cron.h"

#include <errno.h>
#include <time.h>

/* The longest gap of a date that does come: 29 February over a century without a leap day. */
enum { YEARS_MAX = 9, DAY_SECONDS = 86400 };

struct field {
    const char *name;
    unsigned min, max;
    const char *const *names; /* of `min` and on; NULL: numbers only */
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

enum { FIELD_COUNT = 6 };

static const struct field fields[FIELD_COUNT] = {
    {"second", 0, 59, NULL}, {"minute", 0, 59, NULL},       {"hour", 0, 23, NULL},
    {"day", 1, 31, NULL},    {"month", 1, 12, month_names}, {"weekday", 0, 7, weekday_names},
};

/* ---- reading ---- */

static int read_value(const struct field *field, struct str text, unsigned *out, struct err *err)
{
    uint64_t number;
    for (unsigned i = 0; field->names != NULL && field->names[i] != NULL; i++) {
        if (str_eq_nocase(text, str_from(field->names[i]))) {
            *out = field->min + i;
            return 0;
        }
    }
    if (str_to_u64(text, field->max, &number) == 0 && number >= field->min) {
        *out = (unsigned)number;
        return 0;
    }
    return err_set(err, -EINVAL, "'%.*s' is no %s: write %u to %u%s%s", STR_ARG(text), field->name,
                   field->min, field->max, field->names != NULL ? ", or a name such as " : "",
                   field->names != NULL ? field->names[1] : "");
}

/* "*", "5", "1-5". */
static int read_range(const struct field *field, struct str text, unsigned *first, unsigned *last,
                      struct err *err)
{
    if (str_eq(text, STR("*"))) {
        *first = field->min;
        *last = field->max;
        return 0;
    }
    size_t dash = str_find(text, '-');
    struct str from = {text.ptr, dash};
    int rc = read_value(field, from, first, err);
    if (rc != 0)
        return rc;
    *last = *first;
    if (dash == text.len)
        return 0;
    rc = read_value(field, str_skip(text, dash + 1), last, err);
    if (rc == 0 && field->max == 7 && *last == 0 && *first > 0)
        *last = 7; /* sat-sun */
    if (rc == 0 && *first > *last)
        rc = err_set(err, -EINVAL, "the %s '%.*s' runs backwards: write the smaller one first",
                     field->name, STR_ARG(text));
    return rc;
}

/* One member of a list: a range, with a step or without. */
static int read_part(const struct field *field, struct str text, uint64_t *bits, struct err *err)
{
    size_t slash = str_find(text, '/');
    struct str range = {text.ptr, slash};
    uint64_t step = 1;
    unsigned first, last;
    int rc = read_range(field, range, &first, &last, err);
    if (rc != 0)
        return rc;
    if (slash < text.len) {
        if (str_to_u64(str_skip(text, slash + 1), field->max, &step) != 0 || step == 0)
            return err_set(err, -EINVAL, "the step of the %s '%.*s' is not 1 to %u", field->name,
                           STR_ARG(text), field->max);
        if (first == last)
            return err_set(
                err, -EINVAL, "the %s '%.*s' has a step without a range: write %u-%u/%u or */%u",
                field->name, STR_ARG(text), first, field->max, (unsigned)step, (unsigned)step);
    }
    for (unsigned value = first; value <= last; value += (unsigned)step)
        *bits |= (uint64_t)1 << value;
    return 0;
}

static int read_field(const struct field *field, struct str text, uint64_t *bits, struct err *err)
{
    struct str part;
    *bits = 0;
    while (str_split_next(&text, ',', &part)) {
        int rc = read_part(field, part, bits, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static struct str expand_name(struct str text)
{
    static const char *const names[][2] = {
        {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@weekly", "0 0 * * 0"},
        {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq(text, str_from(names[i][0])))
            return str_from(names[i][1]);
    }
    return text;
}

/* Fields are parted by any number of spaces. */
static unsigned split_fields(struct str text, struct str out[FIELD_COUNT])
{
    unsigned count = 0;
    struct str part;
    while (str_split_next(&text, ' ', &part)) {
        if (part.len == 0)
            continue;
        if (count < FIELD_COUNT)
            out[count] = part;
        count++;
    }
    return count;
}

int cron_parse(struct str text, struct cron *out, struct err *err)
{
    struct str parts[FIELD_COUNT] = {STR("0")};
    uint64_t bits[FIELD_COUNT];
    text = expand_name(str_trim(text));
    if (text.len > 0 && text.ptr[0] == '@')
        return err_set(err, -EINVAL,
                       "'%.*s' is not one of @hourly, @daily, @weekly, @monthly, @yearly",
                       STR_ARG(text));
    struct str found[FIELD_COUNT];
    unsigned count = split_fields(text, found);
    if (count != FIELD_COUNT - 1 && count != FIELD_COUNT)
        return err_set(err, -EINVAL,
                       "'%.*s' has %u field%s; write five, minute hour day month weekday, as in "
                       "\"*/5 * * * *\", or six with seconds first",
                       STR_ARG(text), count, count == 1 ? "" : "s");
    memcpy(parts + FIELD_COUNT - count, found, count * sizeof(found[0]));
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        int rc = read_field(&fields[i], parts[i], &bits[i], err);
        if (rc != 0)
            return rc;
    }
    *out = (struct cron){
        .seconds = bits[0],
        .minutes = bits[1],
        .hours = (uint32_t)bits[2],
        .days = (uint32_t)bits[3],
        .months = (uint32_t)bits[4],
        .weekdays = (uint32_t)((bits[5] | bits[5] >> 7) & 0x7f),
        .any_day_of_month = parts[3].ptr[0] == '*',
        .any_weekday = parts[5].ptr[0] == '*',
    };
    if (cron_next(out, 0) < 0)
        return err_set(err, -EINVAL, "'%.*s' names a day that never comes", STR_ARG(text));
    return 0;
}

/* ---- the next time ---- */

static bool has(uint64_t bits, int value)
{
    return (bits >> value & 1) != 0;
}

static bool day_fits(const struct cron *c, const struct tm *tm)
{
    bool day = has(c->days, tm->tm_mday), weekday = has(c->weekdays, tm->tm_wday);
    return (c->any_day_of_month || c->any_weekday) ? day && weekday : day || weekday;
}

/* Midnight of the next day, or of the first day of the next month. */
static int64_t skip_day(struct tm tm, bool month)
{
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_mday = month ? 1 : tm.tm_mday + 1;
    tm.tm_mon += month;
    return timegm(&tm);
}

int64_t cron_next(const struct cron *c, int64_t after)
{
    int64_t at = after + 1;
    int64_t end = at + (int64_t)YEARS_MAX * 366 * DAY_SECONDS;
    while (at < end) {
        time_t seconds = (time_t)at;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        if (!has(c->months, tm.tm_mon + 1))
            at = skip_day(tm, true);
        else if (!day_fits(c, &tm))
            at = skip_day(tm, false);
        else if (!has(c->hours, tm.tm_hour))
            at += 3600 - tm.tm_min * 60 - tm.tm_sec;
        else if (!has(c->minutes, tm.tm_min))
            at += 60 - tm.tm_sec;
        else if (!has(c->seconds, tm.tm_sec))
            at++;
        else
            return at;
    }
    return -1;
}
