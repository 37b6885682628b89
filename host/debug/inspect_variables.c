/* What is shown: the scopes of a frame, variables, and what is in tables. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "debug/inspect_internal.h"
#include "journal/redact.h"
#include "lua/budget.h"
#include "lua/show.h"
#include "run/event.h"

enum { PAGED = 100 }; /* elements from which on a client may ask for a part of them */

/* ---- variables ---- */

/* A number for the table on top; 0: it is none, or there are too many. */
static unsigned add_table_ref(lua_State *L, struct inspect_asking *r)
{
    if (!lua_istable(L, -1))
        return 0;
    lua_pushvalue(L, -1);
    int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    struct inspect_ref *ref = inspect_add_ref(r->place, REF_TABLE, r->ref.frame);
    if (ref == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, anchor);
        return 0;
    }
    ref->anchor = anchor;
    return ref->id;
}

static bool is_secret(const struct inspect_place *place, const char *name)
{
    return name != NULL && redact_is_header(place->redact, str_from(name));
}

json_t *inspect_pop_variable(lua_State *L, struct inspect_asking *r, const char *name,
                             const char *text_key)
{
    const char *type = luaL_typename(L, -1);
    struct buf *text = &r->scratch;
    bool hidden = is_secret(r->place, name);
    unsigned ref = 0;
    lua_Unsigned size = 0;
    buf_clear(text);
    if (hidden) {
        buf_add_str(text, STR(REDACT_TEXT));
    } else {
        inspect_add_value(L, r->place, text);
        size = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
        ref = add_table_ref(L, r);
    }
    lua_pop(L, 1);
    json_t *value = json_pack("{s:s%,s:s,s:i}", text_key, buf_failed(text) ? "" : text->data,
                              text->len, "type", type, "variablesReference", (int)ref);
    if (value == NULL)
        luaL_error(L, "out of memory");
    if (name != NULL)
        (void)json_object_set_new(value, "name", json_string(name));
    if (ref != 0 && size > PAGED) {
        (void)json_object_set_new(value, "indexedVariables", json_integer((json_int_t)size));
        (void)json_object_set_new(value, "namedVariables", json_integer(1));
    }
    return value;
}

static void lx_add_variable(lua_State *L, struct inspect_asking *r, const char *name)
{
    json_t *value = inspect_pop_variable(L, r, name, "value");
    if (json_array_append_new(r->out->value, value) != 0)
        luaL_error(L, "out of memory");
}

const char *inspect_push_local(lua_State *L, const struct inspect_place *place,
                               const struct inspect_ref *frame, int slot)
{
    lua_Debug ar;
    if (!lua_getstack(frame->co, frame->level, &ar) || !lua_checkstack(frame->co, 1))
        return NULL;
    const char *name = lua_getlocal(frame->co, &ar, slot);
    if (name == NULL)
        return NULL;
    lua_xmove(frame->co, L, 1);
    if (!inspect_is_innermost(place, frame))
        return name;
    if (slot > 0 && (unsigned)slot <= place->name_count)
        return place->names[slot - 1];
    if (slot < 0)
        return name;
    lua_pop(L, 1);
    return NULL;
}

/* Is it a variable's name, not Lua's word for a value that has none? */
static bool is_named(const char *name)
{
    return *name != '(';
}

void inspect_push_function(lua_State *L, const struct inspect_ref *frame)
{
    lua_Debug ar;
    if (!lua_checkstack(frame->co, 1) || !lua_getstack(frame->co, frame->level, &ar))
        luaL_error(L, "out of memory");
    lua_getinfo(frame->co, "f", &ar);
    lua_xmove(frame->co, L, 1);
}

/* Of two of one name the later one hides the other, but both are told. */
static void lx_add_locals(lua_State *L, struct inspect_asking *r, const struct inspect_ref *frame)
{
    char name[32];
    const char *known;
    for (int slot = 1; (known = inspect_push_local(L, r->place, frame, slot)) != NULL; slot++) {
        if (is_named(known))
            lx_add_variable(L, r, known);
        else
            lua_pop(L, 1);
    }
    for (int i = 1; i <= LIMIT_DEBUG_MEMBERS && inspect_push_local(L, r->place, frame, -i) != NULL;
         i++) {
        snprintf(name, sizeof(name), "...[%d]", i);
        lx_add_variable(L, r, name);
    }
}

static void lx_add_upvalues(lua_State *L, struct inspect_asking *r, const struct inspect_ref *frame)
{
    inspect_push_function(L, frame);
    const char *name;
    for (int i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
        if (strcmp(name, "_ENV") != 0 && *name != '\0')
            lx_add_variable(L, r, name);
        else
            lua_pop(L, 1);
    }
}

/* ---- what is in a table ---- */

static bool wants(const struct inspect_asking *r, const char *kind)
{
    return r->filter == NULL || strcmp(r->filter, kind) == 0;
}

static void lx_add_elements(lua_State *L, struct inspect_asking *r, lua_Integer size)
{
    char name[32];
    lua_Integer count = r->count > 0 ? r->count : LIMIT_DEBUG_MEMBERS;
    count = count < LIMIT_DEBUG_MEMBERS ? count : LIMIT_DEBUG_MEMBERS;
    for (lua_Integer i = r->start + (lua_Integer)1; i <= size && i <= r->start + count; i++) {
        snprintf(name, sizeof(name), "[%lld]", (long long)i);
        lua_rawgeti(L, 1, i);
        lx_add_variable(L, r, name);
    }
}

static bool is_element(lua_State *L, int index, lua_Integer size)
{
    return lua_isinteger(L, index) && lua_tointeger(L, index) >= 1 &&
           lua_tointeger(L, index) <= size;
}

const char *inspect_push_name(lua_State *L, struct inspect_asking *r)
{
    buf_clear(&r->scratch);
    inspect_add_key(L, lua_gettop(L), r->place, &r->scratch);
    buf_add_char(&r->scratch, '\0');
    return lua_pushstring(L, buf_failed(&r->scratch) ? "?" : r->scratch.data);
}

struct member {
    json_t *variable;
};

static int by_name(const void *a, const void *b)
{
    const struct member *left = a, *right = b;
    return strcmp(json_string_value(json_object_get(left->variable, "name")),
                  json_string_value(json_object_get(right->variable, "name")));
}

static void lx_sort(lua_State *L, json_t *list, size_t from)
{
    size_t count = json_array_size(list) - from;
    struct member *sorted = lua_newuserdatauv(L, (count + 1) * sizeof(*sorted), 0);
    for (size_t i = 0; i < count; i++)
        sorted[i].variable = json_incref(json_array_get(list, from + i));
    qsort(sorted, count, sizeof(*sorted), by_name);
    for (size_t i = 0; i < count; i++)
        (void)json_array_set_new(list, from + i, sorted[i].variable);
    lua_pop(L, 1);
}

static void lx_add_named(lua_State *L, struct inspect_asking *r, lua_Integer size)
{
    size_t from = json_array_size(r->out->value);
    unsigned count = 0;
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        budget_step(L);
        if (is_element(L, -2, size)) {
            lua_pop(L, 1);
            continue;
        }
        if (++count > LIMIT_DEBUG_MEMBERS) {
            lua_pop(L, 2);
            break;
        }
        lua_pushvalue(L, -2); /* key, value, key */
        const char *name = inspect_push_name(L, r);
        lua_pushvalue(L, -3);
        lx_add_variable(L, r, name);
        lua_pop(L, 3);
    }
    lx_sort(L, r->out->value, from);
}

static int l_variables(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    r->out->value = json_array();
    const struct inspect_ref frame = r->place->refs[r->ref.frame];
    lua_settop(L, 0);
    if (r->ref.kind == REF_LOCALS) {
        lx_add_locals(L, r, &frame);
    } else if (r->ref.kind == REF_UPVALUES) {
        lx_add_upvalues(L, r, &frame);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref.anchor);
        lua_Integer size = (lua_Integer)lua_rawlen(L, 1);
        if (wants(r, "indexed"))
            lx_add_elements(L, r, size);
        if (wants(r, "named"))
            lx_add_named(L, r, size);
    }
    return 0;
}

void inspect_variables(struct inspect_place *place, unsigned id, const char *filter, unsigned start,
                       unsigned count, struct inspect_result *out)
{
    const struct inspect_ref *ref = inspect_find(place, id);
    *out = (struct inspect_result){.why = "this is not there any more: the request went on"};
    if (ref == NULL || ref->kind == REF_FRAME)
        return;
    struct inspect_asking r = {place, *ref, out, .filter = filter, .start = start, .count = count};
    inspect_run(&r, l_variables);
}

/* ---- scopes ---- */

/* The event, where the handler, the outermost function of Lua, has it still. */
static bool push_event(lua_State *L, const struct inspect_place *place)
{
    const struct inspect_ref *outermost = &place->refs[place->frame_count - 1];
    return place->task->invocation != NULL && inspect_push_local(L, place, outermost, 1) != NULL &&
           event_is_of(L, -1, place->task->invocation);
}

static void lx_add_scope(lua_State *L, struct inspect_asking *r, const char *name, const char *hint,
                         unsigned ref)
{
    json_t *scope = json_pack("{s:s,s:i,s:b,s:s}", "name", name, "variablesReference", (int)ref,
                              "expensive", false, "presentationHint", hint);
    if (scope == NULL || json_array_append_new(r->out->value, scope) != 0)
        luaL_error(L, "out of memory");
}

static int l_scopes(lua_State *L)
{
    struct inspect_asking *r = lua_touserdata(L, 1);
    unsigned frame = r->ref.frame;
    r->out->value = json_array();
    const struct inspect_ref *ref = inspect_add_ref(r->place, REF_LOCALS, frame);
    lx_add_scope(L, r, "Locals", "locals", ref != NULL ? ref->id : 0);
    ref = inspect_add_ref(r->place, REF_UPVALUES, frame);
    lx_add_scope(L, r, "Upvalues", "locals", ref != NULL ? ref->id : 0);
    if (push_event(L, r->place)) {
        show_open(L, lua_gettop(L));
        lx_add_scope(L, r, "Event", "arguments", add_table_ref(L, r));
    }
    return 0;
}

void inspect_scopes(struct inspect_place *place, unsigned frame, struct inspect_result *out)
{
    const struct inspect_ref *ref = inspect_find_frame(place, frame);
    *out = (struct inspect_result){.why = "this frame is not there any more: the request went on"};
    if (ref == NULL)
        return;
    struct inspect_asking r = {place, *ref, out, .count = 0};
    inspect_run(&r, l_scopes);
}
