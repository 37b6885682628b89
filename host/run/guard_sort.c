/* table.sort as a merge sort, bottom up.
 *
 * The number of comparisons is bounded whatever the order function answers, nothing is read outside
 * of the list, and the sort is stable. Runs move between two scratch tables and the list is written
 * once, at the end: an error in the order function leaves it as it was. */
#include <stdbool.h>

#include "base/limits.h"
#include "run/budget.h"
#include "run/guard_parts.h"

/* Stack: list, order function or nil, then the two scratch tables. */
enum { LIST = 1, ORDER = 2, SCRATCH = 3, OTHER = 4 };
enum { RUN = 8, SMALL = 16 }; /* elements that are sorted by insertion: of many, of few */

/* Is the value at `a` less than the one at `b`? (absolute indexes) */
static bool is_less(lua_State *L, int a, int b)
{
    budget_step(L);
    if (lua_isnil(L, ORDER))
        return lua_compare(L, a, b, LUA_OPLT);
    lua_pushvalue(L, ORDER);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

/* Reads list[first+1 .. first+count], at most SMALL, onto the stack and writes them in order to
 * `to`. */
static void sort_run(lua_State *L, int to, lua_Integer first, lua_Integer count)
{
    int base = lua_gettop(L);
    for (int i = 1; i <= count; i++) {
        lua_geti(L, LIST, first + i);
        int place = i;
        while (place > 1 && is_less(L, base + i, base + place - 1))
            place--;
        if (place < i)
            lua_insert(L, base + place);
    }
    for (lua_Integer i = count; i >= 1; i--)
        lua_rawseti(L, to, first + i);
}

/* Writes the rest of a run, whose first value is on top; pops it. */
static void drain(lua_State *L, int from, int to, lua_Integer i, lua_Integer end, lua_Integer out)
{
    lua_rawseti(L, to, out++);
    for (i++; i < end; i++) {
        lua_rawgeti(L, from, i);
        lua_rawseti(L, to, out++);
    }
}

/* Merges from[low..middle-1] and from[middle..high-1] into to[low..]. */
static void merge(lua_State *L, int from, int to, lua_Integer low, lua_Integer middle,
                  lua_Integer high)
{
    lua_Integer left = low, right = middle, out = low;
    lua_rawgeti(L, from, left);
    int l = lua_gettop(L), r = l + 1;
    lua_rawgeti(L, from, right);
    for (;;) {
        if (is_less(L, r, l)) {
            lua_rawseti(L, to, out++);
            if (++right == high)
                break;
            lua_rawgeti(L, from, right);
        } else {
            lua_pushvalue(L, l);
            lua_rawseti(L, to, out++);
            if (++left == middle)
                break;
            lua_rawgeti(L, from, left);
            lua_replace(L, l);
        }
    }
    if (right == high) {
        drain(L, from, to, left, middle, out);
    } else {
        drain(L, from, to, right, high, out);
        lua_pop(L, 1);
    }
}

/* A last run without a partner. */
static void copy(lua_State *L, int from, int to, lua_Integer low, lua_Integer high)
{
    for (lua_Integer i = low; i < high; i++) {
        lua_rawgeti(L, from, i);
        lua_rawseti(L, to, i);
    }
}

/* One pass over all runs of `width`. */
static void merge_all(lua_State *L, int from, int to, lua_Integer size, lua_Integer width)
{
    for (lua_Integer low = 1; low <= size; low += 2 * width) {
        lua_Integer middle = low + width, end = size + 1;
        lua_Integer high = middle + width < end ? middle + width : end;
        if (middle >= end)
            copy(L, from, to, low, end);
        else
            merge(L, from, to, low, middle, high);
        budget_step(L);
    }
}

int guard_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer size = guard_length(L, 1);
    if (size < 2)
        return 0;
    luaL_argcheck(L, size <= LIMIT_TABLE_COUNT, 1, "array too big");
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_checkstack(L, SMALL + 4, "sort");
    bool is_plain = !lua_getmetatable(L, LIST);
    lua_settop(L, ORDER);
    if (size <= SMALL && is_plain) {
        sort_run(L, LIST, 0, size);
        return 0;
    }
    lua_createtable(L, (int)size, 0);
    lua_createtable(L, size > RUN ? (int)size : 0, 0);
    for (lua_Integer first = 0; first < size; first += RUN)
        sort_run(L, SCRATCH, first, size - first < RUN ? size - first : RUN);
    int from = SCRATCH, to = OTHER;
    for (lua_Integer width = RUN; width < size; width *= 2) {
        merge_all(L, from, to, size, width);
        int swap = from;
        from = to;
        to = swap;
    }
    for (lua_Integer i = 1; i <= size; i++) {
        lua_rawgeti(L, from, i);
        lua_seti(L, LIST, i);
        if (i % 256 == 0)
            budget_step(L);
    }
    return 0;
}
