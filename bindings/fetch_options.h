/* What fetch(url, options) is asked for. For fetch.c alone. */
#pragma once

#include <lua.h>

#include "bindings/crypto_aws.h"
#include "client/client.h"
#include "issuer/outbound.h"

enum { FETCH_HEADERS = 105 }; /* of a request, with those that the host adds */

struct fetch_request {
    struct client_request req; /* its texts lie on the Lua stack, its lists below */
    struct header headers[FETCH_HEADERS];
    unsigned traced; /* the last of them: they say which trace it is, and are no arguments */
    struct client_retry retry;
    struct crypto_aws sign; /* access_key empty: it is not signed */
    struct str session_token;
    char sign_date[17], sign_payload[65];
    struct outbound_loan loan;
    bool stream;
    bool pieces; /* the body is a function, which gives it: still to be said is whom to ask */
};

/* Reads the arguments of the function that runs; may leave values on the stack, which must stay
 * there until the call has begun. Raises what is wrong with them. */
void lx_fetch_read(lua_State *L, struct fetch_request *request);
