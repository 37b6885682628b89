/* The coroutine library.
 *
 * A script's coroutines run inside of the task's. When the host suspends the innermost one (it
 * waits, or its slice is over), every resume around it suspends too, and when the task goes on,
 * each resumes the next again. The marks in vm.h keep scripts from resuming or closing what the
 * host has suspended, and the host's own coroutines. */
#include "base/limits.h"
#include "lua/budget.h"
#include "lua/guard.h"
#include "lua/guard_parts.h"
#include "lua/vm.h"

enum { NOT_RESUMED = -1, RELAYED = -2 };

static bool is_scripts_own(lua_State *co)
{
    return vm_marks(co) == VM_MARK_SCRIPT;
}

static lua_State *check_thread(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "thread");
    return co;
}

/* ---- resume -------------------------------------------------------------------------------- */

static void check_depth(lua_State *L, const struct vm *vm)
{
    if (vm->depth >= LIMIT_COROUTINES || budget_stack_is_low())
        luaL_error(L, "too many coroutines resume each other (at most %d)", LIMIT_COROUTINES);
}

static int run_inner(lua_State *L, lua_State *co, int arg_count, int *result_count)
{
    struct vm *vm = vm_of(L);
    bool relays = vm->relays;
    vm->relays = relays && lua_isyieldable(L);
    vm->depth++;
    vm_set_marks(co, VM_MARK_SCRIPT);
    lua_State *outer = budget_switch(co);
    int status = lua_resume(co, L, arg_count, result_count);
    budget_switch(outer);
    vm->depth--;
    vm->relays = relays;
    return status;
}

/* Resumes `co` with arguments that are on its stack. The count of results, which are moved to L;
 * RELAYED when the host suspended it; or NOT_RESUMED with the error on L. */
static int resume(lua_State *L, lua_State *co, int arg_count)
{
    int result_count = 0;
    int status = run_inner(L, co, arg_count, &result_count);
    if (status == LUA_YIELD && vm_of(L)->yield != VM_YIELD_SCRIPT) {
        vm_set_marks(co, VM_MARK_SCRIPT | VM_MARK_HOST);
        return RELAYED;
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, result_count + 1)) {
            lua_pop(co, result_count);
            lua_pushliteral(L, "too many results to resume");
            return NOT_RESUMED;
        }
        lua_xmove(co, L, result_count);
        return result_count;
    }
    if (vm_of(L)->budget->end != BUDGET_RUNNING)
        vm_set_marks(co, VM_MARK_SCRIPT | VM_MARK_KILLED);
    guard_caught(L, status);
    lua_xmove(co, L, 1);
    return NOT_RESUMED;
}

/* Moves the arguments from L's top and resumes. */
static int resume_with(lua_State *L, lua_State *co, int arg_count)
{
    check_depth(L, vm_of(L));
    budget_step(L);
    const char *problem = NULL;
    int status = lua_status(co);
    if ((status == LUA_OK && lua_gettop(co) == 0) || (status != LUA_OK && status != LUA_YIELD))
        problem = "cannot resume dead coroutine";
    if (!is_scripts_own(co) || co == L)
        problem = "cannot resume non-suspended coroutine";
    else if (problem == NULL && !lua_checkstack(co, arg_count))
        problem = "too many arguments to resume";
    if (problem != NULL) {
        lua_pushstring(L, problem);
        return NOT_RESUMED;
    }
    lua_xmove(L, co, arg_count);
    return resume(L, co, arg_count);
}

static int finish_resume(lua_State *L, int count);

/* The task goes on: so does the coroutine that the host suspended. */
static int go_on_resume(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return finish_resume(L, resume(L, lua_tothread(L, 1), 0));
}

static int finish_resume(lua_State *L, int count)
{
    if (count == RELAYED)
        return lua_yieldk(L, 0, 0, go_on_resume);
    int returned = count == NOT_RESUMED ? 1 : count;
    lua_pushboolean(L, count != NOT_RESUMED);
    lua_insert(L, -(returned + 1));
    return returned + 1;
}

static int l_resume(lua_State *L)
{
    lua_State *co = check_thread(L);
    return finish_resume(L, resume_with(L, co, lua_gettop(L) - 1));
}

/* ---- close --------------------------------------------------------------------------------- */

/* Runs what `co` has still to close. Lua 5.4.4 does not count the C stack through this call: hence
 * check_depth. Leaves an error on co. */
static int close_thread(lua_State *L, lua_State *co)
{
    struct vm *vm = vm_of(L);
    check_depth(L, vm);
    bool relays = vm->relays;
    vm->relays = false;
    vm->depth++;
    lua_State *outer = budget_switch(co);
    int status = lua_resetthread(co);
    budget_switch(outer);
    vm->depth--;
    vm->relays = relays;
    if (status != LUA_OK)
        guard_caught(L, status);
    return status;
}

/* ---- wrap ---------------------------------------------------------------------------------- */

static int finish_wrap(lua_State *L, int count);

static int go_on_wrap(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return finish_wrap(L, resume(L, lua_tothread(L, lua_upvalueindex(1)), 0));
}

static int finish_wrap(lua_State *L, int count)
{
    if (count == RELAYED)
        return lua_yieldk(L, 0, 0, go_on_wrap);
    if (count != NOT_RESUMED)
        return count;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD && is_scripts_own(co)) {
        lua_xmove(L, co, 1); /* resetthread takes the error from there */
        close_thread(L, co);
        lua_xmove(co, L, 1);
    }
    if (lua_type(L, -1) == LUA_TSTRING) { /* where it was called, as Lua's own wrap tells */
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int l_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return finish_wrap(L, resume_with(L, co, lua_gettop(L)));
}

static int l_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    vm_set_marks(co, VM_MARK_SCRIPT);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int l_wrap(lua_State *L)
{
    l_create(L);
    lua_pushcclosure(L, l_wrapped, 1);
    return 1;
}

/* ---- the rest ------------------------------------------------------------------------------ */

enum state { RUNNING, DEAD, SUSPENDED, NORMAL };
static const char *const state_names[] = {"running", "dead", "suspended", "normal"};

static enum state state_of(lua_State *L, lua_State *co)
{
    if (co == L)
        return RUNNING;
    uintptr_t marks = vm_marks(co);
    if (marks & VM_MARK_KILLED)
        return DEAD;
    if (marks != VM_MARK_SCRIPT)
        return NORMAL; /* the host's, or suspended by the host */
    int status = lua_status(co);
    if (status == LUA_YIELD)
        return SUSPENDED;
    if (status != LUA_OK)
        return DEAD;
    lua_Debug frame;
    if (lua_getstack(co, 0, &frame))
        return NORMAL;
    return lua_gettop(co) == 0 ? DEAD : SUSPENDED;
}

static int l_close(lua_State *L)
{
    lua_State *co = check_thread(L);
    enum state state = state_of(L, co);
    if (state != DEAD && state != SUSPENDED)
        return luaL_error(L, "cannot close a %s coroutine", state_names[state]);
    bool is_ok = !(vm_marks(co) & VM_MARK_KILLED) && close_thread(L, co) == LUA_OK;
    lua_pushboolean(L, is_ok);
    if (is_ok)
        return 1;
    if (vm_marks(co) & VM_MARK_KILLED)
        lua_pushliteral(L, "coroutine was ended by the host");
    else
        lua_xmove(co, L, 1);
    return 2;
}

/* To a script its task's coroutine is the main one. */
static int l_isyieldable(lua_State *L)
{
    lua_State *co = lua_isnone(L, 1) ? L : check_thread(L);
    lua_pushboolean(L, (vm_marks(co) & VM_MARK_SCRIPT) && lua_isyieldable(co));
    return 1;
}

static int l_running(lua_State *L)
{
    lua_pushthread(L);
    lua_pushboolean(L, !(vm_marks(L) & VM_MARK_SCRIPT));
    return 2;
}

static int l_status(lua_State *L)
{
    lua_pushstring(L, state_names[state_of(L, check_thread(L))]);
    return 1;
}

static int l_yield(lua_State *L)
{
    if (!(vm_marks(L) & VM_MARK_SCRIPT))
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

lua_State *guard_resumed_by(lua_State *co)
{
    lua_Debug frame;
    if (!lua_getstack(co, 0, &frame) || !lua_checkstack(co, 2))
        return NULL;
    lua_getinfo(co, "f", &frame);
    lua_CFunction function = lua_tocfunction(co, -1);
    lua_State *inner = NULL;
    if (function == l_wrapped && lua_getupvalue(co, -1, 1) != NULL) {
        inner = lua_tothread(co, -1);
        lua_pop(co, 1);
    }
    lua_pop(co, 1);
    if (function != l_resume || lua_getlocal(co, &frame, 1) == NULL)
        return inner;
    inner = lua_tothread(co, -1);
    lua_pop(co, 1);
    return inner;
}

static const luaL_Reg functions[] = {
    {"close", l_close},   {"create", l_create},   {"isyieldable", l_isyieldable},
    {"resume", l_resume}, {"running", l_running}, {"status", l_status},
    {"wrap", l_wrap},     {"yield", l_yield},     {NULL, NULL},
};

void guard_fill_coroutine(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
}
