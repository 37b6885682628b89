/* jwt.sign and jwt.public_jwk: tokens of one's own. */
#include <lauxlib.h>

#include "auth/key.h"
#include "base/buf.h"
#include "bindings/json.h"
#include "bindings/jwt_internal.h"
#include "bindings/kept_key.h"
#include "bindings/keys.h"
#include "lua/told.h"
#include "lua/tree.h"

/* A member of the options at index 2 that must be a text, or absent. The text stays alive with the
 * table. */
static struct str option(lua_State *L, const char *name)
{
    struct str value = {NULL, 0};
    if (lua_getfield(L, 2, name) != LUA_TNIL)
        value.ptr = luaL_checklstring(L, -1, &value.len);
    return value;
}

static int fail(lua_State *L, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

/* header members beside alg: kid and typ. New reference, or NULL when out of memory. */
static json_t *make_header(struct str kid, struct str typ)
{
    json_t *header = json_object();
    bool ok = header != NULL;
    if (ok && kid.ptr != NULL)
        ok = json_object_set_new(header, "kid", json_stringn(kid.ptr, kid.len)) == 0;
    if (ok && typ.ptr != NULL)
        ok = json_object_set_new(header, "typ", json_stringn(typ.ptr, typ.len)) == 0;
    if (ok)
        return header;
    json_decref(header);
    return NULL;
}

/* Signs claims_json into `token`. Holds C memory, so nothing in here raises. */
static int sign(struct str key_text, bool is_secret, enum alg alg, struct str kid, struct str typ,
                struct str claims_json, struct buf *token, struct err *err)
{
    struct key *key = kept_key_get(key_text, is_secret, err);
    if (key == NULL)
        return -1;
    json_t *header = make_header(kid, typ);
    if (header == NULL)
        return err_set(err, -1, "out of memory");
    int rc = key_sign(key, alg, header, claims_json, token, err);
    json_decref(header);
    return rc;
}

/* What stands behind the last point, and is another one each time. */
static void lx_tell_signature(lua_State *L, struct hook *hook, struct str token)
{
    size_t at = token.len;
    while (at > 0 && token.ptr[at - 1] != '.')
        at--;
    lx_told_bytes(L, hook, "jwt.sign", (char *)(uintptr_t)token.ptr + at, token.len - at);
}

int l_jwt_sign(lua_State *L)
{
    static struct buf token;
    static const char *const known[] = {"key", "secret", "algorithm", "kid", "typ", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lx_keys_check(L, 2, known, "jwt.sign");
    struct str pem = option(L, "key"), secret = option(L, "secret");
    struct str name = option(L, "algorithm"), kid = option(L, "kid"), typ = option(L, "typ");
    luaL_argcheck(L, (pem.ptr != NULL) != (secret.ptr != NULL), 2,
                  "`key` (PEM) or `secret` expected");
    enum alg alg = name.ptr != NULL ? alg_parse(name) : pem.ptr != NULL ? ALG_RS256 : ALG_HS256;
    luaL_argcheck(L, alg != ALG_NONE_KNOWN, 2, "`algorithm` is not known");
    struct buf *claims = json_scratch();
    if (json_encode_value(L, 1, claims) != 0)
        return lua_error(L);
    struct err err;
    buf_clear(&token);
    if (sign(pem.ptr != NULL ? pem : secret, pem.ptr == NULL, alg, kid, typ, buf_str(claims),
             &token, &err) != 0)
        return fail(L, err.text);
    if (buf_failed(&token))
        return luaL_error(L, "out of memory");
    struct hook *hook = told_hook(L);
    if (hook != NULL && (ALG_BIT(alg) & ALG_BY_CHANCE) != 0)
        lx_tell_signature(L, hook, buf_str(&token));
    lua_pushlstring(L, token.data, token.len);
    return 1;
}

static int l_push_tree(lua_State *L)
{
    tree_push(L, lua_touserdata(L, 1));
    return 1;
}

int l_jwt_public_jwk(lua_State *L)
{
    struct str pem, name;
    pem.ptr = luaL_checklstring(L, 1, &pem.len);
    name.ptr = luaL_optlstring(L, 2, "RS256", &name.len);
    enum alg alg = alg_parse(name);
    luaL_argcheck(L, alg != ALG_NONE_KNOWN, 2, "not a known algorithm");
    bool certified = lua_toboolean(L, 3);
    struct err err;
    struct key *key = kept_key_get(pem, false, &err);
    if (key == NULL)
        return fail(L, err.text);
    if (key_kid(key).len == 0) {
        struct buf thumbprint = BUF_INIT;
        if (jwk_write_thumbprint(key, &thumbprint) == 0)
            key_set_kid(key, buf_str(&thumbprint));
        buf_free(&thumbprint);
    }
    json_t *jwk = jwk_write_key(key, alg);
    if (jwk == NULL)
        return fail(L, "the key does not fit the algorithm");
    if (certified && key_add_certificate(key, jwk) != 0) {
        json_decref(jwk);
        return fail(L, "only a private RSA key can have a certificate");
    }
    lua_pushcfunction(L, l_push_tree);
    lua_pushlightuserdata(L, jwk);
    int status = lua_pcall(L, 1, 1, 0);
    json_decref(jwk);
    return status == LUA_OK ? 1 : lua_error(L);
}
