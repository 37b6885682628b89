/* The string library but for patterns (guard_match.c), and the parts of utf8 and os that could run
 * long. */
#include <ctype.h>
#include <string.h>

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard_parts.h"
#include "lua/told.h"
#include "lua/vm.h"

enum { BLOCK = 64 * 1024 }; /* bytes between two looks at the budget */

/* ---- rep ----------------------------------------------------------------------------------- */

/* Bytes that a new string may have: what the instance may hold. */
static size_t string_max(lua_State *L)
{
    size_t limit = vm_of(L)->limit;
    return limit != 0 ? limit : (size_t)INT32_MAX;
}

/* Fills `out` with its first `period` bytes over and over. */
static void repeat(lua_State *L, char *out, size_t period, size_t total)
{
    size_t filled = period;
    while (filled < total) {
        size_t step = filled < total - filled ? filled : total - filled;
        memcpy(out + filled, out, step);
        filled += step;
        budget_step(L);
    }
}

static int l_rep(lua_State *L)
{
    size_t len, gap_len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer count = luaL_checkinteger(L, 2);
    const char *gap = luaL_optlstring(L, 3, "", &gap_len);
    if (count <= 0 || len + gap_len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((size_t)count > string_max(L) / (len + gap_len) + 1)
        return luaL_error(L, "resulting string too large");
    size_t total = (size_t)count * len + (size_t)(count - 1) * gap_len;
    if (total > string_max(L))
        return luaL_error(L, "resulting string too large");
    luaL_Buffer result;
    char *out = luaL_buffinitsize(L, &result, total + gap_len);
    memcpy(out, text, len);
    memcpy(out + len, gap, gap_len);
    repeat(L, out, len + gap_len, total);
    luaL_pushresultsize(&result, total);
    return 1;
}

/* ---- byte by byte -------------------------------------------------------------------------- */

/* Makes a text of the same length by `convert`, a block at a time. */
static int map_text(lua_State *L, void (*convert)(char *out, const char *text, size_t from,
                                                  size_t count, size_t len))
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer result;
    char *out = luaL_buffinitsize(L, &result, len);
    for (size_t from = 0; from < len; from += BLOCK) {
        convert(out, text, from, len - from < BLOCK ? len - from : BLOCK, len);
        budget_step(L);
    }
    luaL_pushresultsize(&result, len);
    return 1;
}

static void lower_block(char *out, const char *text, size_t from, size_t count, size_t len)
{
    (void)len;
    for (size_t i = from; i < from + count; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
}

static void upper_block(char *out, const char *text, size_t from, size_t count, size_t len)
{
    (void)len;
    for (size_t i = from; i < from + count; i++)
        out[i] = (char)toupper((unsigned char)text[i]);
}

static void reverse_block(char *out, const char *text, size_t from, size_t count, size_t len)
{
    for (size_t i = from; i < from + count; i++)
        out[i] = text[len - 1 - i];
}

static int l_lower(lua_State *L)
{
    return map_text(L, lower_block);
}

static int l_upper(lua_State *L)
{
    return map_text(L, upper_block);
}

static int l_reverse(lua_State *L)
{
    return map_text(L, reverse_block);
}

/* ---- format -------------------------------------------------------------------------------- */

/* Upvalue: Lua's own. Each directive is short work but %q, which walks its text byte by byte. */
static int l_format(lua_State *L)
{
    size_t len;
    const char *format = luaL_checklstring(L, 1, &len);
    if (len > LIMIT_STRING_SCAN)
        return luaL_argerror(L, 1, "string too long");
    if (memmem(format, len, "%q", 2) != NULL) {
        for (int i = 2; i <= lua_gettop(L); i++) {
            if (lua_type(L, i) == LUA_TSTRING && lua_rawlen(L, i) > LIMIT_FORMAT_QUOTED)
                return luaL_argerror(L, i, "string too long for %q");
        }
    }
    budget_step(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* ---- utf8.len ------------------------------------------------------------------------------ */

/* The last byte (from 1) of a block that begins at `first`: the one behind it begins a character,
 * or those before it are more than belong to one, which Lua then finds in this block. */
static lua_Integer block_end(const char *text, lua_Integer first, lua_Integer last)
{
    enum { LONGEST = 6 };
    lua_Integer end = first + BLOCK - 1;
    for (int i = 0; i < LONGEST && end < last && ((unsigned char)text[end] & 0xc0) == 0x80; i++)
        end++;
    return end < last ? end : last;
}

static lua_Integer position(lua_State *L, int arg, lua_Integer absent, size_t len)
{
    lua_Integer at = luaL_optinteger(L, arg, absent);
    return at < 0 && -(lua_Unsigned)at <= len ? (lua_Integer)len + at + 1 : at;
}

/* Upvalue: Lua's own, called for a block at a time. */
static int l_utf8_len(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer first = position(L, 2, 1, len), last = position(L, 3, -1, len);
    budget_step(L);
    if (len <= BLOCK || first < 1 || first > last || last > (lua_Integer)len)
        return lua_tocfunction(L, lua_upvalueindex(1))(L); /* also for its errors */
    lua_settop(L, 4);
    lua_Integer count = 0;
    for (lua_Integer end; first <= last; first = end + 1) {
        end = block_end(text, first, last);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        lua_pushinteger(L, first);
        lua_pushinteger(L, end);
        lua_pushvalue(L, 4);
        lua_call(L, 4, 2);
        if (!lua_isinteger(L, -2))
            return 2;
        count += lua_tointeger(L, -2);
        lua_pop(L, 2);
        budget_step(L);
    }
    lua_pushinteger(L, count);
    return 1;
}

/* ---- os.date, os.time ---------------------------------------------------------------------- */

/* Upvalue: Lua's own, which reads the system's clock by itself. */
static int l_time(lua_State *L)
{
    if (!lua_isnoneornil(L, 1))
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    lua_pushinteger(L, (lua_Integer)lx_told_now(L));
    return 1;
}

static int l_date(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > LIMIT_DATE_FORMAT)
        return luaL_argerror(L, 1, "format too long");
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_pushinteger(L, (lua_Integer)lx_told_now(L));
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int l_clock(lua_State *L)
{
    int count = lua_tocfunction(L, lua_upvalueindex(1))(L);
    struct hook *hook = told_hook(L);
    if (hook != NULL)
        lua_pushnumber(L, lx_told_number(L, hook, "os.clock", lua_tonumber(L, -1)));
    return count;
}

/* os.getenv(name) is env[name]: what the function may see. */
static int l_getenv(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (lua_getglobal(L, "env") != LUA_TNIL)
        lua_getfield(L, -1, name);
    return 1;
}

/* ---- tables -------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"lower", l_lower}, {"rep", l_rep}, {"reverse", l_reverse}, {"upper", l_upper}, {NULL, NULL},
};

void guard_fill_string(lua_State *L, int stock)
{
    static const char *const names[] = {"byte", "char", "len", "sub", NULL};
    guard_copy(L, stock, names);
    guard_copy_bounded(L, stock, "pack", LIMIT_PACK_FORMAT);
    guard_copy_bounded(L, stock, "packsize", LIMIT_PACK_FORMAT);
    guard_copy_bounded(L, stock, "unpack", LIMIT_PACK_FORMAT);
    guard_stand_before(L, stock, "format", l_format);
    luaL_setfuncs(L, functions, 0);
}

void guard_fill_utf8(lua_State *L, int stock)
{
    static const char *const names[] = {"char", "charpattern", NULL};
    guard_copy(L, stock, names);
    guard_copy_bounded(L, stock, "codepoint", LIMIT_STRING_SCAN);
    guard_copy_bounded(L, stock, "codes", LIMIT_STRING_SCAN);
    guard_copy_bounded(L, stock, "offset", LIMIT_STRING_SCAN);
    guard_stand_before(L, stock, "len", l_utf8_len);
}

void guard_fill_os(lua_State *L, int stock)
{
    static const char *const names[] = {"difftime", NULL};
    guard_copy(L, stock, names);
    guard_stand_before(L, stock, "clock", l_clock);
    guard_stand_before(L, stock, "date", l_date);
    guard_stand_before(L, stock, "time", l_time);
    lua_pushcfunction(L, l_getenv);
    lua_setfield(L, -2, "getenv");
}
