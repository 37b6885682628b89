/* A value as a text, in one line and without secrets. */
#include <lauxlib.h>
#include <string.h>

#include "base/limits.h"
#include "debug/inspect_internal.h"
#include "journal/redact.h"
#include "lua/show.h"

static void add_quoted(struct str s, struct buf *out)
{
    static const char signs[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
    bool is_text = str_is_utf8(s);
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        const char *sign = c != '\0' ? strchr(signs, c) : NULL;
        if (sign != NULL)
            buf_printf(out, "\\%c", letters[sign - signs]);
        else if ((unsigned char)c < 0x20 || c == 0x7f || (!is_text && (unsigned char)c >= 0x80))
            buf_printf(out, "\\x%02x", (unsigned char)c);
        else
            buf_add_char(out, c);
    }
    buf_add_char(out, '"');
}

struct str inspect_cut(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return (struct str){s.ptr, max};
}

static void add_string(const struct inspect_place *place, struct str s, struct buf *out)
{
    struct str clean = redact_clean(place->redact, s);
    struct str shown = inspect_cut(clean.ptr != NULL ? clean : STR(REDACT_TEXT), LIMIT_DEBUG_TEXT);
    add_quoted(shown, out);
    if (shown.len < clean.len)
        buf_printf(out, "... (%zu bytes)", s.len);
}

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!str_is_alnum(s.ptr[i]) && s.ptr[i] != '_')
            return false;
    }
    return s.len > 0 && !(s.ptr[0] >= '0' && s.ptr[0] <= '9');
}

void inspect_add_key(lua_State *L, int index, const struct inspect_place *place, struct buf *out)
{
    struct str s = {NULL, 0};
    if (lua_type(L, index) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, index, &s.len);
    if (s.ptr != NULL && is_word(s)) {
        buf_add_str(out, s);
        return;
    }
    buf_add_char(out, '[');
    if (s.ptr != NULL) {
        add_string(place, s, out);
    } else {
        s.ptr = luaL_tolstring(L, index, &s.len);
        buf_add_str(out, inspect_cut(s, 100));
        lua_pop(L, 1);
    }
    buf_add_char(out, ']');
}

/* "[3]", or the first names: what is in it is told when it is unfolded. */
static void add_table(lua_State *L, int index, const struct inspect_place *place, struct buf *out)
{
    enum { NAMES = 6 };
    lua_Unsigned size = lua_rawlen(L, index);
    if (size > 0) {
        buf_printf(out, "[%llu]", (unsigned long long)size);
        return;
    }
    buf_add_char(out, '{');
    lua_pushnil(L);
    for (int i = 0; lua_next(L, index) != 0; i++) {
        lua_pop(L, 1);
        buf_add_str(out, i == 0 ? STR(" ") : STR(", "));
        if (i == NAMES) {
            buf_add_str(out, STR("..."));
            lua_pop(L, 1);
            break;
        }
        inspect_add_key(L, lua_gettop(L), place, out);
    }
    buf_add_str(out, STR(" }"));
}

static void add_function(lua_State *L, int index, struct buf *out)
{
    lua_Debug about;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &about);
    if (*about.what == 'C')
        buf_add_str(out, STR("function of luafn"));
    else
        buf_printf(out, "function %s:%d", about.short_src, about.linedefined);
}

void inspect_add_value(lua_State *L, const struct inspect_place *place, struct buf *out)
{
    struct str s;
    int index = lua_gettop(L);
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        s.ptr = lua_tolstring(L, index, &s.len);
        add_string(place, s, out);
        return;
    case LUA_TTABLE:
        show_open(L, index);
        add_table(L, index, place, out);
        return;
    case LUA_TFUNCTION:
        add_function(L, index, out);
        return;
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
    case LUA_TNIL:
        s.ptr = luaL_tolstring(L, index, &s.len);
        buf_add_str(out, s);
        lua_pop(L, 1);
        return;
    case LUA_TLIGHTUSERDATA:
        buf_add_str(out, STR("json.null"));
        return;
    default:
        s.ptr = luaL_tolstring(L, index, &s.len);
        add_string(place, s, out);
        lua_pop(L, 1);
    }
}
