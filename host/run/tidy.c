/* Gives memory back: incremental collections, then malloc_trim. */
#include "run/tidy.h"

#include <malloc.h>
#include <stdbool.h>

#include "run/instance.h"

enum {
    TICK_MS = 10,       /* between two pieces of work */
    PIECE_NS = 1000000, /* ... of this length */
    TRIM_MS = 500       /* malloc_trim walks the whole heap: not more often than this */
};

static struct {
    uv_timer_t timer;
    struct list instances; /* to collect; each holds a reference */
    bool open;
    bool trim; /* something was freed since the last malloc_trim */
} tidy;

static void on_timer(uv_timer_t *timer);

/* The first cycle may have been under way before the run ended; a second one sees all of it. True
 * when done. */
static bool collect(struct instance *instance)
{
    uint64_t end = uv_hrtime() + PIECE_NS;
    while (instance->cycles_left > 0 && uv_hrtime() < end)
        instance->cycles_left -= lua_gc(instance->vm->L, LUA_GCSTEP, 0) != 0;
    return instance->cycles_left == 0;
}

static void release(struct instance *instance)
{
    list_remove(&instance->tidying);
    if (instance->vm->task_count == 0)
        instance->settled = instance->vm->used;
    instance_unref(instance);
}

static void on_timer(uv_timer_t *timer)
{
    if (!list_is_empty(&tidy.instances)) {
        struct instance *instance = container_of(tidy.instances.next, struct instance, tidying);
        tidy.trim = true;
        if (instance->refs == 1 || collect(instance)) /* nobody else: it is about to be freed */
            release(instance);
        uv_timer_start(timer, on_timer, list_is_empty(&tidy.instances) ? TRIM_MS : TICK_MS, 0);
    } else if (tidy.trim) {
        tidy.trim = false;
        malloc_trim(0);
    }
}

void tidy_open(uv_loop_t *loop)
{
    list_init(&tidy.instances);
    uv_timer_init(loop, &tidy.timer);
    tidy.open = true;
    tidy.trim = false;
}

void tidy_close(void)
{
    if (!tidy.open)
        return;
    tidy.open = false;
    while (!list_is_empty(&tidy.instances))
        release(container_of(tidy.instances.next, struct instance, tidying));
    uv_close((uv_handle_t *)&tidy.timer, NULL);
}

void tidy_instance(struct instance *instance)
{
    if (!tidy.open || !list_is_empty(&instance->tidying) ||
        instance->vm->used <= 2 * instance->settled + TIDY_WORTH)
        return;
    instance_ref(instance);
    list_push(&tidy.instances, &instance->tidying);
    instance->cycles_left = 2;
    uv_timer_start(&tidy.timer, on_timer, TICK_MS, 0);
}

void tidy_after_free(void)
{
    if (!tidy.open)
        return;
    tidy.trim = true;
    if (!uv_is_active((uv_handle_t *)&tidy.timer))
        uv_timer_start(&tidy.timer, on_timer, TRIM_MS, 0);
}
