/* For fetch: forms are written as queries are. */
#pragma once

#include <lua.h>

/* url.query under another name: its argument as application/x-www-form-urlencoded. */
int l_url_form(lua_State *L);
