/* What instance.c and instance_require.c share. */
#pragma once

#include "run/instance.h"

extern const char INSTANCE_LOADED[];  /* registry: name -> value of a required file */
extern const char INSTANCE_PRELOAD[]; /* registry: name -> the script's own loader of a module */

/* Pushes the compiled chunk of a file, which is noted among the instance's, or an error message.
 * Returns a status of Lua's; does not raise but when out of memory. */
int instance_push_chunk(lua_State *L, struct instance *instance, const char *path);

/* The script's `require`. */
int instance_require(lua_State *L);
