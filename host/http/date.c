/* HTTP dates: see date.h. Made and read by hand: strftime and strptime would follow the locale. */
#include "http/date.h"

#include <string.h>
#include <time.h>

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void put_two(char *at, int value)
{
    at[0] = (char)('0' + value / 10 % 10);
    at[1] = (char)('0' + value % 10);
}

void date_format(char out[DATE_LEN], int64_t when)
{
    time_t seconds = (time_t)when;
    struct tm tm;
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", DATE_LEN);
    if (gmtime_r(&seconds, &tm) == NULL)
        return;
    memcpy(out, days + 3 * tm.tm_wday, 3);
    put_two(out + 5, tm.tm_mday);
    memcpy(out + 8, months + 3 * tm.tm_mon, 3);
    put_two(out + 12, (tm.tm_year + 1900) / 100);
    put_two(out + 14, tm.tm_year + 1900);
    put_two(out + 17, tm.tm_hour);
    put_two(out + 20, tm.tm_min);
    put_two(out + 23, tm.tm_sec);
}

struct str date_now(void)
{
    static char text[DATE_LEN] = "Thu, 01 Jan 1970 00:00:00 GMT";
    static time_t made_for = 0;
    time_t now = time(NULL);
    if (now != made_for) {
        date_format(text, now);
        made_for = now;
    }
    return (struct str){text, sizeof(text)};
}

/* ---- reading ---- */

/* Takes what `form` describes off the front: 'd' a digit (or a blank where 'b'), 'm' a month's
 * name, anything else itself. The digits go to numbers[0..], a run of them each. False: it is
 * something else. */
static bool take(struct str text, const char *form, int numbers[6], int *month)
{
    int n = -1;
    char before = ' ';
    size_t at = 0;
    for (; *form != '\0'; before = *form++) {
        if (*form == 'm') {
            struct str name = str_skip(text, at < text.len ? at : text.len);
            for (*month = 0; *month < 12; ++*month) {
                if (str_starts_with(name, (struct str){months + 3 * *month, 3}))
                    break;
            }
            at += 3;
            continue;
        }
        if (at >= text.len)
            return false;
        char c = text.ptr[at++];
        if (*form != 'd' && *form != 'b') {
            if (c != *form)
                return false;
            continue;
        }
        if (*form == 'b' && c == ' ')
            c = '0';
        if (c < '0' || c > '9')
            return false;
        if (before != 'd' && before != 'b')
            numbers[++n] = 0;
        numbers[n] = numbers[n] * 10 + (c - '0');
    }
    return at == text.len && *month < 12;
}

/* A year of two digits that seems to lie over 50 years ahead is the last one that ended so. */
static int full_year(int two)
{
    int64_t year = 1970 + (int64_t)time(NULL) / 31556952;
    int64_t full = year - year % 100 + two;
    return (int)(full > year + 50 ? full - 100 : full);
}

int64_t date_parse(struct str text)
{
    size_t comma = str_find(text, ',');
    struct str rest = str_skip(text, comma);
    int n[6] = {0}, month = 12; /* day, year, hour, minute, second; or as the form has it */
    int year, day;
    const int *clock = n + 2;
    if (comma == 3 && take(rest, ", dd m dddd dd:dd:dd GMT", n, &month)) {
        day = n[0];
        year = n[1];
    } else if (comma >= 6 && take(rest, ", dd-m-dd dd:dd:dd GMT", n, &month)) {
        day = n[0];
        year = full_year(n[1]);
    } else if (comma == text.len && text.len > 3 &&
               take(str_skip(text, 3), " m bd dd:dd:dd dddd", n, &month)) {
        day = n[0];
        year = n[4];
        clock = n + 1;
    } else {
        return -1;
    }
    if (year < 1970 || day < 1 || day > 31 || clock[0] > 23 || clock[1] > 59 || clock[2] > 60)
        return -1;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month,
                    .tm_mday = day,
                    .tm_hour = clock[0],
                    .tm_min = clock[1],
                    .tm_sec = clock[2]};
    return timegm(&tm);
}
