/* table.sort as a merge sort, bottom up.
 *
 * The number of comparisons is bounded whatever the order function answers, nothing is read outside
 * of the list, and the sort is stable. Runs move between two scratch lists and the list is written
 * once, at the end: an error in the order function leaves it as it was. A scratch list is a table
 * of pieces that are made when they are reached: to make a table of a million fields at once takes
 * longer than a request may be late at its limit, and cannot be interrupted.
 *
 * Where it stands lies in a userdata, and the values that it holds stay on the stack: the order
 * function may be suspended, and the sort itself between two comparisons. */
#include <stdbool.h>
#include <string.h>

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard_parts.h"

/* Stack: list, order function or nil, struct sort, two scratch lists, then the values of the run
 * that is being sorted or merged. */
enum { LIST = 1, ORDER = 2, SORT = 3, SCRATCH = 4, OTHER = 5, VALUES = 6 };
enum { RUN = 8, SMALL = 16 }; /* elements that are sorted by insertion: of many, of few */
enum { PIECE = 131072 };      /* elements of a piece of a scratch list */
enum { COPIED = 256 };        /* elements between two looks at the clock */

struct sort {
    lua_Integer size;
    lua_Integer low, high; /* the run, or two to merge, is [low, high) */
    /* Insertion: value number `next` of the run has come down to `place`. width is 0. */
    int next, place;
    /* Merging: runs of `width` from `from` to `to`; [left, middle) and [right, high) are left. */
    lua_Integer width, left, middle, right, out;
    int from, to;
    bool has_order;
};

/* ---- scratch lists ------------------------------------------------------------------------- */

/* A list that fits in one piece is the piece. */
static bool has_pieces(const struct sort *sort)
{
    return sort->size > PIECE;
}

static void push_piece(lua_State *L, const struct sort *sort, int list, lua_Integer number)
{
    if (lua_rawgeti(L, list, number) != LUA_TNIL)
        return;
    lua_Integer left = sort->size - (number - 1) * PIECE;
    lua_pop(L, 1);
    lua_createtable(L, (int)(left < PIECE ? left : PIECE), 0);
    lua_pushvalue(L, -1);
    lua_rawseti(L, list, number);
}

static void fetch_from_piece(lua_State *L, int list, lua_Integer i)
{
    lua_rawgeti(L, list, (i - 1) / PIECE + 1);
    lua_rawgeti(L, -1, (i - 1) % PIECE + 1);
    lua_replace(L, -2);
}

static void store_in_piece(lua_State *L, const struct sort *sort, int list, lua_Integer i)
{
    push_piece(L, sort, list, (i - 1) / PIECE + 1);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (i - 1) % PIECE + 1);
    lua_pop(L, 1);
}

/* [-0, +1] */
static inline void fetch(lua_State *L, const struct sort *sort, int list, lua_Integer i)
{
    if (has_pieces(sort))
        fetch_from_piece(L, list, i);
    else
        lua_rawgeti(L, list, i);
}

/* [-1, +0] */
static inline void store(lua_State *L, const struct sort *sort, int list, lua_Integer i)
{
    if (has_pieces(sort))
        store_in_piece(L, sort, list, i);
    else
        lua_rawseti(L, list, i);
}

/* ---- insertion ----------------------------------------------------------------------------- */

/* The run's first value is on the stack; the others come as they are inserted. */
static void begin_run(lua_State *L, struct sort *sort, lua_Integer low)
{
    lua_Integer length = sort->size <= SMALL ? SMALL : RUN, left = sort->size + 1 - low;
    sort->low = low;
    sort->high = low + (left < length ? left : length);
    sort->next = 0;
    sort->place = 0;
    lua_settop(L, VALUES - 1);
}

static void end_run(lua_State *L, const struct sort *sort)
{
    for (lua_Integer i = sort->high - 1; i >= sort->low; i--)
        store(L, sort, sort->to, i);
}

/* Takes the next value whose place is open; false when all are in order. */
static bool next_insertion(lua_State *L, struct sort *sort)
{
    while (sort->place == 0) {
        if (sort->low + sort->next == sort->high) {
            end_run(L, sort);
            if (sort->high > sort->size)
                return false;
            begin_run(L, sort, sort->high);
        }
        lua_geti(L, LIST, sort->low + sort->next);
        sort->place = sort->next++;
    }
    return true;
}

static void insert(lua_State *L, struct sort *sort, bool is_less)
{
    if (is_less)
        sort->place--;
    if (is_less && sort->place > 0)
        return;
    if (sort->place < sort->next - 1)
        lua_insert(L, VALUES + sort->place);
    sort->place = 0;
}

/* ---- merging ------------------------------------------------------------------------------- */

static lua_Integer smaller(lua_Integer a, lua_Integer b)
{
    return a < b ? a : b;
}

/* While both runs have values left their first ones are on the stack. */
static bool has_both(const struct sort *sort)
{
    return sort->left < sort->middle && sort->right < sort->high;
}

/* The next two runs, of which the second may be empty; false when all are merged. */
static bool begin_merge(lua_State *L, struct sort *sort, lua_Integer low)
{
    lua_settop(L, VALUES - 1);
    if (low > sort->size) {
        int from = sort->from;
        sort->from = sort->to;
        sort->to = from;
        sort->width *= 2;
        low = 1;
        if (sort->width >= sort->size)
            return false;
    }
    sort->low = sort->left = sort->out = low;
    sort->middle = sort->right = smaller(low + sort->width, sort->size + 1);
    sort->high = smaller(sort->middle + sort->width, sort->size + 1);
    if (has_both(sort)) {
        fetch(L, sort, sort->from, sort->left);
        fetch(L, sort, sort->from, sort->right);
    }
    return true;
}

/* Stack: left value, right value. */
static bool merge(lua_State *L, struct sort *sort, bool is_right)
{
    int taken = is_right ? VALUES + 1 : VALUES;
    lua_Integer *next = is_right ? &sort->right : &sort->left;
    lua_pushvalue(L, taken);
    store(L, sort, sort->to, sort->out++);
    if (++*next < (is_right ? sort->high : sort->middle)) {
        fetch(L, sort, sort->from, *next);
        lua_replace(L, taken);
    }
    return true;
}

/* A part of what is left of one of two runs. */
static bool copy(lua_State *L, struct sort *sort)
{
    lua_Integer *next = sort->left < sort->middle ? &sort->left : &sort->right;
    lua_Integer end = smaller(*next + COPIED, next == &sort->left ? sort->middle : sort->high);
    while (*next < end) {
        fetch(L, sort, sort->from, (*next)++);
        store(L, sort, sort->to, sort->out++);
    }
    return sort->out < sort->high || begin_merge(L, sort, sort->high);
}

/* ---- the sort ------------------------------------------------------------------------------ */

static int go_on_answered(lua_State *L, int status, lua_KContext context);
static int go_on_paused(lua_State *L, int status, lua_KContext context);

/* Is the value at `a` less than the one at `b`? */
static bool is_less(lua_State *L, const struct sort *sort, int a, int b)
{
    if (!sort->has_order)
        return lua_compare(L, a, b, LUA_OPLT);
    lua_pushvalue(L, ORDER);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_callk(L, 2, 1, 0, go_on_answered);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static bool ask(lua_State *L, const struct sort *sort)
{
    if (sort->width > 0)
        return is_less(L, sort, VALUES + 1, VALUES);
    return is_less(L, sort, VALUES + sort->next - 1, VALUES + sort->place - 1);
}

/* Takes an answer; false when there is nothing more to ask. */
static bool take(lua_State *L, struct sort *sort, bool is)
{
    if (sort->width > 0)
        return merge(L, sort, is);
    insert(L, sort, is);
    if (next_insertion(L, sort))
        return true;
    if (sort->size <= SMALL)
        return false;
    sort->from = SCRATCH;
    sort->to = OTHER;
    sort->width = RUN;
    return begin_merge(L, sort, 1);
}

static int write_list(lua_State *L, int status, lua_KContext first)
{
    (void)status;
    const struct sort *sort = lua_touserdata(L, SORT);
    for (lua_Integer i = first; i <= sort->size; i++) {
        fetch(L, sort, sort->from, i);
        lua_seti(L, LIST, i);
        if (i % COPIED == 0 && budget_step_or_pause(L))
            return budget_pause(L, i + 1, write_list);
    }
    return 0;
}

static int run(lua_State *L, struct sort *sort, bool is_open)
{
    while (is_open) {
        if (budget_step_or_pause(L))
            return budget_pause(L, 0, go_on_paused);
        bool is_asking = sort->width == 0 || has_both(sort);
        is_open = is_asking ? take(L, sort, ask(L, sort)) : copy(L, sort);
    }
    return sort->to == LIST ? 0 : write_list(L, LUA_OK, 1);
}

static int go_on_paused(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return run(L, lua_touserdata(L, SORT), true);
}

static int go_on_answered(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct sort *sort = lua_touserdata(L, SORT);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return run(L, sort, take(L, sort, is));
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
    luaL_checkstack(L, SMALL + 8, "sort");
    lua_settop(L, ORDER); /* first: a metatable must not come to lie in the place of the order */
    bool is_direct = size <= SMALL && !lua_getmetatable(L, LIST);
    lua_settop(L, ORDER);
    struct sort *sort = lua_newuserdatauv(L, sizeof(*sort), 0);
    memset(sort, 0, sizeof(*sort));
    sort->size = size;
    sort->has_order = !lua_isnil(L, ORDER);
    sort->from = SCRATCH; /* of write_list, when there is but one run */
    sort->to = is_direct ? LIST : SCRATCH;
    int first = (int)(has_pieces(sort) ? (size - 1) / PIECE + 1 : size);
    for (int list = SCRATCH; list <= OTHER; list++) {
        if (is_direct || (list == OTHER && size <= SMALL))
            lua_pushnil(L);
        else
            lua_createtable(L, first, 0);
    }
    begin_run(L, sort, 1);
    return run(L, sort, next_insertion(L, sort));
}
