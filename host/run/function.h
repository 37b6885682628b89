/* A function: its current instance, the requests that run in it, those that wait for a slot.
 *
 * `function_call` gives a slot, queues, or answers 503. Who has a slot sends his body, unless the
 * handler takes it in pieces; who waits for one is not read from. A new generation is loaded beside
 * the current one and swapped in only if it loads; what runs finishes on the instance it began
 * with. */
#pragma once

#include "shared/metrics.h"
#include "http/exchange.h"
#include "http/router.h"
#include "run/instance.h"
#include "run/tool_call.h"
#include "options/spec.h"

/* What a handler is told of the job that it runs. */
struct job_call {
    struct str id, key; /* `key` empty: none */
    unsigned attempt;   /* this is; from 1 on */
    bool began;         /* the handler was called */
};

/* A request on its way to a function; lives in the exchange's arena. */
struct call {
    struct function *function;
    struct exchange *ex;   /* held by the invocation once it has started */
    struct claims *claims; /* owned; NULL: no verified token */
    struct str token;      /* in the arena; with claims */
    const json_t *query;   /* in the arena: as the function's `query` wants it; NULL: it has none */
    struct str path;       /* event.path: what the client asked for, before rewrites */
    struct str route;      /* the pattern that it was found by; may be empty */
    const struct route_param *params; /* so many, in the arena */
    unsigned param_count;
    struct job_call *job;    /* in the arena; NULL: it is no job of the queue */
    struct tool_call *tool;  /* in the arena; NULL: it is called by its own address */
    struct instance *judged; /* reference, where it waited: by whose policy it was let in; NULL: by
                                that of functions.lua */
    bool waited;
    struct list waiting; /* in the function's queue, or among those whose body comes */
};

/* Who tries a version that has loaded before it serves in place of another. */
struct function_trials {
    /* True: it stays function->loading, and function_settle comes, later. */
    bool (*begin)(void *arg, struct function *function, struct instance *instance);
    /* The function ends: nothing of it is to be touched any more. */
    void (*cancel)(void *arg, struct function *function);
};

struct function {
    const struct function_spec *base; /* what functions.lua says; borrowed from the deployment */
    const struct function_spec *spec; /* of the current instance; `base` while there is none */
    const struct services *services;
    const struct binding *bindings;
    struct instance *current; /* reference; NULL while nothing has loaded */
    struct instance *loading; /* reference; NULL: none under way */
    bool trying;              /* it has loaded, and is tried */
    bool fixed;               /* function_hold: loads nothing */
    struct instance
        *fallback;    /* reference: the generation before, while `current` is on trial; else NULL */
    bool suspended;   /* its runs hung workers: 503 until its files change */
    bool unscheduled; /* there is no room for its schedule, which has been told */
    unsigned generation;  /* of the newest that loaded; counts on over reloads */
    uint64_t content;     /* of the files of that one */
    uint64_t tried;       /* of the newest load, good or bad */
    bool renewing;        /* a fresh state is wanted for the version that is there */
    bool load_again;      /* a change came in while loading */
    bool ended;           /* function_cancel_all: starts and loads nothing any more */
    bool first_load_done; /* the deployment's note */
    bool failed;          /* the newest load failed: `error` says why */
    struct err error;
    struct origin *origin; /* reference: of the newest load, good or bad; NULL: none yet */
    /* Reference: as of function_begin_with, until a load has succeeded. */
    struct origin *earlier;
    unsigned retries;      /* of that load; */
    uint64_t retry_at;     /* the next one not before, of uv_now: who owns us does them */
    struct origin *served; /* reference: what the function of this name before serves; NULL: none */
    bool remaking;         /* the files do not load: that is being made again */
    unsigned running;      /* slots that are taken */
    unsigned awaited; /* requests that wait for a key before they are judged, and then call it */
    struct list invocations; /* those that run */
    struct list receiving;   /* calls that have a slot and wait for their body */
    struct list queue;       /* calls that wait */
    unsigned queued;
    bool dispatching;                 /* start_queued is at work */
    struct function_metrics *metrics; /* borrowed: of this name, in the worker's page; or ... */
    struct function_metrics unshared; /* ... where a tool has no pages */
    /* Asked before a new instance is swapped in: links its policy. 0, or a negative errno with the
     * reason. May be NULL. */
    int (*prepare)(struct function *function, struct instance *instance, struct err *err);
    /* Told after each load, good or bad. */
    void (*on_loaded)(struct function *function);
    void *owner; /* borrowed; of both */
};

/* NULL when out of memory. Loads nothing yet. `before`: the function whose place it takes, or NULL:
 * generations count on from there, and where the files do not load at first, what it serves is made
 * again, under the new spec. */
struct function *function_new(const struct function_spec *spec, const struct services *services,
                              const struct binding *bindings, const struct function *before);
/* Before the first load: makes it, and those after it until one succeeds, from what a version was
 * made from; if that gives the same content, it has that number. `earlier` may be NULL. */
void function_begin_with(struct function *function, struct origin *earlier, uint64_t content,
                         unsigned generation);
/* Everything that runs or waits must have ended (function_is_idle). A load that is under way ends
 * with it, while the loop can still close its timer. */
void function_free(struct function *function);

/* Loads a new generation (at once, or after the one that is loading). The load is the function's:
 * its end is told to on_loaded, unless the function ends before. */
void function_load(struct function *function);

/* The end of its trial. `why`: it does not serve; NULL: it does. */
void function_settle(struct function *function, const struct err *why);

/* In place of loads: serves that instance, which is ready, from its beginning to its end. */
void function_hold(struct function *function, struct instance *instance);

/* Would a call be started or queued now? If not, function_call answers it with an error at once. */
bool function_accepts(const struct function *function);
/* How many could begin now, without waiting for a slot. */
unsigned function_room(const struct function *function);

/* Takes over the call; leads to exchange_answer. */
void function_call(struct call *call);

/* Tells the WebSockets of this instance (NULL: of all) that they go: 1001. */
void function_close_websockets(struct function *function, const struct instance *instance);

/* Ends everything that runs, waits or loads; clients get 503. Nothing begins after it. */
void function_cancel_all(struct function *function);
/* Does nothing run or wait? A load that nobody waits for is no work. */
bool function_is_idle(const struct function *function);
