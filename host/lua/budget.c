/* The clock over scripts.
 *
 * The signal handler touches three things: the flag, the pointer to the running coroutine, and that
 * coroutine's hook. lua_sethook is safe there (lua.c does the same on SIGINT): it stores the hook
 * and marks the frames below the current one, which are complete at every moment. What the handler
 * misses by arriving at a bad moment the next tick catches.
 *
 * The timer counts the thread's processor time, but the kernel looks at it at its scheduling tick
 * only (4 ms at 250 Hz): ticks come 4 to 8 ms apart, 5 on average. A limit is noticed that late at
 * most. */
#include "lua/budget.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/limits.h"
#include "lua/vm.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { NS_PER_MS = 1000000 };

/* Processor time that can pass without a tick: the interval and two scheduling ticks. */
static const uint64_t untold_ns = (BUDGET_TICK_MS + 8) * (uint64_t)NS_PER_MS;

volatile sig_atomic_t budget_tick;

static lua_State *volatile running; /* what the signal hooks; NULL: no script runs */
static struct budget *current;      /* of `running` */
static const char *stack_base;      /* where the resume began */
/* Of the slice that runs, by the signal: the thread's clock at its first tick (0: none yet), and
 * what the slice had used by then at most. */
static volatile uint64_t tick_cpu_ns, tick_used_ns;
static uint64_t next_arm_ns; /* by the signal: the thread's clock before which it does not hook */
static timer_t timer;
static bool timer_is_on;
static const char end_error; /* its address is the error value */

/* Where the script was at the end of a budget, of the run since budget_enter. */
static struct {
    const struct budget *budget; /* NULL: none has ended */
    char text[LUA_IDSIZE + 16];
} place;

lua_Hook budget_line_hook;
bool (*budget_watches)(lua_State *co);

static void on_hook(lua_State *L, lua_Debug *ar);

/* Whether a coroutine is watched line by line is in its mask alone. */
static int line_mask(lua_State *co)
{
    return lua_gethookmask(co) & LUA_MASKLINE;
}

static void arm(lua_State *co)
{
    lua_sethook(co, on_hook, LUA_MASKCOUNT | line_mask(co), 1);
}

/* Without a mask Lua takes the hook off. */
static void disarm(lua_State *co)
{
    lua_sethook(co, on_hook, line_mask(co), 0);
}

void budget_attach(lua_State *L)
{
    lua_sethook(L, on_hook, budget_line_hook != NULL ? LUA_MASKLINE : 0, 0);
}

static void watch(lua_State *co)
{
    int wanted = budget_watches(co) ? LUA_MASKLINE : 0;
    if (wanted != line_mask(co))
        lua_sethook(co, on_hook, (lua_gethookmask(co) & LUA_MASKCOUNT) | wanted, 1);
}

static uint64_t thread_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* lua_sethook marks each frame. Where there are a hundred thousand of them, scattered over slow
 * memory, that takes longer than a tick, and between two signals the script would not get on. */
static void arm_at_times(lua_State *co)
{
    uint64_t begun = thread_clock();
    if (begun < next_arm_ns)
        return;
    arm(co);
    uint64_t ended = thread_clock();
    next_arm_ns = ended + 2 * (ended - begun);
}

static void on_tick(int signal)
{
    (void)signal;
    budget_tick = 1;
    lua_State *co = running;
    if (co == NULL)
        return;
    if (tick_cpu_ns == 0) {
        tick_used_ns = smaller(clock_monotonic_ns() - current->slice_start_ns, untold_ns);
        tick_cpu_ns = thread_clock();
    }
    arm_at_times(co);
}

int budget_start(void)
{
    budget_stop();
    next_arm_ns = 0; /* another thread's clock, after a fork */
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGRTMIN + 1, &action, NULL) != 0)
        return -errno;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) != 0)
        return -errno;
    const struct timespec tick = {.tv_nsec = BUDGET_TICK_MS * NS_PER_MS};
    const struct itimerspec every = {.it_interval = tick, .it_value = tick};
    if (timer_settime(timer, 0, &every, NULL) != 0) {
        int error = errno;
        timer_delete(timer);
        return -error;
    }
    timer_is_on = true;
    return 0;
}

/* After fork the child has no timers; deleting its parent's id then fails, harmlessly. */
void budget_stop(void)
{
    if (timer_is_on)
        timer_delete(timer);
    timer_is_on = false;
}

/* What the slice has used, at most. The thread's clock is a system call, so it is read from the
 * first tick on; until then time on the wall bounds it, and so does the tick that did not come. */
static uint64_t slice_used(const struct budget *budget, uint64_t now)
{
    if (tick_cpu_ns != 0)
        return tick_used_ns + thread_clock() - tick_cpu_ns;
    return smaller(now - budget->slice_start_ns, untold_ns);
}

void budget_enter(struct budget *budget, lua_State *co)
{
    assert(current == NULL);
    budget->slice_start_ns = clock_monotonic_ns();
    /* Who has used more than a tick can pay for the exact clock from the start. */
    bool is_exact = budget->cpu_used_ns > BUDGET_TICK_MS * (uint64_t)NS_PER_MS;
    place.budget = NULL;
    tick_used_ns = 0;
    tick_cpu_ns = is_exact ? thread_clock() : 0;
    stack_base = __builtin_frame_address(0);
    current = budget;
    budget_tick = 0;
    if (budget_watches != NULL)
        watch(co);
    atomic_signal_fence(memory_order_seq_cst); /* the signal sees all of it or no coroutine */
    running = co;
    if (budget->end != BUDGET_RUNNING)
        arm(co);
}

uint64_t budget_leave(struct budget *budget)
{
    assert(current == budget);
    running = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    uint64_t now = clock_monotonic_ns();
    budget->cpu_used_ns += slice_used(budget, now) + LIMIT_RESUME_NS;
    current = NULL;
    stack_base = NULL;
    return now - budget->slice_start_ns;
}

lua_State *budget_switch(lua_State *co)
{
    lua_State *before = running;
    if (before == NULL)
        return NULL; /* outside of any budget: nothing to hook */
    if (budget_watches != NULL)
        watch(co);
    running = co;
    /* A tick that hooked `before` at its last instruction must not be lost on `co`, nor an end. */
    if (budget_tick || current->end != BUDGET_RUNNING)
        arm(co);
    return before;
}

static bool slice_is_over(const struct budget *budget, uint64_t now)
{
    return budget->may_slice &&
           now - budget->slice_start_ns >= (uint64_t)LIMIT_SLICE_MS * NS_PER_MS;
}

/* Sets `end` when a limit is passed. While a slice is over that could not be given up the flag
 * stays, so that the next place where it can be notices. */
static void judge(struct budget *budget, uint64_t now)
{
    budget_tick = slice_is_over(budget, now);
    if (budget->end != BUDGET_RUNNING)
        return;
    uint64_t used = slice_used(budget, now);
    if (budget->cpu_limit_ns != 0 && budget->cpu_used_ns + used >= budget->cpu_limit_ns)
        budget->end = BUDGET_CPU;
    else if (budget->deadline_ns != 0 && now >= budget->deadline_ns)
        budget->end = BUDGET_TIMEOUT;
}

/* Between two instructions of `L`. */
static void on_count(lua_State *L)
{
    disarm(L);
    struct budget *budget = current;
    if (budget == NULL)
        return; /* armed in an earlier slice; this run has no budget */
    uint64_t now = clock_monotonic_ns();
    judge(budget, now);
    if (budget->end != BUDGET_RUNNING)
        budget_raise(L);
    if (!slice_is_over(budget, now))
        return;
    if (vm_can_yield(L)) {
        vm_of(L)->yield = VM_YIELD_SLICE;
        lua_yield(L, 0); /* returns: in a hook the yield comes after it */
    } else if (!budget->may_stall &&
               slice_used(budget, now) >= LIMIT_STALL_MS * (uint64_t)NS_PER_MS) {
        budget->end = BUDGET_STALL;
        budget_raise(L);
    }
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    if (ar->event != LUA_HOOKLINE)
        on_count(L);
    else if (budget_line_hook != NULL)
        budget_line_hook(L, ar);
    else
        lua_sethook(L, on_hook, lua_gethookmask(L) & LUA_MASKCOUNT, 1); /* who watched has left */
}

void budget_poll(lua_State *L)
{
    struct budget *budget = current;
    if (budget == NULL) {
        budget_tick = 0;
        return;
    }
    judge(budget, clock_monotonic_ns());
    if (budget->end != BUDGET_RUNNING)
        budget_raise(L);
}

bool budget_must_pause(lua_State *L)
{
    budget_poll(L);
    return budget_tick && vm_can_yield(L);
}

int budget_pause(lua_State *L, lua_KContext context, lua_KFunction go_on)
{
    vm_of(L)->yield = VM_YIELD_SLICE;
    return lua_yieldk(L, 0, context, go_on);
}

void budget_kill(struct budget *budget, enum budget_end end)
{
    if (budget->end == BUDGET_RUNNING)
        budget->end = end;
    lua_State *co = running;
    if (budget == current && co != NULL)
        arm(co);
}

/* The innermost line that `co` has of a script; functions in C have none. */
static bool find_place(lua_State *co)
{
    enum { LEVELS = 100 };
    lua_Debug frame;
    for (int level = 0; level < LEVELS && lua_getstack(co, level, &frame); level++) {
        lua_getinfo(co, "Sl", &frame);
        if (frame.currentline <= 0)
            continue;
        snprintf(place.text, sizeof(place.text), "%s:%d", frame.short_src, frame.currentline);
        return true;
    }
    return false;
}

const char *budget_place(const struct budget *budget, lua_State *co)
{
    static char told[sizeof(place.text)];
    bool is_known = place.budget == budget || find_place(co);
    place.budget = NULL;
    memcpy(told, place.text, sizeof(told));
    return is_known ? told : NULL;
}

/* The hook stays armed while the coroutine unwinds: a handler or a <close> variable gets no
 * instruction further. */
int budget_raise(lua_State *L)
{
    arm(L);
    if (place.budget == NULL && find_place(L))
        place.budget = current;
    lua_pushlightuserdata(L, (void *)(uintptr_t)&end_error);
    return lua_error(L);
}

bool budget_is_end_error(lua_State *L, int idx)
{
    return lua_touserdata(L, idx) == (const void *)&end_error;
}

bool budget_stack_is_low(void)
{
    const char *here = __builtin_frame_address(0);
    return stack_base != NULL && stack_base - here > LIMIT_C_STACK_BYTES;
}
