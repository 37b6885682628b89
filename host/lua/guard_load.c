/* load: as Lua's own, but for text only; its reader may be suspended. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "lua/budget.h"
#include "lua/chain.h"
#include "lua/chunk.h"
#include "lua/guard.h"
#include "lua/guard_parts.h"

/* Stack while a reader is asked: */
enum { READER = 1, NAME, MODE, ENV, HAS_ENV, PIECES, VALUES };

/* The error is on top. */
static int give_error(lua_State *L)
{
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int give_too_long(lua_State *L)
{
    lua_pushfstring(L, "text to load is too long (at most %d bytes)", LIMIT_SCRIPT_BYTES);
    return give_error(L);
}

/* `why` begins with a line number; before it comes what Lua's messages call the chunk. */
static int give_refusal(lua_State *L, const char *name, const char *why)
{
    lua_Debug about;
    if (luaL_loadbufferx(L, "", 0, name, "t") != LUA_OK)
        return lua_error(L); /* out of memory */
    lua_getinfo(L, ">S", &about);
    lua_pushfstring(L, "%s:%s", about.short_src, why);
    return give_error(L);
}

/* The text is on top; its name, mode and environment are where load has them. */
static int load_text(lua_State *L, const char *default_name)
{
    struct str text;
    text.ptr = lua_tolstring(L, -1, &text.len);
    const char *name = luaL_optstring(L, NAME, default_name != NULL ? default_name : text.ptr);
    const char *mode = luaL_optstring(L, MODE, "bt");
    if (strchr(mode, 't') == NULL && !str_starts_with(text, STR(LUA_SIGNATURE))) {
        lua_pushfstring(L, "attempt to load a text chunk (mode is '%s')", mode);
        return give_error(L);
    }
    struct err err;
    if (text.len > LIMIT_SCRIPT_BYTES)
        return give_too_long(L);
    if (chain_check(text, &err) != 0)
        return give_refusal(L, name, err.text);
    int status = chunk_load(L, text, name);
    if (status != LUA_OK) {
        guard_caught(L, status);
        return give_error(L);
    }
    if (lua_toboolean(L, HAS_ENV)) {
        lua_pushvalue(L, ENV);
        lua_setupvalue(L, -2, 1);
    }
    return 1;
}

/* Joins the pieces. Readers are called before the parser runs, not in it. */
static int load_pieces(lua_State *L)
{
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    lua_Integer count = (lua_Integer)lua_rawlen(L, PIECES);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, PIECES, i);
        luaL_addvalue(&text);
        budget_step(L);
    }
    luaL_pushresult(&text);
    return load_text(L, "=(load)");
}

/* The reader has given something, on top, or failed. `context`: bytes so far. */
static int take_piece(lua_State *L, int status, lua_KContext context)
{
    for (;;) {
        size_t len = 0;
        if (status != LUA_OK && status != LUA_YIELD) {
            guard_caught(L, status);
            return give_error(L);
        }
        if (!lua_isnil(L, VALUES) && lua_tolstring(L, VALUES, &len) == NULL) {
            luaL_where(L, 1);
            lua_pushliteral(L, "reader function must return a string");
            lua_concat(L, 2);
            return give_error(L);
        }
        if (len == 0)
            break;
        context += (lua_KContext)len;
        if (context > LIMIT_SCRIPT_BYTES)
            return give_too_long(L);
        lua_rawseti(L, PIECES, (lua_Integer)lua_rawlen(L, PIECES) + 1);
        lua_pushvalue(L, READER);
        status = lua_pcallk(L, 0, 1, 0, context, take_piece);
    }
    lua_settop(L, PIECES);
    return load_pieces(L);
}

int guard_load(lua_State *L)
{
    bool from_text = lua_isstring(L, 1);
    if (!from_text)
        luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_optstring(L, NAME, NULL);
    luaL_optstring(L, MODE, NULL);
    bool has_env = !lua_isnone(L, ENV);
    lua_settop(L, ENV);
    lua_pushboolean(L, has_env);
    if (from_text) {
        lua_pushvalue(L, 1);
        return load_text(L, NULL);
    }
    guard_check_frames(L);
    lua_newtable(L);
    lua_pushvalue(L, READER);
    return take_piece(L, lua_pcallk(L, 0, 1, 0, 0, take_piece), 0);
}
