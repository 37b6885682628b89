/* Records of the journal as people read them: share/journal.lua, for `journal` and `tail`. */
#pragma once

#include <lua.h>

#include "base/str.h"

/* Which records are wanted; NULL: any. */
struct journal_filter {
    const char *function, *status, *user, *text;
};

struct journal_view {
    bool json;
    struct journal_filter filter;
};

/* Is it 404, 4xx or >=400? */
bool journal_view_is_status(const char *text);

/* With the script on the stack: what it gives takes its place, for these functions. [-1, +1] */
void journal_view_open(lua_State *L);

/* The record of that line as a table, nil where it is none; JSON's null is the null pointer. [-0,
 * +1] */
void journal_view_push(lua_State *L, struct str line);

/* Prints the record of that line, as a row, or whole (`page`), if it is wanted; with view->json the
 * line itself. False: it is no record that can be read. The view is at the top of the stack. */
bool journal_view_print(lua_State *L, const struct journal_view *view, struct str line, bool page);
