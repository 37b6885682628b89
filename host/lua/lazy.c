/* Tables whose members are made when they are read. */
#include "lua/lazy.h"

/* Its address is the key of the mark, which no script can name. */
static const char type_key;

void lazy_mark(lua_State *L, const struct lazy_type *type)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)type);
    lua_rawsetp(L, -2, &type_key);
}

/* NULL: no such table. */
static const struct lazy_type *type_of(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return NULL;
    lua_rawgetp(L, -1, &type_key);
    const struct lazy_type *type = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return type;
}

void lazy_make_whole(lua_State *L, int index)
{
    const struct lazy_type *type = type_of(L, index);
    if (type != NULL)
        type->make(L, lua_absindex(L, index));
}

bool lazy_is_plain(lua_State *L, int index)
{
    const struct lazy_type *type = type_of(L, index);
    return type != NULL && type->kind == LAZY_PLAIN;
}

void lazy_make_plain(lua_State *L, int index)
{
    const struct lazy_type *type = type_of(L, index);
    if (type != NULL && type->kind != LAZY_HOST)
        type->make(L, lua_absindex(L, index));
}

int lazy_next(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}
