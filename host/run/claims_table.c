/* Claims whose members are made when they are read. */
#include "run/claims_table.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/json_decode.h"
#include "lua/lazy.h"
#include "lua/tree.h"
#include "lua/vm.h"

/* Its address is a key in the raw table. There is a sheet, which several tables may share, or */
static const char state_key;
/* this, with the sheet as its user value. */
struct touched {
    uint64_t no_serial; /* 0, where a sheet has its serial */
    struct claims_table table;
};

/* What the Lua state keeps in its registry. One token often comes again and again. */
enum kept { METATABLE, LAST_SHEET, LAST_TOKEN };

enum { ROOM = 4 }; /* the state, and what a script is likely to set */

/* What is there under the key; NULL: nothing. */
static void *held(lua_State *L, int index)
{
    if (!lua_istable(L, index))
        return NULL;
    lua_rawgetp(L, index, &state_key);
    void *state = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return state;
}

static bool is_sheet(const void *state)
{
    return ((const struct touched *)state)->no_serial != 0;
}

bool claims_table_view(lua_State *L, int index, struct claims_table *view)
{
    const void *state = held(L, index);
    if (state == NULL)
        return false;
    if (is_sheet(state))
        *view = (struct claims_table){.sheet = state};
    else
        *view = ((const struct touched *)state)->table;
    return true;
}

/* Of such a table: what is kept of it from now on. May raise. */
static struct claims_table *touch(lua_State *L, int index)
{
    void *state = held(L, index);
    if (!is_sheet(state))
        return &((struct touched *)state)->table;
    struct touched *new = lua_newuserdatauv(L, sizeof(*new), 1);
    *new = (struct touched){.table = {.sheet = state}};
    lua_rawgetp(L, index, &state_key);
    lua_setiuservalue(L, -2, 1);
    lua_rawsetp(L, index, &state_key);
    return &new->table;
}

/* [-0, +(0|1)] */
static bool push_kept(lua_State *L, enum kept which)
{
    int ref = vm_of(L)->claims_refs[which];
    if (ref != 0)
        lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    return ref != 0;
}

/* What is on top, which stays there. */
static void keep(lua_State *L, enum kept which)
{
    int *ref = &vm_of(L)->claims_refs[which];
    lua_pushvalue(L, -1);
    if (*ref != 0)
        lua_rawseti(L, LUA_REGISTRYINDEX, *ref);
    else
        *ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static uint64_t bit_of(int member)
{
    return UINT64_C(1) << member;
}

/* Index of the member that the string at `index` names and that is not made yet, or -1. */
static int find(lua_State *L, int index, const struct claims_table *view)
{
    struct str name;
    name.ptr = lua_tolstring(L, index, &name.len);
    int member = sheet_find(view->sheet, name);
    return member >= 0 && (view->made & bit_of(member)) == 0 ? member : -1;
}

/* [-0, +1] */
static void push_value(lua_State *L, struct str text)
{
    if (text.ptr[0] == '"' && memchr(text.ptr, '\\', text.len) == NULL) {
        lua_pushlstring(L, text.ptr + 1, text.len - 2);
        return;
    }
    if (json_decode_text(L, text) != 0)
        lua_error(L);
}

/* ---- as a script sees it ---- */

static int l_index(lua_State *L)
{
    struct claims_table view;
    if (lua_type(L, 2) != LUA_TSTRING || !claims_table_view(L, 1, &view))
        return 0;
    int member = find(L, 2, &view);
    if (member < 0)
        return 0;
    push_value(L, sheet_value(view.sheet, (unsigned)member));
    if (lua_istable(L, -1)) { /* one and the same each time */
        struct claims_table *state = touch(L, 1);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
        state->made |= bit_of(member);
    }
    return 1;
}

static int l_newindex(lua_State *L)
{
    struct claims_table *state = NULL;
    int member = -1;
    if (lua_type(L, 2) != LUA_TSTRING) {
        lazy_make_whole(L, 1);
    } else if (held(L, 1) != NULL) {
        state = touch(L, 1);
        member = find(L, 2, state);
    }
    lua_rawset(L, 1);
    if (member >= 0)
        state->made |= bit_of(member);
    else if (state != NULL)
        state->others = true;
    return 0;
}

/* The lazy_type's: of a table that is one. */
static void make_whole(lua_State *L, int index)
{
    luaL_checkstack(L, 8, NULL);
    struct claims_table *state = touch(L, index);
    for (unsigned i = 0; i < state->sheet->count; i++) {
        if ((state->made & bit_of((int)i)) != 0)
            continue;
        struct str name = sheet_name(state->sheet, i);
        lua_pushlstring(L, name.ptr, name.len);
        push_value(L, sheet_value(state->sheet, i));
        lua_rawset(L, index);
        state->made |= bit_of((int)i);
    }
    lua_pushnil(L);
    lua_setmetatable(L, index);
    lua_pushnil(L);
    lua_rawsetp(L, index, &state_key);
}

static int l_pairs(lua_State *L)
{
    lazy_make_whole(L, 1);
    lua_pushcfunction(L, lazy_next);
    lua_pushvalue(L, 1);
    return 2;
}

static void push_metatable(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"__index", l_index}, {"__newindex", l_newindex}, {"__pairs", l_pairs}, {NULL, NULL}};
    if (push_kept(L, METATABLE))
        return;
    luaL_newlib(L, functions);
    static const struct lazy_type lazy = {.make = make_whole, .kind = LAZY_PLAIN};
    lazy_mark(L, &lazy);
    keep(L, METATABLE);
}

/* ---- making one ---- */

void claims_table_wrap(lua_State *L)
{
    lua_createtable(L, 0, ROOM);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &state_key);
    push_metatable(L);
    lua_setmetatable(L, -2);
}

static void push_copy(lua_State *L, const struct sheet *sheet)
{
    memcpy(lua_newuserdatauv(L, sheet->bytes, 0), sheet, sheet->bytes);
}

static void push_sheet(lua_State *L, const struct sheet *sheet)
{
    if (push_kept(L, LAST_SHEET)) {
        if (((const struct sheet *)lua_touserdata(L, -1))->serial == sheet->serial)
            return;
        lua_pop(L, 1);
    }
    push_copy(L, sheet);
    keep(L, LAST_SHEET);
}

void claims_table_push(lua_State *L, struct claims *claims, struct str ns)
{
    const struct sheet *sheet = claims_sheet(claims, ns);
    luaL_checkstack(L, 4, NULL);
    if (sheet != NULL) {
        push_sheet(L, sheet);
        claims_table_wrap(L);
        return;
    }
    json_t *plain = claims_plain(claims, ns);
    if (plain == NULL)
        luaL_error(L, "out of memory");
    json_decref(plain); /* the claims hold it */
    tree_push(L, plain);
}

void claims_push_token(lua_State *L, struct str token)
{
    if (push_kept(L, LAST_TOKEN)) {
        struct str last;
        last.ptr = lua_tolstring(L, -1, &last.len);
        if (str_eq(last, token))
            return;
        lua_pop(L, 1);
    }
    lua_pushlstring(L, token.ptr, token.len);
    keep(L, LAST_TOKEN);
}

const struct sheet *claims_table_untouched(lua_State *L, int index)
{
    const void *state = held(L, index);
    return state != NULL && is_sheet(state) ? state : NULL;
}

bool claims_push_mapped(lua_State *L, int index, const struct sheet_map *map)
{
    const struct sheet *sheet = claims_table_untouched(L, index);
    const struct sheet *mapped = sheet != NULL ? sheet_map(sheet, map) : NULL;
    if (mapped == NULL)
        return false;
    if (mapped == sheet)
        lua_rawgetp(L, index, &state_key);
    else
        push_copy(L, mapped);
    return true;
}
