/* What the files of the jwt module share. */
#pragma once

#include <lua.h>

#include "auth/verify.h"
#include "base/arena.h"

/* jwt_claims.c: what claims, as Lua values, say. */
int l_jwt_claim_to_array(lua_State *L);
int l_jwt_has_scope(lua_State *L);
int l_jwt_remove_namespaces(lua_State *L);
/* jwt_mapping.c: the two for each token, declared. */
int l_jwt_mapping(lua_State *L);
bool jwt_has_scope(lua_State *L, int index, struct str scope);

/* jwt_revoke.c */
int l_jwt_revoke(lua_State *L);

/* jwt_sign.c */
int l_jwt_public_jwk(lua_State *L);
int l_jwt_sign(lua_State *L);

/* jwt_verifier.c: a verifier as a userdata that owns its settings. Reads the options table at
 * `index`; raises with the original's texts.
 * [-0, +1] */
struct jwt_verifier *jwt_push_verifier(lua_State *L, int index);
/* lx_keys_check with those of a verifier, map_claims and handle_error. */
void jwt_check_verifier_keys(lua_State *L, int index, const char *name);
/* The deployment's verifiers, for require_scope and company. Raises when functions.lua has no
 * `auth`. [-0, +1] */
struct jwt_verifier *jwt_push_default_verifier(lua_State *L);

struct jwt_verifier {
    struct arena arena;
    struct verifier_spec spec;        /* for one of its own */
    const struct verifier *verifiers; /* &spec.verifier, or the deployment's */
    unsigned count;
    struct str claim_namespace; /* borrowed; empty for one of its own */
    struct str role_path;       /* the same */
};

/* jwt_judge.c */

/* The serial of the claims that the request's policy found for the token, a part of its head; 0: it
 * is not that one, or was not found good. */
uint64_t jwt_known_claims(lua_State *L, struct str token);

/* Judges the token; the verdict's texts and claims live until the next one, which drops them. A key
 * that was waited for and is not there does not exist, unless the issuer cannot be asked: then the
 * verdict stays VERIFY_NEEDS_KEY, which is a 503. */
void jwt_judge(lua_State *L, const struct jwt_verifier *v, struct str token, bool waited,
               struct verdict *verdict);
/* Waits for the key that the verdict lacks, then goes on with `next`; at once where waiting is of
 * no use. To be returned, as `await` is. */
int jwt_await_keys(lua_State *L, const struct verdict *verdict, int (*next)(lua_State *L));
/* The verdict's claims, without the deployment's namespace. [-0, +1] */
void jwt_push_claims(lua_State *L, const struct jwt_verifier *v, const struct verdict *verdict);
/* The verdict's claims as the function at the index `map` makes them, where jwt.mapping made that
 * one and it has mapped them before; else false, and nothing. [-0, +(0|1)] */
bool jwt_push_mapped(lua_State *L, int map, const struct jwt_verifier *v,
                     const struct verdict *verdict);
/* Is what map_claims gave, at the top of the stack, no claims? Then why, in a text that lives as
 * long as what is pushed. `status`: of the call. */
bool jwt_has_no_claims(lua_State *L, int status, struct str *why);

/* jwt_refuse.c: each is to be returned by the guarded handler. */

/* 401 that names the scope which the handler wants (ptr NULL: none), or what the function at the
 * index `handle_error` (nil: none) says of {code, message}. */
int jwt_refuse(lua_State *L, struct str code, struct str text, struct str scope, int handle_error);
/* 403 */
int jwt_refuse_role(lua_State *L, struct str role);
int jwt_refuse_scope(lua_State *L, struct str scope);
/* 503: the keys cannot be had, or what was revoked is not known. */
int jwt_refuse_unavailable(lua_State *L, const struct verdict *verdict);
/* nil, {code, message}. [-0, +2] */
int jwt_push_refusal(lua_State *L, struct str code, struct str text);
/* Continues a call whose one result is the answer. */
int jwt_return_result(lua_State *L, int status, lua_KContext ctx);

/* jwt_guard.c */
int l_jwt_require_auth(lua_State *L);
int l_jwt_require_role(lua_State *L);
int l_jwt_require_scope(lua_State *L);
int l_jwt_token_from_header(lua_State *L);
int l_jwt_verifier(lua_State *L);
int l_jwt_verify(lua_State *L);
