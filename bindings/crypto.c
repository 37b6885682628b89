/* The crypto module: random bytes, digests, comparison without a clock to read from. What needs a
 * key is in crypto_keys.c, what makes keys of passwords in crypto_derive.c. */
#include "bindings/crypto.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "bindings/base64.h"
#include "bindings/bindings.h"

enum { RANDOM_MAX = 65536 };

static void push_hex(lua_State *L, const unsigned char *bytes, size_t len)
{
    char text[2 * EVP_MAX_MD_SIZE + 1];
    str_write_hex(bytes, len, text);
    lua_pushlstring(L, text, 2 * len);
}

enum encoding { ENCODING_HEX, ENCODING_BASE64, ENCODING_BASE64URL, ENCODING_RAW };

static enum encoding check_encoding(lua_State *L, int index)
{
    static const char *const names[] = {"hex", "base64", "base64url", "raw", NULL};
    return (enum encoding)luaL_checkoption(L, index, "hex", names);
}

static void push_digest(lua_State *L, const unsigned char *digest, unsigned len, enum encoding as)
{
    if (as == ENCODING_HEX)
        push_hex(L, digest, len);
    else if (as == ENCODING_RAW)
        lua_pushlstring(L, (const char *)digest, len);
    else
        base64_push(L, (struct str){(const char *)digest, len}, as == ENCODING_BASE64URL);
}

static int l_equals(lua_State *L)
{
    struct str a = lx_crypto_text(L, 1);
    struct str b = lx_crypto_text(L, 2);
    lua_pushboolean(L, a.len == b.len && CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
    return 1;
}

static int l_hmac(lua_State *L)
{
    const EVP_MD *kind = lx_crypto_hash(L, 1);
    struct str key = lx_crypto_text(L, 2);
    struct str text = lx_crypto_text(L, 3);
    enum encoding as = check_encoding(L, 4);
    luaL_argcheck(L, key.len <= INT32_MAX, 2, "the key is too long");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (HMAC(kind, key.ptr, (int)key.len, (const unsigned char *)text.ptr, text.len, digest,
             &len) == NULL)
        return luaL_error(L, "crypto.hmac: OpenSSL refused");
    push_digest(L, digest, len, as);
    return 1;
}

static int l_random(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 0 && count <= RANDOM_MAX, 1, "must be 0 to 65536 bytes");
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, (size_t)count);
    lx_crypto_chance(L, "crypto.random", (unsigned char *)bytes, (size_t)count);
    luaL_pushresultsize(&buffer, (size_t)count);
    return 1;
}

static int digest(lua_State *L, const EVP_MD *kind)
{
    struct str text = lx_crypto_text(L, 1);
    enum encoding as = check_encoding(L, 2);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(text.ptr, text.len, bytes, &len, kind, NULL) != 1)
        return luaL_error(L, "crypto: OpenSSL refused the digest");
    push_digest(L, bytes, len, as);
    return 1;
}

static int l_sha1(lua_State *L)
{
    return digest(L, EVP_sha1());
}

static int l_sha256(lua_State *L)
{
    return digest(L, EVP_sha256());
}

static int l_sha384(lua_State *L)
{
    return digest(L, EVP_sha384());
}

static int l_sha512(lua_State *L)
{
    return digest(L, EVP_sha512());
}

/* RFC 9562 section 5.4: version 4, variant 10. */
static int l_uuid(lua_State *L)
{
    unsigned char bytes[16];
    lx_crypto_chance(L, "crypto.uuid", bytes, sizeof(bytes));
    bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
    char hex[2 * sizeof(bytes) + 1];
    str_write_hex(bytes, sizeof(bytes), hex);
    char text[37];
    snprintf(text, sizeof(text), "%.8s-%.4s-%.4s-%.4s-%s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    lua_pushstring(L, text);
    return 1;
}

static const luaL_Reg functions[] = {
    {"decrypt", l_crypto_decrypt},
    {"encrypt", l_crypto_encrypt},
    {"equals", l_equals},
    {"hkdf", l_crypto_hkdf},
    {"hmac", l_hmac},
    {"pbkdf2", l_crypto_pbkdf2},
    {"random", l_random},
    {"scrypt", l_crypto_scrypt},
    {"sha1", l_sha1},
    {"sha256", l_sha256},
    {"sha384", l_sha384},
    {"sha512", l_sha512},
    {"sign", l_crypto_sign},
    {"uuid", l_uuid},
    {"verify", l_crypto_verify},
    {NULL, NULL},
};

int open_crypto(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
