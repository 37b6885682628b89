/* One run of a handler: event and context, budget, tasks, and the way to the answer.
 *
 * Ends in exactly one of: the handler returned, it raised, its budget ended (processor time, wall
 * clock, memory), or it was cancelled (client gone, shutdown). run/outcome.c turns that into the
 * response. Work registered with after_response runs after the answer, on the same instance, with a
 * deadline of its own. */
#pragma once

#include <uv.h>

#include "base/clock.h"
#include "run/function.h"

struct event_slot;

/* Who gives out the slots, and is told what becomes of them. */
struct invocation_owner {
    /* The handler has ended, well or not; its answer is about to leave. */
    void (*on_result)(struct function *function, struct instance *instance, bool good);
    /* All is over: the slot is free. `spoiled`: the instance, the function's current one, ran out
     * of memory and must be replaced. */
    void (*on_end)(struct function *function, bool spoiled);
};

struct invocation {
    struct function *function; /* borrowed: outlives its invocations */
    const struct invocation_owner *owner;
    struct instance *instance; /* reference */
    struct call *call;         /* in the exchange's arena */
    struct exchange *ex;       /* reference, until the end: event and claims live in its arena */
    struct budget budget;
    struct list tasks; /* all of them: struct task.siblings */
    struct task *main; /* NULL after the handler has ended */
    uv_timer_t timer;  /* the deadline, and the clock of a WebSocket, armed while something waits;
                          closed with the pool */
    uv_timer_cb on_timer;
    uint64_t clock_ns; /* monotonic: when its WebSocket is to be told; UINT64_MAX: not */
    struct event_slot *slot;
    uint64_t stream;     /* names the streamed answer while its body runs; 0: none */
    struct list writers; /* operations that wait for the client to read: stream.c */
    struct op *reader;   /* the one that waits for the client to send: chunks.c, websocket.c */
    struct websocket *websocket; /* owned; NULL: it is none */
    struct list endings;         /* struct invocation_ending */
    struct list leavings;        /* struct invocation_leaving */
    unsigned listening;          /* operations that wait for what others send: channels */
    unsigned fetching;           /* transfers under way */
    unsigned standing;           /* of its tasks, for a debugger: the wall clock stands, too */
    bool starting;               /* the first resume is under way */
    bool answered;
    uint64_t left_ns;     /* of the wall clock, while it stands */
    unsigned after_count; /* functions in the registry to run after the answer */
    int after[8];
    size_t log_bytes;
    struct list in_function;
};

/* Starts the handler of that version. Takes a reference to the exchange and owns call->claims from
 * here on; false when out of memory: it has done neither. `owner` (static) may be told of the end
 * before this returns. */
bool invocation_start(struct call *call, struct instance *instance,
                      const struct invocation_owner *owner) __attribute__((warn_unused_result));

/* Ends it from outside; `end` says why: BUDGET_TIMEOUT answers 504, BUDGET_CANCELLED 503 if there
 * still is a client. */
void invocation_cancel(struct invocation *inv, enum budget_end end);

/* The invocation that runs in this state right now, or NULL. */
static inline struct invocation *invocation_of(lua_State *L)
{
    const struct task *task = vm_of(L)->task;
    return task != NULL ? task->invocation : NULL;
}

/* Registers the function at the top of the stack (pops it) to run after the answer. Raises when
 * there are too many. */
void lx_invocation_after(lua_State *L);

/* Something that must not outlive the invocation. `end` is called once, with the node taken off. */
struct invocation_ending {
    struct list node;
    void (*end)(struct invocation_ending *ending);
};
void invocation_on_end(struct invocation *inv, struct invocation_ending *ending);

/* Something that is told, once, with the node taken off, that the invocation should come to its
 * end: its host or its generation goes, or the client of its WebSocket has left. Nothing may be
 * resumed from within. */
struct invocation_leaving {
    struct list node;
    void (*leave)(struct invocation_leaving *leaving);
};
static inline void invocation_leave(struct invocation *inv)
{
    while (!list_is_empty(&inv->leavings)) {
        struct invocation_leaving *leaving =
            container_of(inv->leavings.next, struct invocation_leaving, node);
        list_remove(&leaving->node);
        leaving->leave(leaving);
    }
}

/* Counts the wall clock from now on: it begins, or a stream moved; but not past what whoever asked
 * waits for. The timer is not moved: it finds out that it came too early. */
static inline void invocation_extend(struct invocation *inv)
{
    uint64_t now = clock_monotonic_ns(), until = inv->ex->until_ns;
    uint64_t deadline = now + (uint64_t)(inv->instance->spec.timeout * 1e9);
    deadline = until != 0 && until < deadline ? until : deadline;
    if (inv->standing > 0)
        inv->left_ns = deadline > now ? deadline - now : 0;
    else
        inv->budget.deadline_ns = deadline;
}

/* A task of it stands, for a debugger, or does so no more: the wall clock with it. */
void invocation_stand(struct invocation *inv);
void invocation_go_on(struct invocation *inv);

/* Nanoseconds of the wall clock that are left. */
static inline uint64_t invocation_left(const struct invocation *inv)
{
    uint64_t now = clock_monotonic_ns(), end = inv->budget.deadline_ns;
    return inv->standing > 0 ? inv->left_ns : end > now ? end - now : 0;
}

/* Sets the timer anew. */
static inline void invocation_arm(struct invocation *inv)
{
    uint64_t at = inv->clock_ns;
    if (inv->standing == 0 && inv->budget.deadline_ns < at)
        at = inv->budget.deadline_ns;
    /* The loop's time, in milliseconds, is that of the same clock. It may be an old one; what is
     * due then is not, so that nobody need ask what time it is. */
    uint64_t due = at / 1000000 + 1, now = uv_now(inv->timer.loop);
    if (at == UINT64_MAX)
        uv_timer_stop(&inv->timer);
    else
        uv_timer_start(&inv->timer, inv->on_timer, due > now ? due - now : 0, 0);
}

/* A stream or a WebSocket has got something to do: that is a piece of work of its own. */
static inline void invocation_begin_work(struct invocation *inv)
{
    invocation_extend(inv);
    inv->function->metrics->cpu_ns += inv->budget.cpu_used_ns;
    inv->budget.cpu_used_ns = 0;
}

/* Adds a task beside the main one (parallel). Its `done` is the caller's. */
struct task *invocation_add_task(struct invocation *inv, void (*done)(struct task *, int),
                                 void *arg);

/* Once a process, around everything else. */
void invocation_pool_open(uv_loop_t *loop);
void invocation_pool_close(void);
