/* locate(module, path) for the functions of the host itself: where in a required file a value was
 * written, for faults that name the line. */
#pragma once

#include <lua.h>

/* "dev/auth.lua:12" for a module that is beside functions.lua and a path such as "users[2].roles"
 * in the table that it returns; raises where there is no such file. */
int l_locate(lua_State *L);
