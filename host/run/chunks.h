/* event:chunks(): the body of the request as the handler asks for it.
 *
 * With `stream_body` a piece is what has come, 64 KiB of it at most, and the client waits while
 * nobody asks; `timeout` counts anew with each piece, and does not count while one is waited for.
 * Without it the body is there already, in one piece. Always raw bytes; of an empty body none. */
#pragma once

#include <lua.h>

struct invocation;

/* event:chunks() -> iterator. Both raise when the request that runs has been answered, the second
 * also when its body is being read already, cannot be waited for here, or will not come in full. */
int l_chunks(lua_State *L);
