/* What there is to see of a task that stands.
 *
 * All of it runs as a protected call in the main thread of the task's state, on which nothing else
 * runs once a script has loaded. JSON that is under way hangs on the caller's struct, so that an
 * error of Lua loses none of it. */
#include "debug/inspect.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "journal/redact.h"
#include "lua/budget.h"
#include "lua/chunk.h"
#include "lua/guard.h"
#include "lua/show.h"
#include "run/event.h"
#include "run/invocation.h"

enum { PAGED = 100 }; /* elements from which on a client may ask for a part of them */

enum ref_kind { REF_FRAME, REF_LOCALS, REF_UPVALUES, REF_EVENT, REF_TABLE };

struct inspect_ref {
    unsigned id;
    enum ref_kind kind;
    unsigned frame; /* its place in `refs`: frames come first there */
    lua_State *co;  /* REF_FRAME */
    int level;      /* ... in it */
    int anchor;     /* REF_TABLE: in the registry */
};

/* ---- protected calls ---- */

/* What the environment of an expression knows of the frame. */
struct scope {
    struct inspect_place *place; /* NULL: it has ended; a function that it made may be called yet */
    struct inspect_ref frame;
};

struct asking {
    struct inspect_place *place;
    struct inspect_ref ref; /* a copy: they move */
    struct inspect_result *out;
    struct str text;
    const char *name, *filter;
    unsigned start, count;
    struct buf *log;
    bool is_value; /* the text must be an expression */
    bool holds;
    struct buf scratch; /* owned by run() */
};

static const char scope_key; /* its address: the newest scope, in the registry */

static void end_scope(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scope_key) == LUA_TUSERDATA)
        ((struct scope *)lua_touserdata(L, -1))->place = NULL;
    lua_pop(L, 1);
}

/* Calls fn(request) in the state; false: *why says what went wrong. */
static bool protect(struct inspect_place *place, lua_CFunction fn, void *arg, char *why,
                    size_t size)
{
    struct vm *vm = place->task->vm;
    struct budget grace = {.cpu_limit_ns = (uint64_t)(LIMIT_DEBUG_CPU * 1e9), .may_stall = true};
    struct budget *before = vm->budget;
    lua_State *L = vm->L;
    int top = lua_gettop(L);
    vm->budget = &grace;
    budget_enter(&grace, L);
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, arg);
    int status = lua_pcall(L, 1, 0, 0);
    budget_leave(&grace);
    vm->budget = before;
    vm->yield = VM_YIELD_SCRIPT;
    if (status == LUA_OK)
        return true;
    if (grace.end != BUDGET_RUNNING)
        snprintf(why, size, "this takes more than %.1f s of processor time", LIMIT_DEBUG_CPU);
    else
        snprintf(why, size, "%s",
                 lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no text");
    lua_settop(L, top);
    return false;
}

static void run(struct asking *request, lua_CFunction fn)
{
    struct inspect_result *out = request->out;
    out->value = NULL;
    out->why[0] = '\0';
    bool good = protect(request->place, fn, request, out->why, sizeof(out->why));
    buf_free(&request->scratch);
    end_scope(request->place->task->vm->L);
    if (good)
        return;
    json_decref(out->value);
    out->value = NULL;
}

/* ---- numbers ---- */

static const struct inspect_ref *find(const struct inspect_place *place, unsigned id)
{
    for (unsigned i = 0; i < place->ref_count; i++) {
        if (place->refs[i].id == id)
            return &place->refs[i];
    }
    return NULL;
}

bool inspect_knows(const struct inspect_place *place, unsigned id)
{
    return find(place, id) != NULL;
}

/* NULL: there is no room for more. */
static struct inspect_ref *add_ref(struct inspect_place *place, enum ref_kind kind, unsigned frame)
{
    if (place->ref_count == place->ref_room) {
        unsigned room = place->ref_room > 0 ? place->ref_room * 2 : 64;
        struct inspect_ref *refs =
            place->ref_room < LIMIT_DEBUG_REFERENCES && *place->newest < INT32_MAX
                ? realloc(place->refs, room * sizeof(*refs))
                : NULL;
        if (refs == NULL)
            return NULL;
        place->refs = refs;
        place->ref_room = room;
    }
    struct inspect_ref *ref = &place->refs[place->ref_count++];
    *ref = (struct inspect_ref){
        .id = ++*place->newest, .kind = kind, .frame = frame, .anchor = LUA_NOREF};
    return ref;
}

void inspect_forget(struct inspect_place *place)
{
    for (unsigned i = 0; i < place->ref_count; i++)
        luaL_unref(place->task->vm->L, LUA_REGISTRYINDEX, place->refs[i].anchor);
    free(place->refs);
    place->refs = NULL;
    place->ref_count = place->ref_room = place->frame_count = 0;
}

/* ---- frames ---- */

void inspect_note(struct inspect_place *place, lua_State *L, lua_Debug *ar)
{
    place->co = L;
    place->line = ar->currentline;
    place->name_count = 0;
    const char *name;
    while (place->name_count < INSPECT_LOCALS &&
           (name = lua_getlocal(L, ar, (int)place->name_count + 1)) != NULL) {
        lua_pop(L, 1);
        place->names[place->name_count++] = name;
    }
}

/* From the task's coroutine to the innermost: each resumes the next. */
static void add_frames(struct inspect_place *place)
{
    lua_State *chain[LIMIT_COROUTINES + 1];
    unsigned depth = 0;
    for (lua_State *co = place->task->co; co != NULL && depth <= LIMIT_COROUTINES;
         co = guard_resumed_by(co))
        chain[depth++] = co;
    lua_Debug ar;
    while (depth-- > 0) {
        for (int level = 0;
             place->ref_count < LIMIT_DEBUG_FRAMES && lua_getstack(chain[depth], level, &ar);
             level++) {
            lua_getinfo(chain[depth], "S", &ar);
            struct inspect_ref *ref =
                *ar.what != 'C' ? add_ref(place, REF_FRAME, place->ref_count) : NULL;
            if (ref == NULL)
                continue;
            ref->co = chain[depth];
            ref->level = level;
        }
    }
    place->frame_count = place->ref_count;
}

static const struct inspect_ref *frame_at(struct inspect_place *place, unsigned index)
{
    if (place->frame_count == 0)
        add_frames(place);
    return index < place->frame_count ? &place->refs[index] : NULL;
}

static const struct inspect_ref *find_frame(struct inspect_place *place, unsigned id)
{
    if (id == 0)
        return frame_at(place, 0);
    const struct inspect_ref *ref = find(place, id);
    return ref != NULL && ref->kind == REF_FRAME ? ref : NULL;
}

/* Is it the one that the line hook saw? */
static bool is_innermost(const struct inspect_place *place, const struct inspect_ref *frame)
{
    return place->line > 0 && frame->co == place->co && frame->level == 0;
}

unsigned inspect_frames(struct inspect_place *place, unsigned start, unsigned count,
                        void (*tell)(void *arg, const struct inspect_frame *frame), void *arg)
{
    const struct inspect_ref *ref = frame_at(place, start);
    for (unsigned i = start; ref != NULL && (count == 0 || i - start < count); i++) {
        lua_Debug ar;
        char name[LUA_IDSIZE + 32];
        lua_getstack(ref->co, ref->level, &ar);
        lua_getinfo(ref->co, "nSl", &ar);
        snprintf(name, sizeof(name), "%s", ar.name != NULL ? ar.name : "(file)");
        if (ar.name == NULL && *ar.what != 'm')
            snprintf(name, sizeof(name), "function at line %d", ar.linedefined);
        const struct inspect_frame frame = {
            ref->id, name, ar.source, is_innermost(place, ref) ? place->line : ar.currentline};
        tell(arg, &frame);
        ref = frame_at(place, i + 1);
    }
    return place->frame_count;
}

/* ---- a value as a text ---- */

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

/* Not in the middle of a character. */
static struct str cut(struct str s, size_t max)
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
    struct str shown = cut(clean.ptr != NULL ? clean : STR(REDACT_TEXT), LIMIT_DEBUG_TEXT);
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

/* A key as it is written in Lua: name, ["two words"], [1]. */
static void add_key(lua_State *L, int index, const struct inspect_place *place, struct buf *out)
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
        buf_add_str(out, cut(s, 100));
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
        add_key(L, lua_gettop(L), place, out);
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

/* Of the value on top, which a table of a lazy or sealed kind is replaced in by its members. */
static void add_value(lua_State *L, const struct inspect_place *place, struct buf *out)
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

/* ---- variables ---- */

/* A number for the table on top; 0: it is none, or there are too many. */
static unsigned add_table_ref(lua_State *L, struct asking *r)
{
    if (!lua_istable(L, -1))
        return 0;
    lua_pushvalue(L, -1);
    int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    struct inspect_ref *ref = add_ref(r->place, REF_TABLE, r->ref.frame);
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

/* {name, type, variablesReference, [text_key]: text} of the value on top, which is popped. `name`
 * NULL: it has none. */
static json_t *lx_pop_variable(lua_State *L, struct asking *r, const char *name,
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
        add_value(L, r->place, text);
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

static void lx_add_variable(lua_State *L, struct asking *r, const char *name)
{
    json_t *value = lx_pop_variable(L, r, name, "value");
    if (json_array_append_new(r->out->value, value) != 0)
        luaL_error(L, "out of memory");
}

/* Pushes the value of a local variable, and says its name; NULL: there is none at that slot. */
static const char *push_local(lua_State *L, const struct inspect_place *place,
                              const struct inspect_ref *frame, int slot)
{
    lua_Debug ar;
    if (!lua_getstack(frame->co, frame->level, &ar) || !lua_checkstack(frame->co, 1))
        return NULL;
    const char *name = lua_getlocal(frame->co, &ar, slot);
    if (name == NULL)
        return NULL;
    lua_xmove(frame->co, L, 1);
    if (!is_innermost(place, frame))
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

static void push_function(lua_State *L, const struct inspect_ref *frame)
{
    lua_Debug ar;
    if (!lua_checkstack(frame->co, 1) || !lua_getstack(frame->co, frame->level, &ar))
        luaL_error(L, "out of memory");
    lua_getinfo(frame->co, "f", &ar);
    lua_xmove(frame->co, L, 1);
}

/* Of two of one name the later one hides the other, but both are told. */
static void lx_add_locals(lua_State *L, struct asking *r, const struct inspect_ref *frame)
{
    char name[32];
    const char *known;
    for (int slot = 1; (known = push_local(L, r->place, frame, slot)) != NULL; slot++) {
        if (is_named(known))
            lx_add_variable(L, r, known);
        else
            lua_pop(L, 1);
    }
    for (int i = 1; i <= LIMIT_DEBUG_MEMBERS && push_local(L, r->place, frame, -i) != NULL; i++) {
        snprintf(name, sizeof(name), "...[%d]", i);
        lx_add_variable(L, r, name);
    }
}

static void lx_add_upvalues(lua_State *L, struct asking *r, const struct inspect_ref *frame)
{
    push_function(L, frame);
    const char *name;
    for (int i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
        if (strcmp(name, "_ENV") != 0 && *name != '\0')
            lx_add_variable(L, r, name);
        else
            lua_pop(L, 1);
    }
}

/* ---- what is in a table ---- */

static bool wants(const struct asking *r, const char *kind)
{
    return r->filter == NULL || strcmp(r->filter, kind) == 0;
}

static void lx_add_elements(lua_State *L, struct asking *r, lua_Integer size)
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

/* The name of the key on top, which lives in the state until it is popped: [-0, +1] */
static const char *lx_push_name(lua_State *L, struct asking *r)
{
    buf_clear(&r->scratch);
    add_key(L, lua_gettop(L), r->place, &r->scratch);
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

static void lx_add_named(lua_State *L, struct asking *r, lua_Integer size)
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
        const char *name = lx_push_name(L, r);
        lua_pushvalue(L, -3);
        lx_add_variable(L, r, name);
        lua_pop(L, 3);
    }
    lx_sort(L, r->out->value, from);
}

static int l_variables(lua_State *L)
{
    struct asking *r = lua_touserdata(L, 1);
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
    const struct inspect_ref *ref = find(place, id);
    *out = (struct inspect_result){.why = "this is not there any more: the request went on"};
    if (ref == NULL || ref->kind == REF_FRAME)
        return;
    struct asking r = {place, *ref, out, .filter = filter, .start = start, .count = count};
    run(&r, l_variables);
}

/* ---- scopes ---- */

/* The event, where the handler, the outermost function of Lua, has it still. */
static bool push_event(lua_State *L, const struct inspect_place *place)
{
    const struct inspect_ref *outermost = &place->refs[place->frame_count - 1];
    return place->task->invocation != NULL && push_local(L, place, outermost, 1) != NULL &&
           event_is_of(L, -1, place->task->invocation);
}

static void lx_add_scope(lua_State *L, struct asking *r, const char *name, const char *hint,
                         unsigned ref)
{
    json_t *scope = json_pack("{s:s,s:i,s:b,s:s}", "name", name, "variablesReference", (int)ref,
                              "expensive", false, "presentationHint", hint);
    if (scope == NULL || json_array_append_new(r->out->value, scope) != 0)
        luaL_error(L, "out of memory");
}

static int l_scopes(lua_State *L)
{
    struct asking *r = lua_touserdata(L, 1);
    unsigned frame = r->ref.frame;
    r->out->value = json_array();
    const struct inspect_ref *ref = add_ref(r->place, REF_LOCALS, frame);
    lx_add_scope(L, r, "Locals", "locals", ref != NULL ? ref->id : 0);
    ref = add_ref(r->place, REF_UPVALUES, frame);
    lx_add_scope(L, r, "Upvalues", "locals", ref != NULL ? ref->id : 0);
    if (push_event(L, r->place)) {
        show_open(L, lua_gettop(L));
        lx_add_scope(L, r, "Event", "arguments", add_table_ref(L, r));
    }
    return 0;
}

void inspect_scopes(struct inspect_place *place, unsigned frame, struct inspect_result *out)
{
    const struct inspect_ref *ref = find_frame(place, frame);
    *out = (struct inspect_result){.why = "this frame is not there any more: the request went on"};
    if (ref == NULL)
        return;
    struct asking r = {place, *ref, out, .count = 0};
    run(&r, l_scopes);
}

/* ---- expressions ---- */

/* The slot of the innermost local variable of that name, whose value is pushed; 0: there is none.
 */
static int push_local_named(lua_State *L, const struct scope *scope, const char *name)
{
    int found = 0;
    const char *known;
    for (int slot = 1; (known = push_local(L, scope->place, &scope->frame, slot)) != NULL; slot++) {
        if (strcmp(known, name) == 0)
            found = slot;
        lua_pop(L, 1);
    }
    if (found > 0)
        (void)push_local(L, scope->place, &scope->frame, found);
    return found;
}

/* The same of upvalues; pushes the function, and the value above it. */
static int push_upvalue_named(lua_State *L, const struct scope *scope, const char *name)
{
    push_function(L, &scope->frame);
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
static void push_globals(lua_State *L, const struct scope *scope)
{
    if (push_upvalue_named(L, scope, "_ENV") == 0)
        lua_pushglobaltable(L);
}

static struct scope *lx_scope(lua_State *L)
{
    struct scope *scope = lua_touserdata(L, lua_upvalueindex(1));
    if (scope->place == NULL)
        luaL_error(L, "the expression has ended");
    return scope;
}

/* __index(environment, name) */
static int l_env_index(lua_State *L)
{
    const struct scope *scope = lx_scope(L);
    const char *name = luaL_checkstring(L, 2);
    if (push_local_named(L, scope, name) > 0 || push_upvalue_named(L, scope, name) > 0)
        return 1;
    push_globals(L, scope);
    lua_pushvalue(L, 2);
    lua_gettable(L, -2);
    return 1;
}

static bool set_local(lua_State *L, const struct scope *scope, int slot)
{
    const struct inspect_ref *frame = &scope->frame;
    lua_Debug ar;
    if (!lua_getstack(frame->co, frame->level, &ar) || !lua_checkstack(frame->co, 1))
        return false;
    lua_xmove(L, frame->co, 1);
    return lua_setlocal(frame->co, &ar, slot) != NULL;
}

/* Sets the variable to the value on top, which is popped; false: there is none of that name. */
static bool set_variable(lua_State *L, const struct scope *scope, const char *name, bool locals,
                         bool upvalues)
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
    const struct scope *scope = lx_scope(L);
    const char *name = luaL_checkstring(L, 2);
    lua_settop(L, 3);
    if (set_variable(L, scope, name, true, true))
        return 0;
    push_globals(L, scope);
    lua_insert(L, 2);
    lua_settable(L, 2);
    return 0;
}

/* Pushes an environment for the frame, which run() ends. */
static void push_environment(lua_State *L, struct asking *r)
{
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    struct scope *scope = lua_newuserdatauv(L, sizeof(*scope), 0);
    *scope = (struct scope){r->place, r->place->refs[r->ref.frame]};
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scope_key);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_env_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, l_env_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}

/* As an expression, else as statements. */
static void lx_compile(lua_State *L, struct asking *r)
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
static void lx_evaluate(lua_State *L, struct asking *r)
{
    lx_compile(L, r);
    push_environment(L, r);
    (void)lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
}

static int l_evaluate(lua_State *L)
{
    struct asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lx_evaluate(L, r);
    r->out->value = lx_pop_variable(L, r, NULL, "result");
    return 0;
}

void inspect_evaluate(struct inspect_place *place, unsigned frame, struct str text,
                      struct inspect_result *out)
{
    const struct inspect_ref *ref = find_frame(place, frame);
    *out = (struct inspect_result){.why = "this frame is not there any more: the request went on"};
    if (ref == NULL)
        return;
    struct asking r = {place, *ref, out, .text = text};
    run(&r, l_evaluate);
}

static int l_holds(lua_State *L)
{
    struct asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lx_evaluate(L, r);
    r->holds = lua_toboolean(L, -1);
    return 0;
}

bool inspect_holds(struct inspect_place *place, const char *text, char why[512])
{
    struct inspect_result out = {.value = NULL};
    const struct inspect_ref *ref = find_frame(place, 0);
    if (ref == NULL)
        return true;
    struct asking r = {place, *ref, &out, .text = str_from(text), .holds = true, .is_value = true};
    run(&r, l_holds);
    memcpy(why, out.why, sizeof(out.why));
    return r.holds;
}

/* ---- log points ---- */

static int l_text_of(lua_State *L)
{
    struct asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lx_evaluate(L, r);
    if (lua_istable(L, -1)) {
        buf_clear(&r->scratch);
        add_value(L, r->place, &r->scratch);
        buf_add_str(r->log, buf_str(&r->scratch));
        return 0;
    }
    struct str s;
    s.ptr = luaL_tolstring(L, -1, &s.len);
    struct str clean = redact_clean(r->place->redact, s);
    buf_add_str(r->log, cut(clean.ptr != NULL ? clean : STR(REDACT_TEXT), LIMIT_DEBUG_TEXT));
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
    const struct inspect_ref *ref = find_frame(place, 0);
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
        struct asking r = {place,           *ref, &result, .text = {inner.ptr, end}, .log = out,
                           .is_value = true};
        run(&r, l_text_of);
        if (result.why[0] != '\0')
            buf_printf(out, "{%s}", result.why);
        rest = str_skip(inner, end + 1);
    }
}

/* ---- setting ---- */

/* stack: table, value. Sets the member that is shown under that name. */
static bool lx_set_member(lua_State *L, struct asking *r)
{
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        budget_step(L);
        lua_pop(L, 1);
        bool same = strcmp(lx_push_name(L, r), r->name) == 0;
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
    struct asking *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref.anchor);
    lx_evaluate(L, r);
    const struct scope scope = {r->place, r->place->refs[r->ref.frame]};
    lua_pushvalue(L, 2);
    bool done = r->ref.kind == REF_TABLE
                    ? (lua_settop(L, 2), lx_set_member(L, r))
                    : set_variable(L, &scope, r->name, r->ref.kind == REF_LOCALS,
                                   r->ref.kind == REF_UPVALUES);
    if (!done)
        return luaL_error(L, "there is no variable %s that could be set", r->name);
    lua_settop(L, 2);
    r->out->value = lx_pop_variable(L, r, NULL, "value");
    return 0;
}

void inspect_set(struct inspect_place *place, unsigned id, const char *name, struct str text,
                 struct inspect_result *out)
{
    const struct inspect_ref *ref = find(place, id);
    *out = (struct inspect_result){.why = "this is not there any more: the request went on"};
    if (ref == NULL || ref->kind == REF_FRAME)
        return;
    struct asking r = {place, *ref, out, .text = text, .name = name, .is_value = true};
    run(&r, l_set);
}

/* ---- errors ---- */

struct raised {
    struct inspect_place place;
    struct buf *out;
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
    (void)protect(&raised.place, l_is_answer, &raised, why, sizeof(why));
    return raised.is_answer;
}

static int l_raised(lua_State *L)
{
    struct asking *r = lua_touserdata(L, 1);
    push_raised(L, r->place->task);
    struct str s = {NULL, 0};
    if (lua_type(L, -1) != LUA_TSTRING) {
        add_value(L, r->place, r->log);
        return 0;
    }
    s.ptr = lua_tolstring(L, -1, &s.len);
    struct str clean = redact_clean(r->place->redact, s);
    buf_add_str(r->log, cut(clean.ptr != NULL ? clean : STR(REDACT_TEXT), LIMIT_DEBUG_TEXT));
    return 0;
}

void inspect_error(struct inspect_place *place, struct buf *out)
{
    struct inspect_result result;
    struct asking r = {.place = place, .out = &result, .log = out};
    run(&r, l_raised);
}
