/* What the guard's files share: functions taken over from Lua's own libraries, sealed tables, the
 * end of a protected call. */
#include "lua/guard_parts.h"

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard.h"
#include "lua/vm.h"

void guard_copy(lua_State *L, int stock, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_getfield(L, stock, *names);
        lua_setfield(L, -2, *names);
    }
}

void guard_stand_before(lua_State *L, int stock, const char *name, lua_CFunction function)
{
    lua_getfield(L, stock, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

static int l_bounded(lua_State *L)
{
    lua_Integer limit = lua_tointeger(L, lua_upvalueindex(2));
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > (lua_Unsigned)limit)
        return luaL_argerror(L, 1, "string too long");
    budget_step(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

void guard_copy_bounded(lua_State *L, int stock, const char *name, size_t limit)
{
    lua_getfield(L, stock, name);
    lua_pushinteger(L, (lua_Integer)limit);
    lua_pushcclosure(L, l_bounded, 2);
    lua_setfield(L, -2, name);
}

void guard_caught(lua_State *L, int status)
{
    struct budget *budget = vm_of(L)->budget;
    if (status == LUA_ERRMEM)
        budget_kill(budget, BUDGET_MEMORY);
    if (budget->end != BUDGET_RUNNING)
        budget_raise(L);
}

/* ---- sealed tables ------------------------------------------------------------------------- */

static const char sealed_key; /* metatable[&sealed_key] = the table behind */

static int l_refuse_write(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING)
        return luaL_error(L, "'%s' cannot be set: this table is read-only", lua_tostring(L, 2));
    return luaL_error(L, "this table is read-only");
}

/* pairs(sealed): `next` walks the table behind, which the script must not get hold of. */
static int l_sealed_pairs(lua_State *L)
{
    lua_getglobal(L, "next");
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

void guard_seal_with(lua_State *L)
{
    lua_newtable(L); /* table, newindex, sealed */
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -4);
    lua_rawsetp(L, -2, &sealed_key);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, l_sealed_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_replace(L, -3); /* sealed, newindex */
    lua_pop(L, 1);
}

void guard_seal(lua_State *L)
{
    lua_pushcfunction(L, l_refuse_write);
    guard_seal_with(L);
}

bool guard_push_sealed(lua_State *L, int idx)
{
    if (!lua_istable(L, idx))
        return false;
    idx = lua_absindex(L, idx);
    if (!lua_getmetatable(L, idx))
        return false;
    bool is_sealed = lua_rawgetp(L, -1, &sealed_key) == LUA_TTABLE;
    if (is_sealed)
        lua_remove(L, -2);
    else
        lua_pop(L, 2);
    return is_sealed;
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* An error that is raised again by each of n pcalls walks all frames at each: with slices, that
 * make Lua forget its own limit of 200, a kill could take minutes. */
void guard_check_frames(lua_State *L)
{
    lua_Debug frame;
    if (lua_getstack(L, LIMIT_PCALL_FRAMES, &frame))
        luaL_error(L, "stack overflow (protected call inside of %d calls)", LIMIT_PCALL_FRAMES);
}

lua_Integer guard_length(lua_State *L, int idx)
{
    if (!lua_getmetatable(L, idx))
        return (lua_Integer)lua_rawlen(L, idx);
    lua_pop(L, 1);
    return luaL_len(L, idx);
}

/* Lua's messages and traces name a library function by what they find in the registry's table of
 * loaded modules. Nothing else reads this one, and no script reaches it. */
void guard_name_module(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}
