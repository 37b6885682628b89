/* Templates: whatever a text is, what is made of it calls nothing but what it is given, and reads
 * no name but of its values. */
#include "fuzz.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "html/html_template.h"
#include "html/html_write.h"

static int l_alarm(lua_State *L)
{
    (void)L;
    fprintf(stderr, "a template left its place\n");
    abort();
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    luaL_error(L, "enough");
}

static int l_nothing(lua_State *L)
{
    (void)L;
    return 0;
}

/* `for` goes over three texts. */
static int l_next(lua_State *L)
{
    lua_Integer i = luaL_optinteger(L, 2, 0);
    if (i == 3)
        return 0;
    lua_pushinteger(L, i + 1);
    lua_pushliteral(L, "x");
    return 2;
}

static int l_each(lua_State *L)
{
    lua_pushcfunction(L, l_next);
    return 1;
}

static void push_alarm(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, l_alarm);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_alarm);
    lua_setfield(L, -2, "__newindex");
}

/* Globals are what must not be asked for; the values have a function that must not be called. */
static void run(struct str code, unsigned includes)
{
    lua_State *L = luaL_newstate();
    lua_pushglobaltable(L);
    push_alarm(L);
    lua_setmetatable(L, -2);
    lua_settop(L, 0);
    if (luaL_loadbufferx(L, code.ptr, code.len, "=t", "t") == LUA_OK) {
        lua_createtable(L, (int)includes, 0);
        lua_pushcfunction(L, l_nothing);
        lua_pushcfunction(L, l_nothing);
        lua_pushcfunction(L, l_each);
        lua_pushcfunction(L, l_nothing);
        require(lua_pcall(L, 5, 1, 0) == LUA_OK && lua_isfunction(L, -1), "a function is made");
        lua_newtable(L);
        lua_pushcfunction(L, l_alarm);
        lua_setfield(L, -2, "f");
        lua_newtable(L);
        lua_setfield(L, -2, "x");
        lua_sethook(L, on_count, LUA_MASKCOUNT, 10000);
        (void)!lua_pcall(L, 1, 0, 0);
    }
    lua_close(L);
}

/* What is written stays within quotes, a text and a script. */
static void check_written(struct str text)
{
    for (int sink = HTML_TEXT; sink <= HTML_NOTHING; sink++) {
        struct buf out = BUF_INIT;
        html_write(&out, (enum html_sink)sink, text);
        struct str written = buf_str(&out);
        require(str_find(written, '<') == written.len && str_find(written, '>') == written.len,
                "no tag");
        require(sink == HTML_JSON || str_find(written, '"') == written.len, "no quote");
        require(str_find(written, '\'') == written.len, "no other quote");
        buf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = whole_input(data, size);
    struct html_template template = {.line = 0};
    int rc = html_template_compile(input, &template);
    require(rc == 0 || (template.fault[0] != '\0' && template.line > 0), "a fault has its line");
    if (rc == 0)
        run(buf_str(&template.code), template.include_count);
    html_template_free(&template);
    check_written(input);
    return 0;
}
