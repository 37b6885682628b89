/* What is evaluated and set: expressions see, and set, the variables of a frame as its script does.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/limits.h"
#include "debug/inspect_internal.h"
#include "journal/redact.h"
#include "lua/budget.h"
#include "lua/chunk.h"

/* ---- expressions ---- */

/* The slot of the innermost local variable of that name, whose value is pushed; 0: there is none.
 */
static int push_local_named(lua_State *L, const struct inspect_scope *scope, const char *name)
{
    int found = 0;
    const char *known;
    for (int slot = 1; (known = inspect_push_local(L, scope->place, &scope->frame, slot)) != NULL;
         slot++) {
        if (strcmp(known, name) == 0)
            found = slot;
        lua_pop(L, 1);
    }
    if (found > 0)
        (void)inspect_push_local(L, scope->place, &scope->frame, found);
    return found;
}

/* The same of upvalues; pushes the function, and the value above it. */
static int push_upvalue_named(lua_State *L, const struct inspect_scope *scope, const char *name)
{
    inspect_push_function(L, &scope->frame);
    const char *known;
    for (int i = 1; (known = lua_getupvalue(L, -1, i)) != NULL; i++) {
        if (strcmp(known, name) == 0)
            return i;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return 0;
}

/* Pushes the globals that the frame sees. */
static void push_globals(lua_State *L, const struct inspect_scope *scope)
{
    if (push_upvalue_named(L, scope, "_ENV") == 0)
        lua_pushglobaltable(L);
}

static struct inspect_scope *lx_scope(lua_State *L)
{
    struct inspect_scope *scope = lua_touserdata(L, lua_upvalueindex(1));
    if (scope->place == NULL)
        luaL_error(L, "the expression has ended");
    return scope;
}

/* __index(environment, name) */
static int l_env_index(lua_State *L)
{
    const struct inspect_scope *scope = lx_scope(L);
    const char *name = luaL_checkstring(L, 2);
    if (push_local_named(L, scope, name) > 0 || push_upvalue_named(L, scope, name) > 0)
        return 1;
    push_globals(L, scope);
    lua_pushvalue(L, 2);
    lua_gettable(L, -2);
    return 1;
}

static bool set_local(lua_State *L, const struct inspect_scope *scope, int slot)
{
    const struct inspect_ref *frame = &scope->frame;
    lua_Debug ar;
    if (!lua_getstack(frame->co, frame->level, &ar) || !lua_checkstack(frame->co, 1))
        return false;
    lua_xmove(L, frame->co, 1);
    return lua_setlocal(frame->co, &ar, slot) != NULL;
}

/* Sets the variable to the value on top, which is popped; false: there is none of that name. */
static bool set_variable(lua_State *L, const struct inspect_scope *scope, const char *name,
                         bool locals, bool upvalues)
{
    int value = lua_gettop(L);
    int slot = locals ? push_local_named(L, scope, name) : 0;
    lua_settop(L, value);
    if (slot > 0)
        return set_local(L, scope, slot);
    slot = upvalues ? push_upvalue_named(L, scope, name) : 0;
    if (slot == 0)
        return false;
    lua_pop(L, 1);
    lua_insert(L, value);
    (void)lua_setupvalue(L, value, slot);
    lua_settop(L, value - 1);
    return true;
}

/* __newindex(environment, name, value) */
static int l_env_newindex(lua_State *L)
{
    const struct inspect_scope *scope = lx_scope(L);
    const char *name = luaL_checkstring(L, 2);
    lua_settop(L, 3);
    if (set_variable(L, scope, name, true, true))
        return 0;
    push_globals(L, scope);
    lua_insert(L, 2);
    lua_settable(L, 2);
    return 0;
}

/* Pushes an environment for the frame, which inspect_run() ends. */
static void push_environment(lua_State *L, struct inspect_asking *r)
{
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    inspect_push_scope(L, r);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_env_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, l_env_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}

/* As an expression, else as statements. */
static void lx_compile(lua_State *L, struct inspect_asking *r)
{
    buf_clear(&r->scratch);
    buf_add_str(&r->scratch, STR("return "));
    buf_add_str(&r->scratch, r->text);
    if (buf_failed(&r->scratch))
        luaL_error(L, "out of memory");
    if (chunk_load(L, buf_str(&r->scratch), "=(debugger)") == LUA_OK)
        return;
    if (chunk_load(L, r->text, "=(debugger)") == LUA_OK) {
        lua_remove(L, -2);
        return;
    }
    if (r->is_value)
        lua_pop(L, 1); /* the other message */
    lua_error(L);
}

/* Pushes what the text comes to in the frame. */
static void lx_evaluate(lua_State *L, struct inspect_asking *r)
{
    lx_compile(L, r);
    push_environment(L, r);
    (void)lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
}

static int l_evaluate(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lx_evaluate(L, r);
    r->out->value = inspect_pop_variable(L, r, NULL, "result");
    return 0;
}

void inspect_evaluate(struct inspect_place *place, unsigned frame, struct str text,
                      struct inspect_result *out)
{
    const struct inspect_ref *ref = inspect_find_frame(place, frame);
    *out = (struct inspect_result){.why = "this frame is not there any more: the request went on"};
    if (ref == NULL)
        return;
    struct inspect_asking r = {place, *ref, out, .text = text};
    inspect_run(&r, l_evaluate);
}

static int l_holds(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lx_evaluate(L, r);
    r->holds = lua_toboolean(L, -1);
    return 0;
}

bool inspect_holds(struct inspect_place *place, const char *text, char why[512])
{
    struct inspect_result out = {.value = NULL};
    const struct inspect_ref *ref = inspect_find_frame(place, 0);
    if (ref == NULL)
        return true;
    struct inspect_asking r = {place,           *ref, &out, .text = str_from(text), .holds = true,
                               .is_value = true};
    inspect_run(&r, l_holds);
    memcpy(why, out.why, sizeof(out.why));
    return r.holds;
}

/* ---- log points ---- */

static int l_text_of(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lx_evaluate(L, r);
    if (lua_istable(L, -1)) {
        buf_clear(&r->scratch);
        inspect_add_value(L, r->place, &r->scratch);
        buf_add_str(r->log, buf_str(&r->scratch));
        return 0;
    }
    struct str s;
    s.ptr = luaL_tolstring(L, -1, &s.len);
    struct str clean = redact_clean(r->place->redact, s);
    buf_add_str(r->log,
                inspect_cut(clean.ptr != NULL ? clean : STR(REDACT_TEXT), LIMIT_DEBUG_TEXT));
    return 0;
}

/* The length of what is in braces, which may nest; text.len where none ends them. */
static size_t find_end(struct str text)
{
    unsigned depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        depth += text.ptr[i] == '{';
        if (text.ptr[i] == '}' && depth-- == 0)
            return i;
    }
    return text.len;
}

void inspect_log(struct inspect_place *place, const char *text, struct buf *out)
{
    struct inspect_result result;
    struct str rest = str_from(text);
    const struct inspect_ref *ref = inspect_find_frame(place, 0);
    while (rest.len > 0) {
        size_t open = str_find(rest, '{');
        buf_add(out, rest.ptr, open);
        rest = str_skip(rest, open);
        if (rest.len == 0)
            break;
        struct str inner = str_skip(rest, 1);
        size_t end = find_end(inner);
        if (end == inner.len || ref == NULL) {
            buf_add_str(out, rest);
            break;
        }
        struct inspect_asking r = {
            place, *ref, &result, .text = {inner.ptr, end}, .log = out, .is_value = true};
        inspect_run(&r, l_text_of);
        if (result.why[0] != '\0')
            buf_printf(out, "{%s}", result.why);
        rest = str_skip(inner, end + 1);
    }
}

/* ---- setting ---- */

/* stack: table, value. Sets the member that is shown under that name. */
static bool lx_set_member(lua_State *L, struct inspect_asking *r)
{
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        budget_step(L);
        lua_pop(L, 1);
        bool same = strcmp(inspect_push_name(L, r), r->name) == 0;
        lua_pop(L, 1);
        if (!same)
            continue;
        lua_pushvalue(L, 2);
        lua_rawset(L, 1);
        return true;
    }
    return false;
}

static int l_set(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref.anchor);
    lx_evaluate(L, r);
    const struct inspect_scope scope = {r->place, r->place->refs[r->ref.frame]};
    lua_pushvalue(L, 2);
    bool done = r->ref.kind == REF_TABLE
                    ? (lua_settop(L, 2), lx_set_member(L, r))
                    : set_variable(L, &scope, r->name, r->ref.kind == REF_LOCALS,
                                   r->ref.kind == REF_UPVALUES);
    if (!done)
        return luaL_error(L, "there is no variable %s that could be set", r->name);
    lua_settop(L, 2);
    r->out->value = inspect_pop_variable(L, r, NULL, "value");
    return 0;
}

void inspect_set(struct inspect_place *place, unsigned id, const char *name, struct str text,
                 struct inspect_result *out)
{
    const struct inspect_ref *ref = inspect_find(place, id);
    *out = (struct inspect_result){.why = "this is not there any more: the request went on"};
    if (ref == NULL || ref->kind == REF_FRAME)
        return;
    struct inspect_asking r = {place, *ref, out, .text = text, .name = name, .is_value = true};
    inspect_run(&r, l_set);
}
