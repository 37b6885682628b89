/* The error that a task has just ended with, while it stands there. */
#include <lauxlib.h>

#include "base/limits.h"
#include "debug/inspect_internal.h"
#include "journal/redact.h"
#include "lua/show.h"

struct raised {
    struct inspect_place place;
    bool is_answer;
};

static void push_raised(lua_State *L, const struct task *task)
{
    if (!lua_checkstack(task->co, 1))
        luaL_error(L, "out of memory");
    lua_pushvalue(task->co, -1);
    lua_xmove(task->co, L, 1);
}

/* As run/outcome_result.c takes it for one. */
static int l_is_answer(lua_State *L)
{
    struct raised *raised = lua_touserdata(L, 1);
    push_raised(L, raised->place.task);
    if (!lua_istable(L, -1))
        return 0;
    show_open(L, lua_gettop(L));
    lua_pushliteral(L, "statusCode");
    raised->is_answer = lua_rawget(L, -2) == LUA_TNUMBER;
    return 0;
}

bool inspect_raised_answer(struct task *task)
{
    char why[16];
    struct raised raised = {.place = {.task = task}};
    (void)inspect_protect(&raised.place, l_is_answer, &raised, why, sizeof(why));
    return raised.is_answer;
}

static int l_raised(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    push_raised(L, r->place->task);
    struct str s = {NULL, 0};
    if (lua_type(L, -1) != LUA_TSTRING) {
        inspect_add_value(L, r->place, r->log);
        return 0;
    }
    s.ptr = lua_tolstring(L, -1, &s.len);
    struct str clean = redact_clean(r->place->redact, s);
    buf_add_str(r->log,
                inspect_cut(clean.ptr != NULL ? clean : STR(REDACT_TEXT), LIMIT_DEBUG_TEXT));
    return 0;
}

void inspect_error(struct inspect_place *place, struct buf *out)
{
    struct inspect_result result;
    struct inspect_asking r = {.place = place, .out = &result, .log = out};
    inspect_run(&r, l_raised);
}
