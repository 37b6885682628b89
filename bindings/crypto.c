/* The crypto module: random bytes, digests, comparison without a clock to read from. */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/str.h"
#include "bindings/base64.h"
#include "bindings/bindings.h"

enum { RANDOM_MAX = 65536 };

static const char hex_digits[] = "0123456789abcdef";

static struct str check_str(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

static void push_hex(lua_State *L, const unsigned char *bytes, size_t len)
{
    char text[2 * EVP_MAX_MD_SIZE];
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = hex_digits[bytes[i] >> 4];
        text[2 * i + 1] = hex_digits[bytes[i] & 15];
    }
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
    struct str a = check_str(L, 1);
    struct str b = check_str(L, 2);
    lua_pushboolean(L, a.len == b.len && CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
    return 1;
}

static int l_hmac(lua_State *L)
{
    static const char *const names[] = {"sha256", "sha384", "sha512", "sha1", NULL};
    const EVP_MD *const kinds[] = {EVP_sha256(), EVP_sha384(), EVP_sha512(), EVP_sha1()};
    const EVP_MD *kind = kinds[luaL_checkoption(L, 1, NULL, names)];
    struct str key = check_str(L, 2);
    struct str text = check_str(L, 3);
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
    if (RAND_bytes((unsigned char *)bytes, (int)count) != 1)
        return luaL_error(L, "crypto.random: no randomness");
    luaL_pushresultsize(&buffer, (size_t)count);
    return 1;
}

static int l_sha256(lua_State *L)
{
    struct str text = check_str(L, 1);
    enum encoding as = check_encoding(L, 2);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(text.ptr, text.len, digest, &len, EVP_sha256(), NULL) != 1)
        return luaL_error(L, "crypto.sha256: OpenSSL refused");
    push_digest(L, digest, len, as);
    return 1;
}

/* RFC 9562 section 5.4: version 4, variant 10. */
static int l_uuid(lua_State *L)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return luaL_error(L, "crypto.uuid: no randomness");
    bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
    char text[36];
    char *out = text;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex_digits[bytes[i] >> 4];
        *out++ = hex_digits[bytes[i] & 15];
    }
    lua_pushlstring(L, text, sizeof(text));
    return 1;
}

static const luaL_Reg functions[] = {
    {"equals", l_equals}, {"hmac", l_hmac}, {"random", l_random},
    {"sha256", l_sha256}, {"uuid", l_uuid}, {NULL, NULL},
};

int open_crypto(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
