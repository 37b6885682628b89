/* The names that C looks up in a script's tables at every request, kept in each state: pushing one
 * is a look-up by number, where lua_pushstring hashes and compares its text. */
#pragma once

#include "lua/vm.h"

enum name {
    NAME_BODY,
    NAME_CLAIMS,
    NAME_CLIENT_CONTEXT,
    NAME_HEADERS,
    NAME_IDENTITY_CONTEXT,
    NAME_IS_BASE64,
    NAME_MULTI_VALUE_HEADERS,
    NAME_STATUS_CODE,
    NAME_TOKEN,
    NAME_COUNT
};

/* Once for a new state. May raise. */
void names_open(lua_State *L);

/* The text; static. */
const char *name_text(enum name name);

/* [-0, +1], never raises */
static inline void name_push(lua_State *L, enum name name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->names[name]);
}
