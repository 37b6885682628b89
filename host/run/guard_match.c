/* string.find, match, gmatch and gsub over run/pattern.c. */
#include <ctype.h>
#include <string.h>

#include "run/budget.h"
#include "run/guard_parts.h"
#include "run/pattern.h"

/* A position counted from the front or, negative, from the back, as an offset; past the end stays
 * past the end. */
static size_t start_offset(lua_Integer position, size_t len)
{
    if (position > 0)
        return (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)len)
        return 0;
    return len - (size_t)-position;
}

/* ---- find, match --------------------------------------------------------------------------- */

static int push_span(lua_State *L, size_t from, size_t to)
{
    lua_pushinteger(L, (lua_Integer)from + 1);
    lua_pushinteger(L, (lua_Integer)to);
    return 2;
}

static int find_plain(lua_State *L, const char *text, size_t len, size_t from, const char *needle,
                      size_t needle_len)
{
    const char *found = pattern_find_plain(L, text + from, len - from, needle, needle_len);
    if (found == NULL) {
        lua_pushnil(L);
        return 1;
    }
    size_t at = (size_t)(found - text);
    return push_span(L, at, at + needle_len);
}

static int find_pattern(lua_State *L, const char *text, size_t len, size_t from,
                        const char *pattern_text, size_t pattern_len, bool is_find)
{
    struct pattern pattern;
    bool is_anchored = pattern_len > 0 && *pattern_text == '^';
    pattern_init(&pattern, L, text, len, pattern_text + is_anchored, pattern_len - is_anchored);
    for (const char *at = text + from;; at++) {
        const char *end = pattern_match(&pattern, at);
        if (end != NULL && !is_find)
            return pattern_push_captures(&pattern, at, end);
        if (end != NULL) {
            push_span(L, (size_t)(at - text), (size_t)(end - text));
            return 2 + pattern_push_captures(&pattern, NULL, NULL);
        }
        if (is_anchored || at == pattern.subject_end)
            break;
    }
    lua_pushnil(L);
    return 1;
}

static int find_or_match(lua_State *L, bool is_find)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t from = start_offset(luaL_optinteger(L, 3, 1), len);
    if (from > len) {
        lua_pushnil(L);
        return 1;
    }
    if (is_find && (lua_toboolean(L, 4) || pattern_is_plain(pattern, pattern_len)))
        return find_plain(L, text, len, from, pattern, pattern_len);
    return find_pattern(L, text, len, from, pattern, pattern_len, is_find);
}

static int l_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int l_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* ---- gmatch -------------------------------------------------------------------------------- */

struct gmatch {
    size_t from;  /* where the next match may begin */
    size_t ended; /* where the last one ended; SIZE_MAX: none yet */
};

/* Upvalues: text, pattern, struct gmatch. */
static int l_gmatch_next(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *pattern_text = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    struct gmatch *gmatch = lua_touserdata(L, lua_upvalueindex(3));
    struct pattern pattern;
    pattern_init(&pattern, L, text, len, pattern_text, pattern_len);
    for (size_t from = gmatch->from; from <= len; from++) {
        const char *end = pattern_match(&pattern, text + from);
        if (end == NULL || (size_t)(end - text) == gmatch->ended)
            continue;
        gmatch->from = gmatch->ended = (size_t)(end - text);
        return pattern_push_captures(&pattern, text + from, end);
    }
    return 0;
}

static int l_gmatch(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    luaL_checkstring(L, 2);
    size_t from = start_offset(luaL_optinteger(L, 3, 1), len);
    lua_settop(L, 2);
    struct gmatch *gmatch = lua_newuserdatauv(L, sizeof(*gmatch), 0);
    gmatch->from = from > len ? len + 1 : from;
    gmatch->ended = SIZE_MAX;
    lua_pushcclosure(L, l_gmatch_next, 3);
    return 1;
}

/* ---- gsub ---------------------------------------------------------------------------------- */

/* The replacement text with its %0 to %9. */
static void add_template(struct pattern *pattern, luaL_Buffer *result, const char *start,
                         const char *end)
{
    lua_State *L = pattern->L;
    size_t len;
    const char *text = lua_tolstring(L, 3, &len);
    const char *text_end = text + len;
    for (const char *mark; (mark = memchr(text, '%', (size_t)(text_end - text))) != NULL;
         text = mark + 2) {
        luaL_addlstring(result, text, (size_t)(mark - text));
        unsigned char kind = mark + 1 < text_end ? (unsigned char)mark[1] : '\0';
        if (kind == '%') {
            luaL_addchar(result, '%');
        } else if (kind == '0') {
            luaL_addlstring(result, start, (size_t)(end - start));
        } else if (isdigit(kind)) {
            unsigned index = kind - (unsigned)'1';
            pattern_push_capture(pattern, index, start, end);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            luaL_addvalue(result);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(result, text, (size_t)(text_end - text));
}

/* Adds what stands for the match; false when the match stays as it is. */
static bool add_replacement(struct pattern *pattern, luaL_Buffer *result, const char *start,
                            const char *end)
{
    lua_State *L = pattern->L;
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, pattern_push_captures(pattern, start, end), 1);
        break;
    case LUA_TTABLE:
        pattern_push_capture(pattern, 0, start, end);
        lua_gettable(L, 3);
        break;
    default:
        add_template(pattern, result, start, end);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(result, start, (size_t)(end - start));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(result);
    return true;
}

static int l_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern_text = luaL_checklstring(L, 2, &pattern_len);
    int kind = lua_type(L, 3);
    luaL_argexpected(L,
                     kind == LUA_TNUMBER || kind == LUA_TSTRING || kind == LUA_TFUNCTION ||
                         kind == LUA_TTABLE,
                     3, "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    bool is_anchored = pattern_len > 0 && *pattern_text == '^', is_changed = false;
    struct pattern pattern;
    pattern_init(&pattern, L, text, len, pattern_text + is_anchored, pattern_len - is_anchored);
    luaL_Buffer result;
    luaL_buffinit(L, &result);
    const char *at = text, *ended = NULL;
    lua_Integer count = 0;
    while (count < most) {
        const char *end = pattern_match(&pattern, at);
        if (end != NULL && end != ended) {
            count++;
            is_changed |= add_replacement(&pattern, &result, at, end);
            at = ended = end;
        } else if (at < pattern.subject_end) {
            luaL_addchar(&result, *at++);
        } else {
            break;
        }
        if (is_anchored)
            break;
    }
    if (is_changed) {
        luaL_addlstring(&result, at, (size_t)(pattern.subject_end - at));
        luaL_pushresult(&result);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

static const luaL_Reg functions[] = {
    {"find", l_find}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {"match", l_match}, {NULL, NULL},
};

void guard_fill_match(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
}
