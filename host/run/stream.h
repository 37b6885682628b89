/* Answers in pieces: a result whose body is a function.
 *
 * The head leaves at once; then the function runs in the invocation's coroutine, with `write`,
 * which waits while the client is slow. `timeout` counts anew with every piece. A client that
 * leaves cancels the invocation as ever; an error or a limit breaks the answer off, so that the
 * client can tell it from a whole one. */
#pragma once

#include <lua.h>
#include <stdint.h>

#include "base/str.h"

struct invocation;

/* In the coroutine, with the result at the top of the stack and inv->ex->res read from it: sends
 * the head and runs the body. `return` it, as lua_callk. HEAD requests, statuses without a body and
 * background functions do not run it. */
int lx_stream_run(lua_State *L, struct invocation *inv);

/* Writes a piece and waits if the client is slow; `return` it: the result is a boolean, false when
 * nobody reads (any more). `stream` is stream_id's. Raises where nothing can wait, and for a
 * piece over LIMIT_RESPONSE_BYTES. */
int lx_stream_write(lua_State *L, lua_Integer stream, struct str bytes);

/* Sends the head of a streamed answer; from here on an error breaks it off. Returns its number. */
uint64_t stream_begin(struct invocation *inv);
/* What a writer does after exchange_stream_write gave `unsent`: waits if the client is slow;
 * `return` it: the result is true, or false when nobody reads any more. */
int lx_stream_send(lua_State *L, size_t unsent);

/* Those who wait in it go on. May end the invocation: the last thing that is done. */
void stream_go_on(struct invocation *inv);

/* Names the stream whose body runs now, for lx_stream_write; 0: none. */
lua_Integer stream_id(lua_State *L);
