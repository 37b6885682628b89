/* What the files of the jwt module share. */
#ifndef LUAFN_BINDINGS_JWT_INTERNAL_H
#define LUAFN_BINDINGS_JWT_INTERNAL_H

#include <lua.h>

#include "auth/verify.h"
#include "base/arena.h"

/* jwt_claims.c: what claims, as Lua values, say. */
int l_jwt_claim_to_array(lua_State *L);
int l_jwt_has_scope(lua_State *L);
int l_jwt_remove_namespaces(lua_State *L);
/* Is `word` one of the whole words of the member `name` (text or list) of the claims at `index`? */
bool jwt_claim_has_word(lua_State *L, int index, const char *name, struct str word);
bool jwt_has_scope(lua_State *L, int index, struct str scope);

/* jwt_sign.c */
int l_jwt_public_jwk(lua_State *L);
int l_jwt_sign(lua_State *L);

/* jwt_verifier.c: a verifier as a userdata that owns its settings. Reads the options table at
 * `index`; raises with the original's texts.
 * [-0, +1] */
struct jwt_verifier *jwt_push_verifier(lua_State *L, int index);
/* The deployment's verifiers, for require_scope and company. Raises when functions.lua has no
 * `auth`. [-0, +1] */
struct jwt_verifier *jwt_push_default_verifier(lua_State *L);

struct jwt_verifier {
    struct arena arena;
    struct verifier_spec spec;        /* for one of its own */
    const struct verifier *verifiers; /* &spec.verifier, or the deployment's */
    unsigned count;
};

/* jwt_guard.c */
int l_jwt_require_auth(lua_State *L);
int l_jwt_require_role(lua_State *L);
int l_jwt_require_scope(lua_State *L);
int l_jwt_token_from_header(lua_State *L);
int l_jwt_verifier(lua_State *L);
int l_jwt_verify(lua_State *L);

#endif
