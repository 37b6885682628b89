/* Strings in the registry. */
#include "lua/names.h"

#include <lauxlib.h>

static const char *const texts[NAME_COUNT] = {
    [NAME_BODY] = "body",
    [NAME_CLAIMS] = "claims",
    [NAME_CLIENT_CONTEXT] = "clientContext",
    [NAME_HEADERS] = "headers",
    [NAME_IDENTITY_CONTEXT] = "identityContext",
    [NAME_IS_BASE64] = "isBase64Encoded",
    [NAME_MULTI_VALUE_HEADERS] = "multiValueHeaders",
    [NAME_STATUS_CODE] = "statusCode",
    [NAME_TOKEN] = "token",
};

_Static_assert((int)NAME_COUNT <= (int)VM_NAMES, "each has a place");

void names_open(lua_State *L)
{
    for (int i = 0; i < NAME_COUNT; i++) {
        lua_pushstring(L, texts[i]);
        vm_of(L)->names[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

const char *name_text(enum name name)
{
    return texts[name];
}
