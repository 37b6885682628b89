/* The base64 module. */
#include "bindings/base64.h"

#include <lauxlib.h>

#include "bindings/bindings.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64_push(lua_State *L, struct str bytes, bool url)
{
    const char *alphabet = url ? url_safe : standard;
    luaL_Buffer buffer;
    char *begin = luaL_buffinitsize(L, &buffer, bytes.len / 3 * 4 + 4);
    char *out = begin;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        unsigned group = (unsigned)(unsigned char)bytes.ptr[i] << 16;
        if (left > 1)
            group |= (unsigned)(unsigned char)bytes.ptr[i + 1] << 8;
        if (left > 2)
            group |= (unsigned char)bytes.ptr[i + 2];
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        if (left > 1)
            *out++ = alphabet[group >> 6 & 63];
        else if (!url)
            *out++ = '=';
        if (left > 2)
            *out++ = alphabet[group & 63];
        else if (!url)
            *out++ = '=';
    }
    luaL_pushresultsize(&buffer, (size_t)(out - begin));
}

static int digit_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* Takes the padding off a standard text. NULL, or what is wrong. */
static const char *strip_padding(struct str *text)
{
    size_t padding = 0;
    while (padding < 2 && padding < text->len && text->ptr[text->len - 1 - padding] == '=')
        padding++;
    if (padding > 0 && text->len % 4 != 0)
        return "base64 padding does not fit the length";
    text->len -= padding;
    return NULL;
}

/* `out` has room. Returns the count, or -1 with the offset of the fault in *bad. */
static ptrdiff_t decode(struct str text, bool url, char *out, size_t *bad)
{
    const char *begin = out;
    unsigned bits = 0;
    unsigned count = 0; /* bits in hand; at the end those that no byte uses */
    for (size_t i = 0; i < text.len; i++) {
        int value = digit_value(text.ptr[i], url);
        *bad = i;
        if (value < 0)
            return -1;
        bits = (bits << 6 | (unsigned)value) & 0xffff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *out++ = (char)(bits >> count & 0xff);
        }
    }
    if (count == 6 || (bits & ((1u << count) - 1)) != 0)
        return -1;
    return out - begin;
}

static int decode_argument(lua_State *L, bool url)
{
    struct str text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    const char *fault = url ? NULL : strip_padding(&text);
    if (fault != NULL) {
        luaL_pushfail(L);
        lua_pushstring(L, fault);
        return 2;
    }
    luaL_Buffer buffer;
    size_t bad = 0;
    ptrdiff_t len = decode(text, url, luaL_buffinitsize(L, &buffer, text.len / 4 * 3 + 3), &bad);
    if (len < 0) {
        luaL_pushresultsize(&buffer, 0);
        luaL_pushfail(L);
        lua_pushfstring(L, "invalid base64 at byte %I", (lua_Integer)bad + 1);
        return 2;
    }
    luaL_pushresultsize(&buffer, (size_t)len);
    return 1;
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
