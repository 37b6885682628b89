/* What fetch(url, options) is asked for. For fetch.c alone. */
#pragma once

#include <lua.h>

#include "client/client.h"
#include "issuer/outbound.h"

enum { FETCH_HEADERS = 100 }; /* of a request */

struct fetch_request {
    struct client_request req; /* its texts lie on the Lua stack, its lists below */
    struct header headers[FETCH_HEADERS];
    struct client_retry retry;
    struct outbound_loan loan;
    bool stream;
};

/* Reads the arguments of the function that runs; may leave values on the stack, which must stay
 * there until the call has begun. Raises what is wrong with them. */
void lx_fetch_read(lua_State *L, struct fetch_request *request);
