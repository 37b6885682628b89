/* One loaded version of a function: its Lua state, its handler, the files it was made from.
 *
 * Loading runs the script's top level in a fresh state under the load limits; it may wait (fetch,
 * sleep), so it ends in a callback. An instance lives as long as somebody holds it: the function
 * while it is the current one, each invocation while it runs. */
#ifndef LUAFN_RUN_INSTANCE_H
#define LUAFN_RUN_INSTANCE_H

#include "base/err.h"
#include "run/sandbox.h"
#include "run/spec.h"
#include "run/task.h"
#include "run/vm.h"

struct instance_file {
    char *path;    /* owned */
    uint64_t hash; /* of the content that was loaded */
};

enum instance_state { INSTANCE_LOADING, INSTANCE_READY, INSTANCE_FAILED };

struct instance {
    unsigned refs;
    enum instance_state state;
    unsigned generation;              /* set by the function when it is swapped in */
    const struct function_spec *spec; /* borrowed from the configuration */
    struct vm *vm;                    /* owned */
    int handler;                      /* registry reference */
    struct instance_file *files;      /* owned; the script first, then what it required */
    unsigned file_count;
    struct err error; /* why it failed: "scripts/me.lua:3: ..." */

    struct task *loader; /* owned; NULL when loading is over */
    struct budget load_budget;
    uv_timer_t load_timer;
    bool timer_open;
    void (*loaded)(struct instance *instance, void *arg);
    void *loaded_arg;
};

/* Begins to load. `loaded` is called once, maybe before this returns, with the state READY or
 * FAILED. Returns with one reference, the caller's; NULL when out of memory (loaded is not called
 * then). `bindings` is static. */
struct instance *instance_load(const struct function_spec *spec, const struct services *services,
                               const struct binding *bindings,
                               void (*loaded)(struct instance *, void *), void *arg);

struct instance *instance_ref(struct instance *instance);
void instance_unref(struct instance *instance);

/* What the script said about itself, read into `spec` where functions.lua did not say it: path,
 * methods, auth, schedule, background. `arena` lives as long as the spec. 0 or -EINVAL, -ENOMEM
 * with the reason. */
int instance_read_options(struct instance *instance, struct function_spec *spec,
                          struct arena *arena, struct err *err) __attribute__((warn_unused_result));

/* Has one of its files changed on disk? */
bool instance_is_stale(const struct instance *instance);

#endif
