/* Reading times, strictly. */
#include "base/rfc3339.h"

#include <string.h>
#include <time.h>

/* Takes `count` digits off the front. */
static bool take_digits(struct str *s, size_t count, int *value)
{
    if (s->len < count)
        return false;
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return false;
        *value = *value * 10 + (s->ptr[i] - '0');
    }
    *s = str_skip(*s, count);
    return true;
}

/* Takes one of the characters of `any` off the front. */
static bool take_one(struct str *s, const char *any)
{
    if (s->len == 0 || s->ptr[0] == '\0' || strchr(any, s->ptr[0]) == NULL)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool take_date(struct str *s, struct tm *tm)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!take_digits(s, 4, &year) || !take_one(s, "-") || !take_digits(s, 2, &month) ||
        !take_one(s, "-") || !take_digits(s, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1])
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2 && day == 29 && !leap)
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    return true;
}

static bool take_clock(struct str *s, struct tm *tm, double *fraction)
{
    if (!take_digits(s, 2, &tm->tm_hour) || !take_one(s, ":") || !take_digits(s, 2, &tm->tm_min) ||
        !take_one(s, ":") || !take_digits(s, 2, &tm->tm_sec))
        return false;
    if (tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 59)
        return false;
    if (!take_one(s, "."))
        return true;
    double unit = 1;
    int digit;
    if (s->len == 0 || s->ptr[0] < '0' || s->ptr[0] > '9')
        return false;
    double digits = 0;
    while (take_digits(s, 1, &digit)) {
        if (unit < 1e9) { /* finer than a double can tell */
            digits = digits * 10 + digit;
            unit *= 10;
        }
    }
    *fraction = digits / unit;
    return true;
}

/* "Z" or "+01:30". */
static bool take_zone(struct str *s, int *seconds)
{
    *seconds = 0;
    if (take_one(s, "Zz"))
        return true;
    bool west = s->len > 0 && s->ptr[0] == '-';
    int hours, minutes;
    if (!take_one(s, "+-") || !take_digits(s, 2, &hours) || !take_one(s, ":") ||
        !take_digits(s, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

bool rfc3339_read(struct str text, int64_t *seconds, double *fraction)
{
    struct tm tm = {0};
    int zone = 0;
    *fraction = 0;
    bool ok = take_date(&text, &tm);
    if (ok && text.len > 0)
        ok = take_one(&text, "Tt ") && take_clock(&text, &tm, fraction) &&
             take_zone(&text, &zone) && text.len == 0;
    *seconds = ok ? (int64_t)timegm(&tm) - zone : 0;
    return ok;
}
