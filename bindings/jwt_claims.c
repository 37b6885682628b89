/* Helpers over claims as Lua values: claim_to_array, remove_namespaces, has_scope. Edge cases as in
 * the original. */
#include <lauxlib.h>

#include "base/str.h"
#include "bindings/jwt_internal.h"
#include "lua/json_lazy.h"
#include "lua/lazy.h"
#include "run/claims_table.h"
#include "lua/tree.h"

static bool is_absent(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ||
           (lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL);
}

/* A table is an array when json made it one, or when it has something at [1]. */
static bool is_array(lua_State *L, int index)
{
    if (!lua_istable(L, index))
        return false;
    lazy_make_plain(L, index);
    if (lua_rawlen(L, index) > 0)
        return true;
    if (!lua_getmetatable(L, index))
        return false;
    tree_push_array_mt(L);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static void push_array(lua_State *L, int size)
{
    lua_createtable(L, size, 0);
    tree_push_array_mt(L);
    lua_setmetatable(L, -2);
}

int l_jwt_claim_to_array(lua_State *L)
{
    lua_settop(L, 1);
    if (is_array(L, 1))
        return 1;
    struct str rest = {NULL, 0}, word;
    if (lua_type(L, 1) == LUA_TSTRING)
        rest.ptr = lua_tolstring(L, 1, &rest.len);
    push_array(L, (int)str_count(rest, ' ') + 1);
    if (is_absent(L, 1))
        return 1;
    if (rest.ptr == NULL) {
        lua_pushvalue(L, 1);
        lua_rawseti(L, 2, 1);
        return 1;
    }
    for (lua_Integer i = 1; str_split_next(&rest, ' ', &word); i++) {
        lua_pushlstring(L, word.ptr, word.len);
        lua_rawseti(L, 2, i);
    }
    return 1;
}

/* ---- whole words ---- */

static bool text_has_word(struct str text, struct str word)
{
    struct str part;
    while (str_split_next(&text, ' ', &part)) {
        if (str_eq(part, word))
            return true;
    }
    return false;
}

static bool list_has_word(lua_State *L, int index, struct str word)
{
    lazy_make_plain(L, index);
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= count; i++) {
        struct str item = {NULL, 0};
        if (lua_rawgeti(L, index, i) == LUA_TSTRING)
            item.ptr = lua_tolstring(L, -1, &item.len);
        bool same = item.ptr != NULL && str_eq(item, word);
        lua_pop(L, 1);
        if (same)
            return true;
    }
    return false;
}

/* Is `word` one of the whole words of the member `name` (text or list) of the claims at `index`? */
static bool claim_has_word(lua_State *L, int index, const char *name, struct str word)
{
    bool lazy = lazy_is_plain(L, index);
    lua_pushstring(L, name);
    int type = lazy ? lua_gettable(L, index) : lua_rawget(L, index); /* no metamethods of scripts */
    bool found = false;
    if (type == LUA_TSTRING) {
        struct str text;
        text.ptr = lua_tolstring(L, -1, &text.len);
        found = word.len > 0 && text_has_word(text, word);
    } else if (type == LUA_TTABLE) {
        found = list_has_word(L, lua_gettop(L), word);
    }
    lua_pop(L, 1);
    return found;
}

bool jwt_has_scope(lua_State *L, int index, struct str scope)
{
    return lua_istable(L, index) &&
           (claim_has_word(L, index, "scope", scope) || claim_has_word(L, index, "scp", scope) ||
            claim_has_word(L, index, "permissions", scope));
}

int l_jwt_has_scope(lua_State *L)
{
    struct str scope;
    scope.ptr = luaL_checklstring(L, 2, &scope.len);
    lua_pushboolean(L, jwt_has_scope(L, 1, scope));
    return 1;
}

/* ---- namespaces ---- */

enum { USUAL_CLAIMS = 12 }; /* what room is made for at once */

/* The key of the member that lua_next has left below its value; ptr NULL: not a text. */
static struct str member_name(lua_State *L)
{
    struct str name = {NULL, 0};
    if (lua_type(L, -2) == LUA_TSTRING)
        name.ptr = lua_tolstring(L, -2, &name.len);
    return name;
}

/* Copies the members without the namespace in their name. True when there are others. */
static bool copy_plain(lua_State *L, struct str ns)
{
    bool others = false;
    for (lua_pushnil(L); lua_next(L, 2) != 0;
         lua_pop(L, 1)) { /* stack: ns, claims, out, name, value */
        struct str name = member_name(L);
        if (name.ptr != NULL && str_find_text(name, ns) < name.len) {
            others = true;
            continue;
        }
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 3);
    }
    return others;
}

/* The others, where no member has the name that is left. */
static void copy_stripped(lua_State *L, struct str ns)
{
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) { /* stack: as above */
        struct str name = member_name(L);
        size_t at = name.ptr != NULL ? str_find_text(name, ns) : 0;
        if (name.ptr == NULL || at == name.len)
            continue;
        lua_pushlstring(L, name.ptr, at);
        lua_pushlstring(L, name.ptr + at + ns.len, name.len - at - ns.len);
        lua_concat(L, 2);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 3) != LUA_TNIL) {
            lua_pop(L, 2);
            continue;
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, 3);
    }
}

/* Members that never had the namespace win: no namespaced name replaces a verified claim. */
int l_jwt_remove_namespaces(lua_State *L)
{
    struct str ns;
    ns.ptr = luaL_checklstring(L, 1, &ns.len);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    if (claims_push_mapped(L, 2, &(struct sheet_map){.namespace = ns})) {
        json_lazy_wrap(L);
        return 1;
    }
    lazy_make_whole(L, 2);
    lua_createtable(L, 0, USUAL_CLAIMS);
    if (copy_plain(L, ns))
        copy_stripped(L, ns);
    return 1;
}
