/* The table library but for sort (guard_sort.c): counts are bounded, long loops look at the budget.
 * Metamethods work as in Lua's own. */
#include <stddef.h>

#include "base/limits.h"
#include "run/budget.h"
#include "run/guard_parts.h"

enum { STEPS = 256 }; /* elements between two looks at the budget */

lua_Integer guard_length(lua_State *L, int idx)
{
    if (!lua_getmetatable(L, idx))
        return (lua_Integer)lua_rawlen(L, idx);
    lua_pop(L, 1);
    return luaL_len(L, idx);
}

static void check_count(lua_State *L, lua_Unsigned count)
{
    if (count > LIMIT_TABLE_COUNT)
        luaL_error(L, "too many elements (at most %d)", LIMIT_TABLE_COUNT);
}

static void step(lua_State *L, lua_Integer i)
{
    if (i % STEPS == 0)
        budget_step(L);
}

/* ---- insert, remove ------------------------------------------------------------------------ */

static int l_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer end = luaL_intop(+, guard_length(L, 1), 1);
    switch (lua_gettop(L)) {
    case 2:
        break;
    case 3: {
        lua_Integer position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)position - 1u < (lua_Unsigned)end, 2,
                      "position out of bounds");
        check_count(L, (lua_Unsigned)end - (lua_Unsigned)position);
        for (; end > position; end--) {
            lua_geti(L, 1, end - 1);
            lua_seti(L, 1, end);
            step(L, end);
        }
        break;
    }
    default:
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, end);
    return 0;
}

static int l_remove(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer size = guard_length(L, 1);
    lua_Integer position = luaL_optinteger(L, 2, size);
    if (!lua_isnoneornil(L, 2))
        luaL_argcheck(L, (lua_Unsigned)position - 1u <= (lua_Unsigned)size, 2,
                      "position out of bounds");
    lua_geti(L, 1, position);
    if (position < size)
        check_count(L, (lua_Unsigned)size - (lua_Unsigned)position);
    for (; position < size; position++) {
        lua_geti(L, 1, position + 1);
        lua_seti(L, 1, position);
        step(L, position);
    }
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

/* ---- move ---------------------------------------------------------------------------------- */

static int l_move(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer from = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_checkinteger(L, 3);
    lua_Integer to = luaL_checkinteger(L, 4);
    int target = lua_isnoneornil(L, 5) ? 1 : 5;
    luaL_checktype(L, target, LUA_TTABLE);
    if (last >= from) {
        lua_Unsigned distance = (lua_Unsigned)last - (lua_Unsigned)from;
        luaL_argcheck(L, from > 0 || last < LUA_MAXINTEGER + from, 3, "too many elements to move");
        check_count(L, distance + 1);
        lua_Integer count = (lua_Integer)distance + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
        /* Upwards within one table the last goes first, or it would be overwritten. */
        bool is_overlap = to > from && to <= last && lua_rawequal(L, 1, target);
        for (lua_Integer i = 0; i < count; i++) {
            lua_Integer at = is_overlap ? count - 1 - i : i;
            lua_geti(L, 1, from + at);
            lua_seti(L, target, to + at);
            step(L, i);
        }
    }
    lua_pushvalue(L, target);
    return 1;
}

/* ---- concat -------------------------------------------------------------------------------- */

static void add_element(lua_State *L, luaL_Buffer *result, lua_Integer i)
{
    lua_geti(L, 1, i);
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid value (at index %I) in table for 'concat'", (LUAI_UACINT)i);
    luaL_addvalue(result);
}

static int l_concat(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t gap_len;
    const char *gap = luaL_optlstring(L, 2, "", &gap_len);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    lua_Integer last = lua_isnoneornil(L, 4) ? guard_length(L, 1) : luaL_checkinteger(L, 4);
    if (last > i)
        check_count(L, (lua_Unsigned)last - (lua_Unsigned)i);
    luaL_Buffer result;
    luaL_buffinit(L, &result);
    for (; i < last; i++) {
        add_element(L, &result, i);
        luaL_addlstring(&result, gap, gap_len);
        step(L, i);
    }
    if (i == last)
        add_element(L, &result, i);
    luaL_pushresult(&result);
    return 1;
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
