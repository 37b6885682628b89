/* The time module: seconds since 1970 as numbers, and their text forms. */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "bindings/bindings.h"
#include "base/limits.h"
#include "http/date.h"

/* The time argument (default: now) in whole milliseconds. */
static int64_t check_millis(lua_State *L)
{
    double t = lua_isnoneornil(L, 1) ? clock_now() : luaL_checknumber(L, 1);
    luaL_argcheck(L, t >= LIMIT_DATE_MIN && t <= LIMIT_DATE_MAX, 1,
                  "not a time between the years 0 and 9999");
    return (int64_t)llround(t * 1000);
}

/* Calendar of a count of milliseconds; returns those over the whole second. */
static int split_millis(int64_t millis, struct tm *tm)
{
    int64_t rest = millis % 1000;
    if (rest < 0)
        rest += 1000;
    time_t second = (time_t)((millis - rest) / 1000);
    gmtime_r(&second, tm);
    return (int)rest;
}

static int l_http(lua_State *L)
{
    char text[DATE_LEN];
    date_format(text, (int64_t)floor((double)check_millis(L) / 1000));
    lua_pushlstring(L, text, sizeof(text));
    return 1;
}

static int l_iso(lua_State *L)
{
    struct tm tm;
    int millis = split_millis(check_millis(L), &tm);
    char text[64];
    int len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, millis);
    lua_pushlstring(L, text, (size_t)len);
    return 1;
}

static int l_monotonic(lua_State *L)
{
    lua_pushnumber(L, clock_is_set() ? clock_now() : (double)clock_monotonic_ns() / 1e9);
    return 1;
}

static int l_now(lua_State *L)
{
    lua_pushnumber(L, clock_now());
    return 1;
}

/* ---- time.parse ---- */

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

/* RFC 3339, and a date alone, which is its midnight UTC. */
static int l_parse(lua_State *L)
{
    struct str s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    struct tm tm = {0};
    double fraction = 0;
    int zone = 0;
    bool ok = take_date(&s, &tm);
    if (ok && s.len > 0)
        ok = take_one(&s, "Tt ") && take_clock(&s, &tm, &fraction) && take_zone(&s, &zone) &&
             s.len == 0;
    if (!ok) {
        luaL_pushfail(L);
        lua_pushliteral(L, "not a time like 2026-01-02T03:04:05Z");
        return 2;
    }
    time_t second = timegm(&tm) - zone;
    if (fraction > 0)
        lua_pushnumber(L, (double)second + fraction);
    else
        lua_pushinteger(L, second);
    return 1;
}

static const luaL_Reg functions[] = {
    {"http", l_http}, {"iso", l_iso},     {"monotonic", l_monotonic},
    {"now", l_now},   {"parse", l_parse}, {NULL, NULL},
};

int open_time(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
