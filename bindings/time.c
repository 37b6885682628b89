/* The time module: seconds since 1970 as numbers, and their text forms. */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/rfc3339.h"
#include "base/str.h"
#include "bindings/bindings.h"
#include "base/limits.h"
#include "http/date.h"
#include "lua/told.h"

/* The time argument (default: now) in whole milliseconds. */
static int64_t check_millis(lua_State *L)
{
    double t = lua_isnoneornil(L, 1) ? lx_told_now(L) : luaL_checknumber(L, 1);
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
    double now = clock_is_set() ? clock_now() : (double)clock_monotonic_ns() / 1e9;
    struct hook *hook = told_hook(L);
    lua_pushnumber(L, hook == NULL ? now : lx_told_number(L, hook, "time.monotonic", now));
    return 1;
}

static int l_now(lua_State *L)
{
    lua_pushnumber(L, lx_told_now(L));
    return 1;
}

/* RFC 3339, and a date alone, which is its midnight UTC. */
static int l_parse(lua_State *L)
{
    struct str text;
    int64_t second;
    double fraction;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (!rfc3339_read(text, &second, &fraction)) {
        luaL_pushfail(L);
        lua_pushliteral(L, "not a time like 2026-01-02T03:04:05Z");
        return 2;
    }
    if (fraction > 0)
        lua_pushnumber(L, (double)second + fraction);
    else
        lua_pushinteger(L, (lua_Integer)second);
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
