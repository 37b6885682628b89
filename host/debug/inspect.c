/* What there is to see of a task that stands: its frames, the numbers that were given, and how
 * anything is asked of its state.
 *
 * All of it runs as a protected call in the main thread of the task's state, on which nothing else
 * runs once a script has loaded. JSON that is under way hangs on the caller's struct, so that an
 * error of Lua loses none of it. */
#include "debug/inspect_internal.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard.h"

/* ---- protected calls ---- */

static const char scope_key; /* its address: the newest scope, in the registry */

void inspect_push_scope(lua_State *L, const struct inspect_asking *asking)
{
    struct inspect_scope *scope = lua_newuserdatauv(L, sizeof(*scope), 0);
    *scope = (struct inspect_scope){asking->place, asking->place->refs[asking->ref.frame]};
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scope_key);
}

static void end_scope(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scope_key) == LUA_TUSERDATA)
        ((struct inspect_scope *)lua_touserdata(L, -1))->place = NULL;
    lua_pop(L, 1);
}

bool inspect_protect(struct inspect_place *place, lua_CFunction fn, void *arg, char *why,
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

void inspect_run(struct inspect_asking *asking, lua_CFunction fn)
{
    struct inspect_result *out = asking->out;
    out->value = NULL;
    out->why[0] = '\0';
    bool good = inspect_protect(asking->place, fn, asking, out->why, sizeof(out->why));
    buf_free(&asking->scratch);
    end_scope(asking->place->task->vm->L);
    if (good)
        return;
    json_decref(out->value);
    out->value = NULL;
}

/* ---- numbers ---- */

const struct inspect_ref *inspect_find(const struct inspect_place *place, unsigned id)
{
    for (unsigned i = 0; i < place->ref_count; i++) {
        if (place->refs[i].id == id)
            return &place->refs[i];
    }
    return NULL;
}

bool inspect_knows(const struct inspect_place *place, unsigned id)
{
    return inspect_find(place, id) != NULL;
}

struct inspect_ref *inspect_add_ref(struct inspect_place *place, enum inspect_kind kind,
                                    unsigned frame)
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
                *ar.what != 'C' ? inspect_add_ref(place, REF_FRAME, place->ref_count) : NULL;
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

const struct inspect_ref *inspect_find_frame(struct inspect_place *place, unsigned id)
{
    if (id == 0)
        return frame_at(place, 0);
    const struct inspect_ref *ref = inspect_find(place, id);
    return ref != NULL && ref->kind == REF_FRAME ? ref : NULL;
}

bool inspect_is_innermost(const struct inspect_place *place, const struct inspect_ref *frame)
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
        const struct inspect_frame frame = {ref->id, name, ar.source,
                                            inspect_is_innermost(place, ref) ? place->line
                                                                             : ar.currentline};
        tell(arg, &frame);
        ref = frame_at(place, i + 1);
    }
    return place->frame_count;
}
