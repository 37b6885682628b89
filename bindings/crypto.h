/* What the files of the crypto module share. Everything here is called from Lua and may raise. */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>

#include "base/str.h"

/* The text at `index`; the stack keeps its bytes. */
static inline struct str lx_crypto_text(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

/* The hash that is named at `index`. */
static inline const EVP_MD *lx_crypto_hash(lua_State *L, int index)
{
    static const char *const names[] = {"sha256", "sha384", "sha512", "sha1", NULL};
    const EVP_MD *const kinds[] = {EVP_sha256(), EVP_sha384(), EVP_sha512(), EVP_sha1()};
    return kinds[luaL_checkoption(L, index, NULL, names)];
}

/* ---- crypto_chance.c ---- */
/* Random bytes for the call of that name: told to who listens, or had from him. */
void lx_crypto_chance(lua_State *L, const char *name, unsigned char *bytes, size_t count);

/* ---- crypto_derive.c ---- */
int l_crypto_hkdf(lua_State *L);
int l_crypto_pbkdf2(lua_State *L);
int l_crypto_scrypt(lua_State *L);

/* ---- crypto_keys.c ---- */
int l_crypto_decrypt(lua_State *L);
int l_crypto_encrypt(lua_State *L);
int l_crypto_sign(lua_State *L);
int l_crypto_verify(lua_State *L);
