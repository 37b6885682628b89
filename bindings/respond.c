/* The respond module: answers as a handler returns or raises them. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "bindings/keys.h"
#include "http/headers.h"
#include "http/response.h"
#include "lua/lazy.h"

static struct str check_text(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

/* ---- answers ---- */

/* Copies the headers at `from` into the table on top; in whatever case, they replace `name`, which
 * is there already. [-0, +0] */
static void copy_headers(lua_State *L, int from, const char *name)
{
    lazy_make_plain(L, from);
    for (lua_pushnil(L); lua_next(L, from) != 0;) { /* stack: headers, key, value */
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, from, "names of headers are texts");
        if (str_eq_nocase(str_from(lua_tostring(L, -2)), str_from(name))) {
            lua_pushnil(L);
            lua_setfield(L, -4, name);
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* Makes the body on top an answer, with the header `name` and those at `more` (0: none). [-1, +1]
 */
static int push_answer(lua_State *L, lua_Integer status, const char *name, const char *value,
                       int more)
{
    lua_createtable(L, 0, 3);
    lua_insert(L, -2);
    lua_setfield(L, -2, "body");
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "statusCode");
    lua_createtable(L, 0, 2);
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
    if (more > 0)
        copy_headers(L, more, name);
    lua_setfield(L, -2, "headers");
    return 1;
}

static lua_Integer check_status(lua_State *L, int index)
{
    lua_Integer status = luaL_checkinteger(L, index);
    luaL_argcheck(L, status >= 200 && status <= 599, index, "a status of 200 to 599");
    return status;
}

/* respond.json(status, value [, headers]) */
static int l_json(lua_State *L)
{
    lua_Integer status = check_status(L, 1);
    luaL_checkany(L, 2);
    bool more = !lua_isnoneornil(L, 3);
    if (more)
        luaL_checktype(L, 3, LUA_TTABLE);
    struct buf *body = json_scratch();
    if (json_encode_value(L, 2, body) != 0)
        return lua_error(L);
    lua_pushlstring(L, body->len > 0 ? body->data : "", body->len);
    return push_answer(L, status, "Content-Type", "application/json", more ? 3 : 0);
}

/* respond.error(status, code, text) */
static int l_error(lua_State *L)
{
    lua_Integer status = check_status(L, 1);
    struct str code = check_text(L, 2), text = check_text(L, 3);
    struct buf *body = json_scratch();
    response_write_error(body, code, text);
    if (buf_failed(body))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, body->data, body->len);
    return push_answer(L, status, "Content-Type", "application/json", 0);
}

/* respond.html(text [, status]) */
static int l_html(lua_State *L)
{
    (void)check_text(L, 1);
    lua_Integer status = lua_isnoneornil(L, 2) ? 200 : check_status(L, 2);
    lua_settop(L, 1);
    return push_answer(L, status, "Content-Type", "text/html; charset=utf-8", 0);
}

/* respond.redirect(url [, status]) */
static int l_redirect(lua_State *L)
{
    struct str url = check_text(L, 1);
    lua_Integer status = luaL_optinteger(L, 2, 302);
    luaL_argcheck(L, url.len > 0 && header_value_is_valid(url), 1,
                  "a URL without control characters");
    luaL_argcheck(L, status >= 300 && status <= 399, 2, "a status of 300 to 399");
    lua_pushliteral(L, "");
    return push_answer(L, status, "Location", url.ptr, 0);
}

/* ---- cookies (RFC 6265 section 4.1.1, and SameSite and Partitioned as browsers know them) ---- */

/* What needs no escape in a cookie's value: event:cookies() and every other reader undo the rest.
 */
static void add_escaped(luaL_Buffer *b, struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        bool plain = c > ' ' && c < 0x7f && strchr("\"%,;\\", c) == NULL;
        char text[4];
        int len = snprintf(text, sizeof(text), plain ? "%c" : "%%%02X", c);
        luaL_addlstring(b, text, (size_t)len);
    }
}

static bool flag(lua_State *L, const char *name, bool otherwise)
{
    int type = lua_getfield(L, 3, name);
    bool value = type == LUA_TNIL ? otherwise : lua_toboolean(L, -1);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luaL_error(L, "respond.cookie: %s: must be true or false, not a %s", name,
                   luaL_typename(L, -1));
    lua_pop(L, 1);
    return value;
}

/* Appends "; Name=value" of the option, which is a text without what would end the attribute. */
static void add_attribute(lua_State *L, luaL_Buffer *b, const char *option, const char *attribute)
{
    int type = lua_getfield(L, 3, option);
    struct str value = {lua_tostring(L, -1), type == LUA_TSTRING ? lua_rawlen(L, -1) : 0};
    if (type != LUA_TNIL && (type != LUA_TSTRING || value.len == 0 ||
                             !header_value_is_valid(value) || str_find(value, ';') < value.len))
        luaL_error(L, "respond.cookie: %s: must be a text without `;`", option);
    lua_pop(L, 1); /* the table at 3 keeps it; a buffer wants nothing of ours above it */
    if (type != LUA_TNIL) {
        luaL_addstring(b, attribute);
        luaL_addlstring(b, value.ptr, value.len);
    }
}

static void add_max_age(lua_State *L, luaL_Buffer *b)
{
    int type = lua_getfield(L, 3, "max_age"), is_integer = 0;
    lua_Integer seconds = lua_tointegerx(L, -1, &is_integer);
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        return;
    if (type != LUA_TNUMBER || !is_integer)
        luaL_error(L, "respond.cookie: max_age: must be a whole number of seconds");
    char text[48];
    snprintf(text, sizeof(text), "; Max-Age=%lld", (long long)seconds);
    luaL_addstring(b, text);
}

/* The option same_site as the attribute has it. */
static const char *same_site(lua_State *L)
{
    static const char *const names[] = {"Strict", "Lax", "None", NULL};
    struct str given = STR("Lax");
    if (lua_getfield(L, 3, "same_site") != LUA_TNIL)
        given = (struct str){luaL_tolstring(L, -1, &given.len), given.len};
    const char *const *name = names;
    while (*name != NULL && !str_eq_nocase(given, str_from(*name)))
        name++;
    if (*name == NULL)
        luaL_error(L, "respond.cookie: same_site: must be Strict, Lax or None");
    lua_settop(L, 3);
    return *name;
}

/* respond.cookie(name, value [, options]) */
static int l_cookie(lua_State *L)
{
    static const char *const known[] = {"max_age",   "path",      "domain",      "secure",
                                        "http_only", "same_site", "partitioned", NULL};
    struct str name = check_text(L, 1), value = check_text(L, 2);
    luaL_argcheck(L, header_name_is_valid(name), 1, "a name without blanks and separators");
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lazy_make_plain(L, 3);
    lx_keys_check(L, 3, known, "respond.cookie");
    const char *site = same_site(L);
    bool secure = flag(L, "secure", true), http_only = flag(L, "http_only", true);
    bool partitioned = flag(L, "partitioned", false);
    if (!secure && (partitioned || strcmp(site, "None") == 0))
        luaL_error(L, "respond.cookie: secure: browsers drop such a cookie where it is false");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, name.ptr, name.len);
    luaL_addchar(&b, '=');
    add_escaped(&b, value);
    add_max_age(L, &b);
    add_attribute(L, &b, "path", "; Path=");
    add_attribute(L, &b, "domain", "; Domain=");
    luaL_addstring(&b, secure ? "; Secure" : "");
    luaL_addstring(&b, http_only ? "; HttpOnly" : "");
    luaL_addstring(&b, "; SameSite=");
    luaL_addstring(&b, site);
    luaL_addstring(&b, partitioned ? "; Partitioned" : "");
    luaL_pushresult(&b);
    return 1;
}

static const luaL_Reg functions[] = {
    {"cookie", l_cookie}, {"error", l_error},       {"html", l_html},
    {"json", l_json},     {"redirect", l_redirect}, {NULL, NULL},
};

int open_respond(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
