/* What the files of the crypto module share. Everything here is called from Lua and may raise. */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>

#include "base/str.h"

/* The text at `index`; the stack keeps its bytes. */
struct str lx_crypto_text(lua_State *L, int index);
/* The hash that is named at `index`: "sha256", "sha384", "sha512", "sha1". */
const EVP_MD *lx_crypto_hash(lua_State *L, int index);

/* ---- crypto_derive.c ---- */
int l_crypto_hkdf(lua_State *L);
int l_crypto_pbkdf2(lua_State *L);
int l_crypto_scrypt(lua_State *L);

/* ---- crypto_keys.c ---- */
int l_crypto_decrypt(lua_State *L);
int l_crypto_encrypt(lua_State *L);
int l_crypto_sign(lua_State *L);
int l_crypto_verify(lua_State *L);
