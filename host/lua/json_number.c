/* Numbers in JSON as Lua values. The common ones, integers and floats of few digits, take a short
 * way; strtod decides the rest. */
#include "lua/json_number.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of at most 15 digits: both the digits and the power of ten are exact doubles, so one
 * division rounds right (Clinger). */
static bool push_short_float(lua_State *L, struct str text)
{
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool negative = text.ptr[0] == '-';
    size_t decimals = 0;
    int64_t digits = 0;
    if (text.len > 16)
        return false;
    for (size_t i = negative; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.')
            decimals = text.len - i - 1;
        else if (c >= '0' && c <= '9')
            digits = digits * 10 + (c - '0');
        else
            return false;
    }
    double value = (double)digits / powers[decimals];
    lua_pushnumber(L, negative ? -value : value);
    return true;
}

/* By strtod, on a copy that ends with a NUL. */
static bool push_float(lua_State *L, struct str text)
{
    if (push_short_float(L, text))
        return true;
    char room[64];
    double value;
    if (text.len < sizeof(room)) {
        memcpy(room, text.ptr, text.len);
        room[text.len] = '\0';
        value = strtod(room, NULL);
    } else {
        value = strtod(lua_pushlstring(L, text.ptr, text.len), NULL);
        lua_pop(L, 1);
    }
    if (isinf(value))
        return false;
    lua_pushnumber(L, value);
    return true;
}

/* A whole number of up to 19 digits, which 64 bits without a sign hold. False: it is a float. */
static bool push_integer(lua_State *L, lua_Unsigned value, bool negative)
{
    if (value > (lua_Unsigned)LUA_MAXINTEGER + negative || (negative && value == 0))
        return false; /* also -0, which only a float can be */
    lua_pushinteger(L, (lua_Integer)(negative ? 0u - value : value));
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The byte there, or 0 at the end. */
static char at_or_end(struct str text, size_t at)
{
    return at < text.len ? text.ptr[at] : '\0';
}

/* From `at` on; at the same place when there are none. */
static size_t skip_digits(struct str text, size_t at)
{
    while (at < text.len && is_digit(text.ptr[at]))
        at++;
    return at;
}

/* Fraction and exponent. Gives the end, or puts the place of what should be a digit in *bad and
 * gives 0. */
static size_t skip_fraction(struct str text, size_t at, size_t *bad)
{
    if (at_or_end(text, at) == '.') {
        size_t from = at + 1;
        at = skip_digits(text, from);
        *bad = from;
        if (at == from)
            return 0;
    }
    char e = at_or_end(text, at);
    if (e == 'e' || e == 'E') {
        char sign = at_or_end(text, at + 1);
        size_t from = at + 1 + (sign == '+' || sign == '-');
        at = skip_digits(text, from);
        *bad = from;
        if (at == from)
            return 0;
    }
    return at;
}

size_t json_number_push(lua_State *L, struct str text, size_t *at, const char **reason)
{
    bool negative = text.ptr[0] == '-';
    size_t first = negative, i = first;
    lua_Unsigned value = 0;
    for (; i < text.len && is_digit(text.ptr[i]); i++)
        value =
            value * 10 + (lua_Unsigned)(text.ptr[i] - '0'); /* may overflow; then it is not used */
    if (i == first || (i > first + 1 && text.ptr[first] == '0')) {
        *at = i == first ? i : first + 1;
        *reason = i == first ? "expected a digit" : "a number must not begin with 0";
        return 0;
    }
    size_t len = skip_fraction(text, i, at);
    *reason = "expected a digit";
    if (len == 0)
        return 0;
    if (len == i && len - first <= 19 && push_integer(L, value, negative))
        return len;
    *at = 0;
    *reason = "a number out of range";
    return push_float(L, (struct str){text.ptr, len}) ? len : 0;
}
