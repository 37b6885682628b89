/* The html module: escaping, and pages of templates. */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json.h"
#include "bindings/keys.h"
#include "bindings/recent.h"
#include "html/html_template.h"
#include "html/html_write.h"
#include "lua/budget.h"
#include "lua/chain.h"
#include "lua/chunk.h"
#include "lua/lazy.h"
#include "lua/script.h"
#include "lua/tree.h"
#include "run/instance.h"

static const char PAGE[] = "luafn.html.page";         /* a page being made: struct buf */
static const char COMPILING[] = "luafn.html.compile"; /* struct compiling */

/* ---- while a page is made ---- */

static struct buf *page_of(lua_State *L)
{
    return luaL_checkudata(L, 1, PAGE);
}

static int check_page(lua_State *L, const struct buf *page)
{
    if (buf_failed(page))
        return luaL_error(L, "out of memory");
    if (page->len > LIMIT_HTML_BYTES)
        return luaL_error(L, "html.render: the page is over %d bytes", LIMIT_HTML_BYTES);
    return 0;
}

static struct str text_at(lua_State *L, int index)
{
    struct str text;
    text.ptr = lua_tolstring(L, index, &text.len);
    return text;
}

/* __w(page, text) */
static int l_write(lua_State *L)
{
    struct buf *page = page_of(L);
    buf_add_str(page, text_at(L, 2));
    return check_page(L, page);
}

static bool is_nothing(lua_State *L, int index)
{
    return lua_isnil(L, index) ||
           (lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL);
}

static void write_json(lua_State *L, struct buf *page, enum html_sink sink)
{
    struct buf *json = json_scratch();
    if (json_encode_value(L, 3, json) != 0)
        lua_error(L);
    html_write(page, sink, buf_str(json));
}

/* __v(page, sink, value): -1 for markup that is trusted */
static int l_value(lua_State *L)
{
    struct buf *page = page_of(L);
    int sink = (int)lua_tointeger(L, 2);
    bool has_text = luaL_getmetafield(L, 3, "__tostring") != LUA_TNIL;
    lua_settop(L, 3);
    if (sink == HTML_JSON || sink == HTML_JSON_ATTR) {
        write_json(L, page, (enum html_sink)sink);
        return check_page(L, page);
    }
    if (is_nothing(L, 3) || sink == HTML_NOTHING)
        return 0;
    if (!has_text && !lua_isstring(L, 3) && !lua_isboolean(L, 3))
        return luaL_error(L, "a %s is no text of a page", luaL_typename(L, 3));
    luaL_tolstring(L, 3, NULL);
    if (sink < 0)
        buf_add_str(page, text_at(L, -1));
    else
        html_write(page, (enum html_sink)sink, text_at(L, -1));
    return check_page(L, page);
}

/* ---- loops ---- */

static int l_next_element(lua_State *L)
{
    lua_Integer index = luaL_checkinteger(L, 2) + 1;
    lua_pushinteger(L, index);
    return lua_geti(L, 1, index) == LUA_TNIL ? 1 : 2;
}

/* Upvalues: the table, its names in order (in a userdata), how many they are, which was last. */
static int l_next_member(lua_State *L)
{
    const struct str *names = lua_touserdata(L, lua_upvalueindex(2));
    lua_Integer count = lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer at = lua_tointeger(L, lua_upvalueindex(4));
    if (at == count)
        return 0;
    lua_pushinteger(L, at + 1);
    lua_replace(L, lua_upvalueindex(4));
    lua_pushlstring(L, names[at].ptr, names[at].len);
    lua_pushvalue(L, -1);
    lua_gettable(L, lua_upvalueindex(1));
    return 2;
}

/* Is the table at 1 one with names? An empty one is a list. */
static bool has_names(lua_State *L)
{
    lua_pushnil(L);
    bool some = lua_next(L, 1) != 0;
    bool names = some && lua_type(L, -2) == LUA_TSTRING && lua_rawlen(L, 1) == 0;
    lua_settop(L, 2);
    return names;
}

static int each_member(lua_State *L)
{
    size_t count;
    lua_settop(L, 1);
    if (keys_sorted(L, 1, &count) == NULL)
        return luaL_error(L, "`for` goes over a list, or a table whose names are all texts");
    lua_pushinteger(L, (lua_Integer)count);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_next_member, 4);
    return 1;
}

/* __e(value, names): what `for` goes over. With two names in it also the members of a table. */
static int l_each(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TTABLE)
        return luaL_error(L, "`for` goes over a list, not a %s value",
                          is_nothing(L, 1) ? "nil" : luaL_typename(L, 1));
    lua_Integer names = lua_tointeger(L, 2);
    lazy_make_whole(L, 1);
    if (has_names(L)) {
        if (names == 2)
            return each_member(L);
        return luaL_error(L, "`for` goes over a list; the members of a table are "
                             "{%% for name, value in table %%}");
    }
    lua_pushcfunction(L, l_next_element);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

/* __i(page, template, names [, of loops]): another template, which sees the same. */
static int include_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int l_include(lua_State *L)
{
    (void)page_of(L);
    lua_settop(L, 4);
    lua_pushvalue(L, 2);
    if (lua_istable(L, 4)) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, 3);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, 4);
        lua_pushvalue(L, 4);
    } else {
        lua_pushvalue(L, 3);
    }
    lua_pushvalue(L, 1);
    lua_callk(L, 2, 0, 0, include_done);
    return 0;
}

/* ---- compiling ---- */

struct compiling {
    struct buf text; /* of a file */
    struct html_template template;
};

/* Templates on the way to here, each included by the one before. */
struct chain {
    const char *name; /* NULL: a text */
    const struct chain *up;
    unsigned depth;
};

static int l_free_compiling(lua_State *L)
{
    struct compiling *c = lua_touserdata(L, 1);
    html_template_free(&c->template);
    buf_free(&c->text);
    return 0;
}

static int l_free_page(lua_State *L)
{
    buf_free(lua_touserdata(L, 1));
    return 0;
}

static void *push_block(lua_State *L, size_t size, const char *type, lua_CFunction gc)
{
    void *block = lua_newuserdatauv(L, size, 0);
    memset(block, 0, size);
    if (luaL_newmetatable(L, type)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return block;
}

/* "part.html" is a file; what has a blank, or no such ending, is a text. */
static bool is_file(struct str template)
{
    for (size_t i = 0; i < template.len; i++) {
        if (strchr(" \t\n\r<", template.ptr[i]) != NULL)
            return false;
    }
    return template.len < 256 && str_ends_with(template, STR(".html"));
}

/* A name leads down from the folder of the script. */
static bool is_below(struct str name)
{
    struct str rest = name, part;
    bool below = true;
    while (below && str_split_next(&rest, '/', &part))
        below = part.len > 0 && part.ptr[0] != '.' && str_find(part, '\\') == part.len;
    return below;
}

static const char *lx_path(lua_State *L, const char *name)
{
    const struct instance *instance = vm_of(L)->instance;
    struct str script = instance != NULL ? instance->spec.script : (struct str){NULL, 0};
    if (script.ptr == NULL || !is_below(str_from(name)))
        luaL_error(L, "html.render: '%s' is no file beside the script", name);
    while (script.len > 0 && script.ptr[script.len - 1] != '/')
        script.len--;
    lua_pushlstring(L, script.ptr, script.len);
    return lua_pushfstring(L, "%s%s", lua_tostring(L, -1), name);
}

static void lx_load(lua_State *L, struct str text, const char *shown, const struct chain *up);

static void lx_file(lua_State *L, const char *name, const struct chain *up)
{
    struct err err;
    struct chain here = {name, up, up->depth + 1};
    for (const struct chain *c = up; c != NULL; c = c->up) {
        if (c->name != NULL && strcmp(c->name, name) == 0)
            luaL_error(L, "html.render: '%s' includes itself, directly or through others", name);
    }
    if (here.depth > LIMIT_HTML_NESTING)
        luaL_error(L, "html.render: more than %d templates include each other", LIMIT_HTML_NESTING);
    struct compiling *c = push_block(L, sizeof(*c), COMPILING, l_free_compiling);
    const char *path = lx_path(L, name);
    struct instance *instance = vm_of(L)->instance;
    const char *shown = script_display_name(path, instance->spec.root);
    if (origin_read(instance->origin, path, &c->text, &err) != 0)
        luaL_error(L, "%s: %s", shown, err.text);
    lx_load(L, buf_str(&c->text), shown, &here);
}

/* Calls the chunk on top with the templates that it includes and what it writes with: its result is
 * the function that renders. */
static void lx_bind(lua_State *L, const struct compiling *c, const struct chain *here)
{
    static const lua_CFunction parts[] = {l_write, l_value, l_each, l_include};
    lua_createtable(L, (int)c->template.include_count, 0);
    for (unsigned i = 0; i < c->template.include_count; i++) {
        struct str name = c->template.includes[i];
        int top = lua_gettop(L);
        luaL_checkstack(L, 16, NULL);
        lua_pushlstring(L, name.ptr, name.len);
        if (!is_file(name))
            luaL_error(L, "html.render: '%s' is no name of a template: it ends in .html",
                       lua_tostring(L, -1));
        lx_file(L, lua_tostring(L, -1), here);
        lua_rawseti(L, top, (lua_Integer)i + 1);
        lua_settop(L, top);
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        lua_pushcfunction(L, parts[i]);
    lua_call(L, 5, 1);
}

/* Pushes the function that renders the text. [-0, +1] */
static void lx_load(lua_State *L, struct str text, const char *shown, const struct chain *here)
{
    struct err err;
    char name[300];
    int top = lua_gettop(L);
    struct compiling *c = push_block(L, sizeof(*c), COMPILING, l_free_compiling);
    int rc = text.len <= LIMIT_SCRIPT_BYTES ? html_template_compile(chunk_body(text), &c->template)
                                            : -EFBIG;
    if (rc == -ENOMEM)
        luaL_error(L, "out of memory");
    if (rc == -EFBIG) {
        lua_pushfstring(L, "%s: a template has at most %d bytes", shown, LIMIT_SCRIPT_BYTES);
        lua_error(L);
    }
    if (rc != 0) {
        lua_pushfstring(L, "%s:%d: %s", shown, (int)c->template.line, c->template.fault);
        lua_error(L);
    }
    if (chain_check(buf_str(&c->template.code), &err) != 0) {
        lua_pushfstring(L, "%s:%s", shown, err.text);
        lua_error(L);
    }
    snprintf(name, sizeof(name), "=%s", shown);
    if (chunk_load(L, buf_str(&c->template.code), name) != LUA_OK)
        lua_error(L);
    buf_free(&c->template.code);
    lx_bind(L, c, here);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

/* ---- those that are kept ---- */

/* Pushes the function that renders the template at 1. */
static void lx_template(lua_State *L)
{
    static const char files = 0, texts = 0;
    struct str template = text_at(L, 1);
    bool file = is_file(template);
    recent_push(L, file ? &files : &texts);
    int kept = lua_gettop(L);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, kept) == LUA_TFUNCTION)
        return;
    lua_pop(L, 1);
    const struct chain top = {NULL, NULL, 0};
    if (file) {
        lx_file(L, template.ptr, &top);
        lua_insert(L, kept + 1);
        lua_settop(L, kept + 1);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, kept);
    } else {
        lx_load(L, template, "template", &top);
        recent_keep(L, kept, 1, LIMIT_HTML_TEXTS_KEPT);
    }
}

/* stack: template, values, page */
static int render_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct buf *page = lua_touserdata(L, 3);
    lua_pushlstring(L, page->len > 0 ? page->data : "", page->len);
    buf_free(page);
    return 1;
}

/* html.render(template [, values]) */
static int l_render(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    push_block(L, sizeof(struct buf), PAGE, l_free_page);
    lx_template(L);
    lua_replace(L, 4);
    lua_settop(L, 4);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_callk(L, 2, 0, 0, render_done);
    return render_done(L, LUA_OK, 0);
}

/* html.escape(text) */
static int l_escape(lua_State *L)
{
    struct buf *out = json_scratch();
    struct str text;
    text.ptr = luaL_checklstring(L, 1, &text.len);
    html_write(out, HTML_TEXT, text);
    if (buf_failed(out))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, out->len > 0 ? out->data : "", out->len);
    return 1;
}

static const luaL_Reg functions[] = {{"escape", l_escape}, {"render", l_render}, {NULL, NULL}};

int open_html(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
