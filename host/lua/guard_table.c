/* The table library but for sort (guard_sort.c): counts are bounded, long loops look at the budget.
 * Metamethods work as in Lua's own. */
#include <stddef.h>

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard_parts.h"

enum { STEPS = 256 }; /* elements between two looks at the budget */

static void check_count(lua_State *L, lua_Unsigned count)
{
    if (count > LIMIT_TABLE_COUNT)
        luaL_error(L, "too many elements (at most %d)", LIMIT_TABLE_COUNT);
}

/* At element `i`: is it time to pause? */
static bool must_pause(lua_State *L, lua_Integer i)
{
    return i % STEPS == 0 && budget_step_or_pause(L);
}

/* ---- insert, remove ------------------------------------------------------------------------ */

/* Moves up what lies between the position and `end`; then there is room. Stack: list, position,
 * value. */
static int go_on_insert(lua_State *L, int status, lua_KContext end)
{
    (void)status;
    lua_Integer position = lua_tointeger(L, 2);
    for (; end > position; end--) {
        lua_geti(L, 1, end - 1);
        lua_seti(L, 1, end);
        if (must_pause(L, end))
            return budget_pause(L, end - 1, go_on_insert);
    }
    lua_seti(L, 1, position);
    return 0;
}

static int l_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer end = luaL_intop(+, guard_length(L, 1), 1);
    switch (lua_gettop(L)) {
    case 2:
        lua_seti(L, 1, end);
        return 0;
    case 3: {
        lua_Integer position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)position - 1u < (lua_Unsigned)end, 2,
                      "position out of bounds");
        check_count(L, (lua_Unsigned)end - (lua_Unsigned)position);
        return go_on_insert(L, LUA_OK, end);
    }
    default:
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
}

/* Stack: list, size, what was removed. */
static int go_on_remove(lua_State *L, int status, lua_KContext position)
{
    (void)status;
    lua_Integer size = lua_tointeger(L, 2);
    for (; position < size; position++) {
        lua_geti(L, 1, position + 1);
        lua_seti(L, 1, position);
        if (must_pause(L, position))
            return budget_pause(L, position + 1, go_on_remove);
    }
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

static int l_remove(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer size = guard_length(L, 1);
    lua_Integer position = luaL_optinteger(L, 2, size);
    if (position != size)
        luaL_argcheck(L, (lua_Unsigned)position - 1u <= (lua_Unsigned)size, 1,
                      "position out of bounds");
    if (position < size)
        check_count(L, (lua_Unsigned)size - (lua_Unsigned)position);
    lua_settop(L, 1);
    lua_pushinteger(L, size);
    lua_geti(L, 1, position);
    return go_on_remove(L, LUA_OK, position);
}

/* ---- move ---------------------------------------------------------------------------------- */

/* Stack: source, first, last, to, target. Upwards within one table the last goes first, or it would
 * be overwritten. */
static int go_on_move(lua_State *L, int status, lua_KContext done)
{
    (void)status;
    lua_Integer from = lua_tointeger(L, 2), last = lua_tointeger(L, 3), to = lua_tointeger(L, 4);
    lua_Integer count = last - from + 1;
    bool is_overlap = to > from && to <= last && lua_rawequal(L, 1, 5);
    for (lua_Integer i = done; i < count; i++) {
        lua_Integer at = is_overlap ? count - 1 - i : i;
        lua_geti(L, 1, from + at);
        lua_seti(L, 5, to + at);
        if (must_pause(L, i))
            return budget_pause(L, i + 1, go_on_move);
    }
    return 1;
}

static int l_move(lua_State *L)
{
    lua_Integer from = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_checkinteger(L, 3);
    lua_Integer to = luaL_checkinteger(L, 4);
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_isnoneornil(L, 5)) {
        lua_settop(L, 4);
        lua_pushvalue(L, 1);
    }
    luaL_checktype(L, 5, LUA_TTABLE);
    lua_settop(L, 5);
    if (last < from)
        return 1;
    luaL_argcheck(L, from > 0 || last < LUA_MAXINTEGER + from, 3, "too many elements to move");
    lua_Unsigned distance = (lua_Unsigned)last - (lua_Unsigned)from;
    check_count(L, distance + 1);
    luaL_argcheck(L, to <= LUA_MAXINTEGER - (lua_Integer)distance, 4, "destination wrap around");
    return go_on_move(L, LUA_OK, 0);
}

/* ---- concat -------------------------------------------------------------------------------- */

static void add_element(lua_State *L, luaL_Buffer *result, lua_Integer i)
{
    lua_geti(L, 1, i);
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1),
                   (LUAI_UACINT)i);
    luaL_addvalue(result);
}

/* Stack: list, gap, i, last; behind a pause, the text so far. */
static int go_on_concat(lua_State *L, int status, lua_KContext i)
{
    size_t gap_len;
    const char *gap = lua_tolstring(L, 2, &gap_len);
    lua_Integer last = lua_tointeger(L, 4);
    luaL_Buffer result;
    luaL_buffinit(L, &result);
    if (status == LUA_YIELD) {
        lua_pushvalue(L, 5);
        luaL_addvalue(&result);
        lua_pushnil(L);
        lua_replace(L, 5);
    }
    for (; i < last; i++) {
        add_element(L, &result, i);
        luaL_addlstring(&result, gap, gap_len);
        if (must_pause(L, i)) {
            luaL_pushresult(&result);
            lua_replace(L, 5);
            return budget_pause(L, i + 1, go_on_concat);
        }
    }
    if (i == last)
        add_element(L, &result, i);
    luaL_pushresult(&result);
    return 1;
}

static int l_concat(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_optstring(L, 2, "");
    lua_Integer i = luaL_optinteger(L, 3, 1);
    lua_Integer last = lua_isnoneornil(L, 4) ? guard_length(L, 1) : luaL_checkinteger(L, 4);
    if (last > i)
        check_count(L, (lua_Unsigned)last - (lua_Unsigned)i);
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_pushliteral(L, "");
    }
    lua_settop(L, 3);
    lua_pushinteger(L, last);
    lua_pushnil(L);
    return go_on_concat(L, LUA_OK, i);
}

static const luaL_Reg functions[] = {
    {"concat", l_concat}, {"insert", l_insert}, {"move", l_move},
    {"remove", l_remove}, {"sort", guard_sort}, {NULL, NULL},
};

void guard_fill_table(lua_State *L, int stock)
{
    static const char *const names[] = {"pack", "unpack", NULL}; /* bounded by Lua's stack */
    guard_copy(L, stock, names);
    luaL_setfuncs(L, functions, 0);
}
