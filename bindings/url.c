/* The url module: percent-encoding, query strings, and URLs taken apart (RFC 3986).
 *
 * What fetch would take is read by its own reader, so that a script which checks a URL sees the
 * host that fetch will ask. */
#include <ctype.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/str.h"
#include "bindings/bindings.h"
#include "bindings/keys.h"
#include "bindings/url.h"
#include "client/client.h"
#include "lua/budget.h"
#include "lua/lazy.h"
#include "options/options.h"

static struct str check_str(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

static int push_failure(lua_State *L, const char *format, size_t offset)
{
    luaL_pushfail(L);
    lua_pushfstring(L, "%s at byte %I", format, (lua_Integer)offset + 1);
    return 2;
}

/* ---- percent-encoding ---- */

/* Unreserved characters of RFC 3986 section 2.3. */
static bool is_unreserved(char c)
{
    return str_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static void lx_add_encoded(luaL_Buffer *buffer, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (is_unreserved((char)c)) {
            luaL_addchar(buffer, (char)c);
        } else {
            luaL_addchar(buffer, '%');
            luaL_addchar(buffer, hex[c >> 4]);
            luaL_addchar(buffer, hex[c & 15]);
        }
    }
}

/* Pushes the decoded text. With `strict` a lone '%' is a fault: nothing is pushed, and its offset
 * returned; otherwise it stands for itself. Returns s.len when all went well. */
static size_t lx_push_decoded(lua_State *L, struct str s, bool plus_is_space, bool strict)
{
    luaL_Buffer buffer;
    char *begin = luaL_buffinitsize(L, &buffer, s.len);
    char *out = begin;
    size_t i = 0;
    while (i < s.len) {
        char c = s.ptr[i];
        int high = c == '%' && s.len - i > 2 ? str_hex_value(s.ptr[i + 1]) : -1;
        int low = high >= 0 ? str_hex_value(s.ptr[i + 2]) : -1;
        if (low >= 0) {
            *out++ = (char)(high << 4 | low);
            i += 3;
            continue;
        }
        if (c == '%' && strict)
            break;
        *out++ = c == '+' && plus_is_space ? ' ' : c;
        i++;
    }
    luaL_pushresultsize(&buffer, (size_t)(out - begin));
    if (i < s.len)
        lua_pop(L, 1);
    return i;
}

static int l_decode(lua_State *L)
{
    struct str s = check_str(L, 1);
    size_t done = lx_push_decoded(L, s, false, true);
    return done == s.len ? 1 : push_failure(L, "'%' without two hexadecimal digits", done);
}

static int l_encode(lua_State *L)
{
    struct str s = check_str(L, 1);
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    lx_add_encoded(&buffer, s);
    luaL_pushresult(&buffer);
    return 1;
}

/* ---- query strings ---- */

/* A value of a query as text: strings, numbers (whole ones without a fraction) and booleans.
 * `room` has 64 bytes. The text of a string is that of the table it is in. */
static struct str lx_query_text(lua_State *L, int index, char *room, struct str name,
                                const char *what)
{
    struct str s = {room, 0};
    lua_Integer whole;
    int exact = 0;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        s.ptr = lua_tolstring(L, index, &s.len);
        return s;
    case LUA_TBOOLEAN:
        return lua_toboolean(L, index) ? STR("true") : STR("false");
    case LUA_TNUMBER:
        whole = lua_tointegerx(L, index, &exact);
        if (exact)
            s.len = (size_t)snprintf(room, 64, "%lld", (long long)whole);
        else
            s.len = (size_t)snprintf(room, 64, "%.14g", lua_tonumber(L, index));
        return s;
    default:
        luaL_error(L, "%s: cannot encode a %s as a value of '%s'", what, luaL_typename(L, index),
                   name.ptr);
    }
    return s;
}

static void lx_add_pair(luaL_Buffer *buffer, bool *first, struct str name, struct str value)
{
    if (!*first)
        luaL_addchar(buffer, '&');
    *first = false;
    lx_add_encoded(buffer, name);
    luaL_addchar(buffer, '=');
    lx_add_encoded(buffer, value);
}

/* Each value is kept in slot 2, below the buffer, which wants the top of the stack. */
static int push_query(lua_State *L, const char *what)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    size_t count = 0;
    const struct str *names = keys_sorted(L, 1, &count);
    if (names == NULL)
        return luaL_argerror(L, 1, "names must be strings");
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    bool first = true;
    char room[64];
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, names[i].ptr, names[i].len);
        lua_rawget(L, 1);
        lua_replace(L, 2);
        if (!lua_istable(L, 2)) {
            lx_add_pair(&buffer, &first, names[i], lx_query_text(L, 2, room, names[i], what));
            continue;
        }
        lazy_make_plain(L, 2);
        lua_pushvalue(L, 2);
        bool is_list = options_is_list(L);
        lua_pop(L, 1);
        if (!is_list)
            luaL_error(L, "%s: the value of '%s' is a table, but no list", what, names[i].ptr);
        lua_Integer values = (lua_Integer)lua_rawlen(L, 2);
        for (lua_Integer k = 1; k <= values; k++) {
            budget_step(L);
            lua_rawgeti(L, 2, k);
            struct str value = lx_query_text(L, -1, room, names[i], what);
            lua_pop(L, 1);
            lx_add_pair(&buffer, &first, names[i], value);
        }
    }
    luaL_pushresult(&buffer);
    return 1;
}

static int l_query(lua_State *L)
{
    return push_query(L, "url.query");
}

int l_url_form(lua_State *L)
{
    return push_query(L, "fetch: form");
}

/* Name and value are on top of the stack; both are taken off. Sets last[name], and appends to
 * all[name]. */
static void lx_put_pair(lua_State *L, int last, int all)
{
    lua_pushvalue(L, -2);
    if (lua_rawget(L, all) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, all);
    }
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
    lua_rawset(L, last);
}

static int l_parse_query(lua_State *L)
{
    struct str rest = check_str(L, 1);
    if (rest.len > 0 && rest.ptr[0] == '?')
        rest = str_skip(rest, 1);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_newtable(L);
    struct str pair;
    while (str_split_next(&rest, '&', &pair)) {
        budget_step(L);
        if (pair.len == 0)
            continue;
        size_t equals = str_find(pair, '=');
        struct str name = {pair.ptr, equals};
        struct str value = {"", 0};
        if (equals < pair.len)
            value = str_skip(pair, equals + 1);
        lx_push_decoded(L, name, true, false);
        lx_push_decoded(L, value, true, false);
        lx_put_pair(L, 2, 3);
    }
    return 2;
}

/* ---- url.parse ---- */

struct url {
    struct str scheme, user, host, path, query, fragment; /* ptr NULL: absent */
    int port;                                             /* -1: absent */
};

/* Cuts s at the first `c`: what follows is *tail (ptr NULL when there is none). */
static struct str cut(struct str s, char c, struct str *tail)
{
    size_t at = str_find(s, c);
    *tail = at < s.len ? str_skip(s, at + 1) : (struct str){NULL, 0};
    return (struct str){s.ptr, at};
}

/* Takes "scheme:" off the front, where there is one (RFC 3986 section 3.1). */
static void take_scheme(struct str *s, struct url *url)
{
    size_t len = 0;
    while (len < s->len &&
           (isalnum((unsigned char)s->ptr[len]) || (len > 0 && strchr("+-.", s->ptr[len]) != NULL)))
        len++;
    if (len == 0 || len == s->len || s->ptr[len] != ':' || !isalpha((unsigned char)s->ptr[0]))
        return;
    url->scheme = (struct str){s->ptr, len};
    *s = str_skip(*s, len + 1);
}

/* "user@host:port"; NULL, or what is wrong. */
static const char *split_authority(struct str s, struct url *url)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.ptr[i - 1] == '@') {
            url->user = (struct str){s.ptr, i - 1};
            s = str_skip(s, i);
            break;
        }
    }
    size_t len = s.len > 0 && s.ptr[0] == '[' ? str_find(s, ']') + 1 : str_find(s, ':');
    if (len > s.len)
        return "a '[' without ']' in the host";
    url->host = (struct str){s.ptr, len};
    s = str_skip(s, len);
    if (len == 0)
        return "the host is missing";
    if (s.len == 0)
        return NULL;
    uint64_t port = 0;
    if (s.ptr[0] != ':' || (s.len > 1 && str_to_u64(str_skip(s, 1), 65535, &port) != 0))
        return "the port is not a number up to 65535";
    if (s.len > 1)
        url->port = (int)port;
    return NULL;
}

static const char *split_url(struct str s, struct url *url)
{
    *url = (struct url){.port = -1};
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return "white space and control characters must be percent-encoded";
    }
    s = cut(s, '#', &url->fragment);
    s = cut(s, '?', &url->query);
    take_scheme(&s, url);
    if (!str_starts_with(s, STR("//"))) {
        url->path = s;
        return NULL;
    }
    s = str_skip(s, 2);
    size_t len = str_find(s, '/');
    url->path = str_skip(s, len);
    return split_authority((struct str){s.ptr, len}, url);
}

static void lx_set(lua_State *L, const char *name, struct str value, bool lower)
{
    if (value.ptr == NULL)
        return;
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, value.len);
    memcpy(out, value.ptr, value.len);
    if (lower)
        str_lower(out, value.len);
    luaL_pushresultsize(&buffer, value.len);
    lua_setfield(L, -2, name);
}

static int push_fault(lua_State *L, const char *fault)
{
    luaL_pushfail(L);
    lua_pushstring(L, fault);
    return 2;
}

static int push_url(lua_State *L, const struct url *url)
{
    lua_createtable(L, 0, 7);
    lx_set(L, "scheme", url->scheme, true);
    lx_set(L, "user", url->user, false);
    lx_set(L, "host", url->host, true);
    lx_set(L, "path", url->path, false);
    lx_set(L, "query", url->query, false);
    lx_set(L, "fragment", url->fragment, false);
    if (url->port >= 0) {
        lua_pushinteger(L, url->port);
        lua_setfield(L, -2, "port");
    }
    return 1;
}

/* What fetch could ask. */
static int lx_parse_absolute(lua_State *L, struct str text)
{
    struct err err;
    /* A longer one is refused. */
    size_t size = client_url_parts_size(text.len < LIMIT_TARGET_BYTES ? text.len : 0);
    struct client_url_parts *parts = lua_newuserdatauv(L, sizeof(*parts) + size, 0);
    parts->size = size;
    if (client_split_url(text, parts, &err) != 0)
        return push_fault(L, err.text);
    struct url url = {parts->scheme, parts->user,     parts->host, parts->path,
                      parts->query,  parts->fragment, parts->port};
    if (parts->password.ptr != NULL) {
        lua_pushfstring(L, "%s:", lua_pushlstring(L, url.user.ptr, url.user.len));
        lua_pushlstring(L, parts->password.ptr, parts->password.len);
        lua_concat(L, 2);
        url.user.ptr = lua_tolstring(L, -1, &url.user.len);
    }
    return push_url(L, &url);
}

static int l_parse(lua_State *L)
{
    struct url url = {.port = -1};
    struct str text = check_str(L, 1), rest = text;
    take_scheme(&rest, &url);
    if (str_eq_nocase(url.scheme, STR("http")) || str_eq_nocase(url.scheme, STR("https")))
        return lx_parse_absolute(L, text);
    const char *fault = split_url(text, &url);
    return fault != NULL ? push_fault(L, fault) : push_url(L, &url);
}

static const luaL_Reg functions[] = {
    {"decode", l_decode},           {"encode", l_encode}, {"parse", l_parse},
    {"parse_query", l_parse_query}, {"query", l_query},   {NULL, NULL},
};

int open_url(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
