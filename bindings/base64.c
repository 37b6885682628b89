/* The base64 module. */
#include "bindings/base64.h"

#include <lauxlib.h>

#include "base/base64.h"
#include "bindings/bindings.h"

static enum base64_alphabet alphabet_of(bool url)
{
    return url ? BASE64_URL : BASE64_STANDARD;
}

void base64_push(lua_State *L, struct str bytes, bool url)
{
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, BASE64_ENCODED_MAX(bytes.len));
    luaL_pushresultsize(&buffer, base64_encode(bytes, alphabet_of(url), out));
}

static int decode_argument(lua_State *L, bool url)
{
    struct str text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    luaL_Buffer buffer;
    size_t bad = 0;
    char *out = luaL_buffinitsize(L, &buffer, BASE64_DECODED_MAX(text.len));
    ptrdiff_t len = base64_decode(text, alphabet_of(url), out, &bad);
    if (len >= 0) {
        luaL_pushresultsize(&buffer, (size_t)len);
        return 1;
    }
    luaL_pushresultsize(&buffer, 0);
    luaL_pushfail(L);
    lua_pushfstring(L, "invalid base64 at byte %I", (lua_Integer)bad + 1);
    return 2;
}

static struct str check_bytes(lua_State *L)
{
    struct str bytes;
    bytes.ptr = luaL_checklstring(L, 1, &bytes.len);
    return bytes;
}

static int l_decode(lua_State *L)
{
    return decode_argument(L, false);
}

static int l_decode_url(lua_State *L)
{
    return decode_argument(L, true);
}

static int l_encode(lua_State *L)
{
    base64_push(L, check_bytes(L), false);
    return 1;
}

static int l_encode_url(lua_State *L)
{
    base64_push(L, check_bytes(L), true);
    return 1;
}

static const luaL_Reg functions[] = {
    {"decode", l_decode}, {"decode_url", l_decode_url},
    {"encode", l_encode}, {"encode_url", l_encode_url},
    {NULL, NULL},
};

int open_base64(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
