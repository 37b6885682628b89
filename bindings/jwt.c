/* The jwt module: token checks for scripts. The work is in jwt_guard.c (checks around handlers),
 * jwt_claims.c (helpers), jwt_sign.c. */
#include <lauxlib.h>

#include "bindings/bindings.h"
#include "bindings/jwt_internal.h"

static const luaL_Reg functions[] = {
    {"claim_to_array", l_jwt_claim_to_array},
    {"has_scope", l_jwt_has_scope},
    {"mapping", l_jwt_mapping},
    {"public_jwk", l_jwt_public_jwk},
    {"remove_namespaces", l_jwt_remove_namespaces},
    {"require_auth", l_jwt_require_auth},
    {"require_role", l_jwt_require_role},
    {"require_scope", l_jwt_require_scope},
    {"revoke", l_jwt_revoke},
    {"sign", l_jwt_sign},
    {"token_from_header", l_jwt_token_from_header},
    {"verifier", l_jwt_verifier},
    {"verify", l_jwt_verify},
    {NULL, NULL},
};

int open_jwt(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
