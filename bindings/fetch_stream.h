/* The body of fetch(url, { stream = true }), piece by piece. For fetch.c alone. */
#pragma once

#include <lua.h>

#include "client/client.h"

struct fetch_stream;

/* Starts a call whose answer is a stream and pushes it [+1]; it ends with the invocation that runs,
 * or when it is collected. `on_head` comes once, later: with the head, or with an error. Raises
 * when the call cannot start. */
struct fetch_stream *
lx_fetch_stream_start(lua_State *L, struct client *client, struct client_request *req,
                      void (*on_head)(void *arg, const struct client_response *res), void *arg);
/* One whose pieces are those of a record. [+1] */
struct fetch_stream *lx_fetch_stream_replayed(lua_State *L);
/* Ends the call; on_head will not come. */
void fetch_stream_close(struct fetch_stream *stream);

/* res:chunks(): next, nil, nil, stream; for a response whose member `stream` is the userdata. */
int l_fetch_chunks(lua_State *L);
