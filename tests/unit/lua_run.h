/* Runs a text as a script under a budget, as a task does: in a coroutine, slice by slice. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lua/sandbox.h"
#include "lua/vm.h"

struct lua_run {
    int status;
    enum budget_end end;
    unsigned slices;
    double ms;      /* of processor time: the machine may be busy */
    double longest; /* of the slices */
    char text[256]; /* the result or the error, as text */
};

static inline double thread_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static inline struct vm *script_vm(size_t memory)
{
    static const struct binding none[] = {{NULL, NULL}};
    struct vm *vm = vm_new(memory, NULL);
    assert_non_null(vm);
    sandbox_open(vm->L, none);
    return vm;
}

static inline void note_result(struct lua_run *run, lua_State *co)
{
    const char *text = "";
    if (run->status != LUA_OK && run->end != BUDGET_RUNNING && budget_is_end_error(co, -1))
        text = "(ended)";
    else if (lua_gettop(co) > 0 && lua_isstring(co, -1))
        text = lua_tostring(co, -1);
    snprintf(run->text, sizeof(run->text), "%s", text);
}

static inline struct lua_run run_text(struct vm *vm, struct budget *budget, const char *text)
{
    struct lua_run run = {.slices = 0};
    lua_State *co = lua_newthread(vm->L);
    vm->budget = budget;
    double began = thread_ms();
    run.status = luaL_loadbufferx(co, text, strlen(text), "=test", "t");
    int results = 0;
    if (run.status == LUA_OK) {
        do {
            vm->yield = VM_YIELD_SCRIPT;
            double slice_began = thread_ms();
            budget_enter(budget, co);
            run.status = lua_resume(co, NULL, 0, &results);
            budget_leave(budget);
            run.slices++;
            double took = thread_ms() - slice_began;
            run.longest = took > run.longest ? took : run.longest;
        } while (run.status == LUA_YIELD);
    }
    run.ms = thread_ms() - began;
    if (run.status == LUA_ERRMEM)
        budget_kill(budget, BUDGET_MEMORY);
    run.end = budget->end;
    note_result(&run, co);
    lua_settop(vm->L, 0);
    vm->budget = &vm->unlimited;
    return run;
}
