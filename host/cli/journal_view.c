/* From a line of JSON to a row. */
#include "cli/journal_view.h"

#include <jansson.h>
#include <lauxlib.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "journal/journal_reader.h"
#include "json/strict.h"
#include "lua/tree.h"

bool journal_view_is_status(const char *text)
{
    struct str s = str_from(text);
    uint64_t number;
    if (s.len == 3 && str_ends_with(s, STR("xx")))
        return s.ptr[0] >= '1' && s.ptr[0] <= '9';
    if (str_starts_with(s, STR(">=")))
        s = str_skip(s, 2);
    return s.len == 3 && str_to_u64(s, 999, &number) == 0 && number >= 100;
}

void journal_view_open(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
    lua_pushboolean(L, isatty(STDOUT_FILENO));
    lua_call(L, 2, 1);
}

void journal_view_push(lua_State *L, struct str line)
{
    json_t *tree = strict_json_watched(line, JSON_ALLOW_NUL, NULL);
    if (json_is_object(tree))
        tree_push(L, tree);
    else
        lua_pushnil(L);
    json_decref(tree);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static bool is_wanted(lua_State *L, const struct journal_filter *filter, struct str line)
{
    if (filter->function == NULL && filter->status == NULL && filter->user == NULL &&
        filter->text == NULL)
        return true;
    lua_getfield(L, -2, "matches");
    lua_pushvalue(L, -2);
    lua_pushlstring(L, line.ptr, line.len);
    lua_createtable(L, 0, 4);
    set_text(L, "function", filter->function);
    set_text(L, "status", filter->status);
    set_text(L, "user", filter->user);
    set_text(L, "text", filter->text);
    lua_call(L, 3, 1);
    bool wanted = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return wanted;
}

bool journal_view_print(lua_State *L, const struct journal_view *view, struct str line, bool page)
{
    if (!journal_is_readable(line))
        return false;
    journal_view_push(L, line); /* stack: view, record */
    bool readable = lua_istable(L, -1);
    if (readable && is_wanted(L, &view->filter, line)) {
        struct str text = line;
        lua_getfield(L, -2, page ? "page" : "row");
        lua_pushvalue(L, -2);
        lua_call(L, 1, 1);
        if (!view->json)
            text.ptr = lua_tolstring(L, -1, &text.len);
        cli_write(text);
        cli_write(STR("\n"));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return readable;
}
