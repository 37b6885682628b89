/* Numbers in JSON. The common ones, integers and floats of few digits, take a short way; strtod and
 * printf decide the rest. */
#include "bindings/json_number.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of at most 15 digits and few decimals, which is nearly all: `digits` and the power of ten
 * are exact, so their quotient is the double that the text stands for. */
static bool add_short_float(struct buf *out, double value)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    double magnitude = fabs(value);
    for (int decimals = 1; decimals <= 6; decimals++) {
        double digits = rint(magnitude * powers[decimals]);
        if (digits >= 1e15)
            return false;
        if (digits / powers[decimals] == magnitude) {
            buf_add_decimal(out, value < 0, (uint64_t)digits, decimals);
            return true;
        }
    }
    return false;
}

void json_number_add_float(struct buf *out, double value)
{
    bool negative_zero = value == 0 && signbit(value);
    if (fabs(value) < 9007199254740992.0 && floor(value) == value && !negative_zero) {
        buf_add_integer(out, (int64_t)value);
        return;
    }
    if (!negative_zero && add_short_float(out, value))
        return;
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_add_str(out, str_from(text));
}

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

bool json_number_push(lua_State *L, struct str text, bool whole)
{
    size_t negative = text.ptr[0] == '-';
    if (!whole || text.len - negative > 19) /* 19 digits fit into 64 bits without a sign */
        return push_float(L, text);
    lua_Unsigned value = 0;
    for (size_t i = negative; i < text.len; i++)
        value = value * 10 + (lua_Unsigned)(text.ptr[i] - '0');
    if (value > (lua_Unsigned)LUA_MAXINTEGER + negative || (negative && value == 0))
        return push_float(L, text); /* also -0, which only a float can be */
    lua_pushinteger(L, (lua_Integer)(negative ? 0u - value : value));
    return true;
}
