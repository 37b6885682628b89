/* The modules that scripts see, in one list. run/ never names a binding: the list is passed in. */
#pragma once

#include <lua.h>

#include "lua/sandbox.h"

/* Ends with a NULL name. */
extern const struct binding bindings[];

/* What functions of the program itself have, too. */
extern const struct binding bindings_own[];

/* One opener a file: pushes the module's table (or function). */
int open_after_response(lua_State *L);
int open_base64(lua_State *L);
int open_channel(lua_State *L);
int open_crypto(lua_State *L);
int open_env(lua_State *L);
int open_fetch(lua_State *L);
int open_host(lua_State *L);
int open_html(lua_State *L);
int open_json(lua_State *L);
int open_jwt(lua_State *L);
int open_kv(lua_State *L);
int open_log(lua_State *L);
int open_parallel(lua_State *L);
int open_queue(lua_State *L);
int open_read_file(lua_State *L);
int open_respond(lua_State *L);
int open_schema(lua_State *L);
int open_sleep(lua_State *L);
int open_sql(lua_State *L);
int open_stream(lua_State *L);
int open_time(lua_State *L);
int open_url(lua_State *L);

/* Of `host`, which reads what any function keeps. */
int kv_look(lua_State *L);
