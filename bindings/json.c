/* The json module: arguments and results, the array mark. The text itself is read
 * and written by lua/json_decode.c and json_encode.c. */
#include "bindings/json.h"

#include <lauxlib.h>

#include "bindings/bindings.h"
#include "bindings/keys.h"
#include "lua/json_decode.h"
#include "lua/json_lazy.h"
#include "lua/lazy.h"
#include "lua/tree.h"

enum { SCRATCH_KEEP = 64 * 1024, INDENT_MAX = 8 };

static struct buf scratch;

struct buf *json_scratch(void)
{
    if (scratch.cap > SCRATCH_KEEP)
        buf_free(&scratch);
    buf_clear(&scratch);
    return &scratch;
}

/* ---- the module ---- */

/* json.array([t]): marks and returns t. */
static int l_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lazy_make_plain(L, 1);
    tree_push_array_mt(L);
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "the table has another metatable");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* json.decode(text [, { eager = true }]) */
static int l_decode(lua_State *L)
{
    static const char *const known[] = {"eager", NULL};
    struct str text;
    luaL_checktype(L, 1, LUA_TSTRING);
    text.ptr = lua_tolstring(L, 1, &text.len);
    bool eager = false;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lx_keys_check(L, 2, known, "json.decode");
        lua_getfield(L, 2, "eager");
        eager = lua_toboolean(L, -1);
    }
    if ((eager ? json_decode_text(L, text) : json_lazy_decode(L, 1)) != 0)
        return luaL_error(L, "json.decode: %s", lua_tostring(L, -1));
    return 1;
}

static struct json_style check_style(lua_State *L, int index)
{
    struct json_style style = {0, false};
    if (lua_isnoneornil(L, index))
        return style;
    luaL_checktype(L, index, LUA_TTABLE);
    lazy_make_whole(L, index);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "sort_keys") == 0) {
            style.sort_keys = lua_toboolean(L, -1);
        } else if (strcmp(name, "indent") == 0) {
            lua_Integer indent = lua_tointeger(L, -1);
            luaL_argcheck(L, lua_isinteger(L, -1) && indent >= 0 && indent <= INDENT_MAX, index,
                          "indent must be 0 to 8 spaces");
            style.indent = (int)indent;
        } else {
            luaL_argerror(L, index, "unknown option: indent and sort_keys are known");
        }
        lua_pop(L, 1);
    }
    return style;
}

static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct json_style style = check_style(L, 2);
    struct buf *out = json_scratch();
    if (json_encode_styled(L, 1, &style, out) != 0)
        return luaL_error(L, "json.encode: %s", lua_tostring(L, -1));
    lua_pushlstring(L, out->data, out->len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"array", l_array},
    {"decode", l_decode},
    {"encode", l_encode},
    {NULL, NULL},
};

int open_json(lua_State *L)
{
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
