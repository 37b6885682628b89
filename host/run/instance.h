/* One loaded version of a function: its Lua state, its handler, the files it was made from.
 *
 * Loading runs the script's top level in a fresh state under the load limits; it may wait (fetch,
 * sleep), so it ends in a callback. An instance lives as long as somebody holds it: the function
 * while it is the current one, each invocation while it runs. */
#pragma once

#include "base/err.h"
#include "lua/origin.h"
#include "lua/sandbox.h"
#include "options/spec.h"
#include "run/task.h"
#include "lua/vm.h"

struct issuer_links;

enum instance_state { INSTANCE_LOADING, INSTANCE_READY, INSTANCE_FAILED };

struct instance {
    unsigned refs;
    enum instance_state state;
    unsigned results_checked;         /* results that were looked at for misspelt members */
    unsigned generation;              /* set by the function when it is swapped in */
    const struct function_spec *base; /* what functions.lua says; borrowed from the configuration */
    struct function_spec spec;        /* the same, with what the script says about itself */
    struct arena arena;               /* of the latter */
    struct issuer_links *links;       /* in the arena: whose keys it uses; NULL: nobody's yet */
    struct vm *vm;                    /* owned */
    int handler;                      /* registry reference */
    int arguments;                    /* of event and context, how many the handler can see */
    struct origin *origin;            /* reference: the files that it looked at */
    uint64_t content;                 /* one number for those of the load */
    unsigned good, bad;               /* runs that ended well, and in an error or at a limit */
    struct err error;                 /* why it failed: "scripts/me.lua:3: ..." */

    size_t settled;      /* tidy.c: bytes in use after the load, and after each collection there */
    size_t settled_each; /* ... and beside that for each run that waited at the last one */
    struct list tidying; /* ... its list of instances to collect */
    uint64_t rests_since_ms; /* ... uv_now at the end of its last run */
    size_t grown_to;         /* ... bytes in use when it came into that list */
    size_t before_cycle;     /* ... bytes in use when that collection's cycle began; 0: its first */

    struct task *loader; /* owned; NULL when loading is over */
    struct budget load_budget;
    uv_timer_t load_timer;
    bool timer_open;
    void (*loaded)(struct instance *instance, void *arg);
    void *loaded_arg;
};

/* In the registry: the handler of a script that returns nothing; a binding may set it (`luafn
 * test`).
 */
#define INSTANCE_DEFAULT_HANDLER "luafn.handler"

/* Begins to load. `loaded` is called once, maybe before this returns, with the state READY or
 * FAILED. Returns with one reference, the caller's; NULL when out of memory (loaded is not called
 * then). `bindings` is static; `earlier`: the origin that it is to be made from again, or NULL. */
struct instance *instance_load(const struct function_spec *spec, const struct services *services,
                               const struct binding *bindings, struct origin *earlier,
                               void (*loaded)(struct instance *, void *), void *arg);

/* Ends the load of an instance that is INSTANCE_LOADING, from the loop: what its script waits for
 * is cancelled, its <close> variables run, `loaded` is not called. The caller keeps its reference,
 * to an instance that failed. */
void instance_cancel_load(struct instance *instance);

struct instance *instance_ref(struct instance *instance);
void instance_unref(struct instance *instance);

/* Reads what the script said about itself into instance->spec, where functions.lua did not say it.
 * 0 or -EINVAL, -ENOMEM with the reason. */
int instance_read_options(struct instance *instance, struct err *err)
    __attribute__((warn_unused_result));
