/* Processor time and the end that nothing swallows.
 *
 * No hook is set while a script behaves: a timer over this thread's processor time raises a signal
 * every BUDGET_TICK_MS; its handler arms a count hook on the coroutine that runs (lua_sethook is
 * made for that), and raises `budget_tick`, which C functions with long loops look at
 * (budget_step). The hook then reads the clock and decides: go on, yield the slice to the loop, or
 * end the request. Once `end` is set every pcall of the state re-raises, so the script unwinds. */
#pragma once

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_TICK_MS 5

enum budget_end {
    BUDGET_RUNNING,
    BUDGET_CPU,       /* processor time is used up */
    BUDGET_STALL,     /* too much of it in a row where the script cannot be suspended */
    BUDGET_TIMEOUT,   /* wall clock */
    BUDGET_MEMORY,    /* out of memory once */
    BUDGET_CANCELLED, /* client gone, reload, shutdown */
};

struct budget {
    uint64_t cpu_limit_ns; /* 0: none */
    uint64_t cpu_used_ns;  /* of finished slices */
    uint64_t deadline_ns; /* of clock_monotonic_ns; 0: none. Checked while running; the task's timer
                             checks it while waiting */
    uint64_t slice_start_ns; /* of clock_monotonic_ns, at the resume */
    bool may_slice;          /* yield to the loop when a slice is used up */
    bool may_stall;          /* where it cannot yield: go on, up to cpu_limit_ns */
    enum budget_end end;     /* sticky */
};

/* Set by the signal; cleared by the poll unless the slice is over. */
extern volatile sig_atomic_t budget_tick;

/* Called for each line that a watched coroutine begins, beside all that is done here; NULL: none
 * is. Set before the first state is made all of them are watched (`luafn test --coverage`); else
 * those of which budget_watches says so at a resume (a debugger). It may yield as the host does. */
extern lua_Hook budget_line_hook;
/* Asked of a coroutine that is about to run; NULL: nobody is there to be asked. */
extern bool (*budget_watches)(lua_State *co);
/* For a new state: its coroutines inherit what it has. */
void budget_attach(lua_State *L);

/* Starts the timer for the calling thread; once a process (again after fork). 0 or a negative
 * errno. */
int budget_start(void);
void budget_stop(void);

/* Around a resume: names the coroutine that the signal may hook, and accounts the slice. Does not
 * nest. `co` stays anchored until budget_leave. A coroutine that ended with an error while
 * `budget->end` is set must be dropped, neither closed with lua_resetthread nor used again: the
 * error may have left a hook, and Lua 5.4 then keeps hooks off in that thread for ever. */
void budget_enter(struct budget *budget, lua_State *co);
/* Nanoseconds since budget_enter. */
uint64_t budget_leave(struct budget *budget);
/* The coroutine wrappers tell which coroutine runs now; returns the one before. */
lua_State *budget_switch(lua_State *co);

/* In C loops of scripts, every few hundred steps: raises (and does not return) when the budget has
 * ended. */
void budget_poll(lua_State *L);
static inline void budget_step(lua_State *L)
{
    if (budget_tick)
        budget_poll(L);
}

/* The same for C functions that can go on later: true when the slice is over and `L` may be
 * suspended. Then `return budget_pause(L, context, go_on)`, as with lua_yieldk. */
bool budget_must_pause(lua_State *L);
static inline bool budget_step_or_pause(lua_State *L)
{
    return budget_tick && budget_must_pause(L);
}
int budget_pause(lua_State *L, lua_KContext context, lua_KFunction go_on);

/* Ends the budget and makes the running script notice at its next instruction. */
void budget_kill(struct budget *budget, enum budget_end end);

/* Raises the error that no pcall of ours stops; only valid after `end` was set. */
int budget_raise(lua_State *L);

/* Where the script was ("scripts/me.lua:12") when this budget ended, or, where that did not stop it
 * in the middle of a run, where `co` is: it waits, or ran out of memory. NULL: not in a script. Ask
 * before the coroutine is unwound and anything else is resumed. The text holds until the next call.
 */
const char *budget_place(const struct budget *budget, lua_State *co);

/* Is the value at `idx` what budget_raise raises? Ask only once `end` is set: a script may have got
 * hold of the value and raise it itself, and then it is an error like any other. */
bool budget_is_end_error(lua_State *L, int idx);

/* Is so much C stack in use since budget_enter that nothing may nest deeper? */
bool budget_stack_is_low(void);
