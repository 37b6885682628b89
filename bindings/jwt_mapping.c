/* jwt.mapping: what map_claims nearly always does, declared. As it depends on the claims alone, it
 * is done once for a token that comes again. */
#include <lauxlib.h>

#include "base/limits.h"
#include "bindings/jwt_internal.h"
#include "bindings/keys.h"
#include "lua/json_lazy.h"
#include "lua/lazy.h"
#include "run/claims_table.h"

/* Upvalues of the function that maps: the settings, the table that keeps their texts, and what was
 * made last, a sheet with the serial of the sheet that it was made from. */
enum { UP_SETTINGS = 1, UP_TEXTS, UP_LAST, UP_ORIGIN };

struct settings {
    struct sheet_map map;
    bool plain; /* the names may stand in a sheet */
    struct str lists[];
};

/* Member by member, where the claims are no sheet, or none any more. */
static int map_table(lua_State *L, const struct settings *s)
{
    lua_pushcfunction(L, l_jwt_remove_namespaces);
    lua_pushlstring(L, s->map.namespace.ptr, s->map.namespace.len);
    lua_pushvalue(L, 1);
    lua_call(L, 2, 1); /* claims, result */
    for (unsigned i = 0; i < s->map.list_count; i++) {
        lua_pushlstring(L, s->lists[i].ptr, s->lists[i].len);
        lua_pushcfunction(L, l_jwt_claim_to_array);
        lua_pushvalue(L, -2);
        lua_gettable(L, 2); /* made here, so no script's metamethod is in the way */
        lua_call(L, 1, 1);
        lua_settable(L, 2);
    }
    return 1;
}

/* (claims) -> claims */
static int l_map(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const struct settings *s = lua_touserdata(L, lua_upvalueindex(UP_SETTINGS));
    const struct sheet *sheet = s->plain ? json_lazy_push_sheet(L, 1) : NULL;
    lua_settop(L, 1);
    if (sheet == NULL)
        return map_table(L, s);
    if ((uint64_t)lua_tointeger(L, lua_upvalueindex(UP_ORIGIN)) == sheet->serial) {
        lua_pushvalue(L, lua_upvalueindex(UP_LAST));
        json_lazy_wrap(L);
        return 1;
    }
    if (!claims_push_mapped(L, 1, &s->map))
        return map_table(L, s);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(UP_LAST));
    lua_pushinteger(L, (lua_Integer)sheet->serial);
    lua_replace(L, lua_upvalueindex(UP_ORIGIN));
    json_lazy_wrap(L);
    return 1;
}

bool jwt_push_mapped(lua_State *L, int map, const struct jwt_verifier *v,
                     const struct verdict *verdict)
{
    if (lua_tocfunction(L, map) != l_map)
        return false;
    const struct sheet *sheet = claims_sheet(verdict->claims, v->claim_namespace);
    lua_getupvalue(L, map, UP_ORIGIN);
    bool known = sheet != NULL && (uint64_t)lua_tointeger(L, -1) == sheet->serial;
    lua_pop(L, 1);
    if (known) {
        lua_getupvalue(L, map, UP_LAST);
        json_lazy_wrap(L);
    }
    return known;
}

/* ---- making one ---- */

/* The text on top, which stays alive with the options. [-1, +0] */
static struct str take_text(lua_State *L, const char *what)
{
    struct str text;
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "jwt.mapping: %s must be text, got %s", what, luaL_typename(L, -1));
    text.ptr = lua_tolstring(L, -1, &text.len);
    lua_pop(L, 1);
    return text;
}

/* Pushes the list of names; returns their count. [-0, +1] */
static unsigned push_lists(lua_State *L)
{
    if (lua_getfield(L, 1, "lists") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    if (!lua_istable(L, -1))
        luaL_error(L, "jwt.mapping: lists must be a list of names, got %s", luaL_typename(L, -1));
    lazy_make_plain(L, -1);
    size_t count = lua_rawlen(L, -1);
    if (count > LIMIT_MAPPED_LISTS)
        luaL_error(L, "jwt.mapping: lists has more than %d names", LIMIT_MAPPED_LISTS);
    return (unsigned)count;
}

int l_jwt_mapping(lua_State *L)
{
    static const char *const known[] = {"namespace", "lists", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lx_keys_check(L, 1, known, "jwt.mapping");
    lua_newtable(L);                /* 2: keeps the texts, whatever becomes of the options */
    unsigned count = push_lists(L); /* 3 */
    struct settings *s = lua_newuserdatauv(L, sizeof(*s) + count * sizeof(s->lists[0]), 0); /* 4 */
    *s = (struct settings){.map = {.namespace = STR(""), .lists = s->lists, .list_count = count},
                           .plain = true};
    for (unsigned i = 0; i < count; i++) {
        lua_rawgeti(L, 3, (lua_Integer)i + 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, 2, (lua_Integer)i + 1);
        s->lists[i] = take_text(L, "a name in lists");
        s->plain = s->plain && sheet_may_name(s->lists[i]);
    }
    if (lua_getfield(L, 1, "namespace") != LUA_TNIL) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, 2, (lua_Integer)count + 1);
        s->map.namespace = take_text(L, "namespace");
    }
    lua_settop(L, 4);
    lua_pushvalue(L, 2);
    lua_pushnil(L);
    lua_pushinteger(L, 0); /* no sheet's serial */
    lua_pushcclosure(L, l_map, UP_ORIGIN);
    return 1;
}
