/* Gives memory back: incremental collections, then the allocators' own trim. */
#include "run/tidy.h"

#include <malloc.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/pool.h"
#include "base/stack.h"
#include "run/instance.h"

enum {
    REST_MS = 200, /* in which none of its runs went on; a busy one is collected by allocating */
    TICK_MS = 10,  /* between two pieces of work */
    PIECE_NS = 1000000,           /* ... of this length */
    TRIM_MS = 500,                /* malloc_trim walks the whole heap: not more often than this */
    LARGE_BYTES = 1024 * 1024,    /* bodies and texts of this size go back at once */
    KEPT_BYTES = 4 * LARGE_BYTES, /* at the end of the heap, until malloc_trim */
    SMALL_BYTES = 8192            /* garbage of a state, beside a quarter of it, that may stay */
};

static struct {
    uv_timer_t timer;
    struct list instances; /* to collect; borrowed: whoever frees one takes it out */
    bool open;
    size_t freed; /* bytes since the last malloc_trim */
} tidy;

static void on_timer(uv_timer_t *timer);

/* The first cycle may have been under way before the run ended, and Lua halves its table of strings
 * once a cycle: so one follows the other as long as that frees something. True when done. */
static bool collect(struct instance *instance)
{
    struct vm *vm = instance->vm;
    uint64_t end = clock_monotonic_ns() + PIECE_NS;
    while (clock_monotonic_ns() < end) {
        if (lua_gc(vm->L, LUA_GCSTEP, 0) == 0)
            continue;
        bool was_first = instance->before_cycle == 0;
        bool freed = vm->used < instance->before_cycle - instance->before_cycle / 16;
        instance->before_cycle = vm->used;
        if (!was_first && !freed)
            return true;
    }
    return false;
}

static void finish(struct instance *instance)
{
    size_t used = instance->vm->used;
    list_remove(&instance->tidying);
    if (used < instance->grown_to)
        tidy.freed += instance->grown_to - used;
    unsigned waiting = instance->vm->task_count;
    if (waiting == 0)
        instance->settled = used;
    else
        instance->settled_each =
            used > instance->settled ? (used - instance->settled) / waiting : 0;
    vm_pace(instance->vm);
}

/* The first that has rested long enough, or NULL. */
static struct instance *first_rested(uint64_t now)
{
    for (struct list *at = tidy.instances.next; at != &tidy.instances; at = at->next) {
        struct instance *instance = container_of(at, struct instance, tidying);
        if (now - instance->rests_since_ms >= REST_MS)
            return instance;
    }
    return NULL;
}

static void trim(void)
{
    tidy.freed = 0;
    pool_trim();
    stack_trim();
    malloc_trim(0);
}

static void on_timer(uv_timer_t *timer)
{
    struct instance *instance = first_rested(uv_now(timer->loop));
    if (instance != NULL) {
        if (collect(instance))
            finish(instance);
        uv_timer_start(timer, on_timer, list_is_empty(&tidy.instances) ? TRIM_MS : TICK_MS, 0);
        return;
    }
    if (tidy.freed >= TIDY_WORTH)
        trim();
    if (!list_is_empty(&tidy.instances))
        uv_timer_start(timer, on_timer, TRIM_MS, 0);
}

void tidy_open(uv_loop_t *loop)
{
    /* malloc raises this by itself, up to 32 MiB, and keeps what lies below. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    /* Its own 128 KiB are less than one body: the top of the heap went back with each request, and
     * came again page by page. */
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    list_init(&tidy.instances);
    uv_timer_init(loop, &tidy.timer);
    tidy.open = true;
    tidy.freed = 0;
}

void tidy_close(void)
{
    if (!tidy.open)
        return;
    tidy.open = false;
    while (!list_is_empty(&tidy.instances))
        list_remove(tidy.instances.next);
    uv_close((uv_handle_t *)&tidy.timer, NULL);
}

void tidy_instance(struct instance *instance)
{
    if (!tidy.open)
        return;
    instance->rests_since_ms = uv_now(tidy.timer.loop);
    size_t used = instance->vm->used,
           needs = instance->settled + instance->settled_each * instance->vm->task_count;
    if (vm_has_outgrown_pace(instance->vm))
        vm_pace(instance->vm);
    if (!list_is_empty(&instance->tidying) || used <= needs + needs / 4 + SMALL_BYTES)
        return;
    list_push(&tidy.instances, &instance->tidying);
    instance->before_cycle = 0;
    instance->grown_to = used;
    if (!uv_is_active((uv_handle_t *)&tidy.timer))
        uv_timer_start(&tidy.timer, on_timer, REST_MS, 0);
}

void tidy_after_free(size_t bytes)
{
    if (!tidy.open || bytes < TIDY_WORTH)
        return;
    tidy.freed += bytes;
    if (!uv_is_active((uv_handle_t *)&tidy.timer))
        uv_timer_start(&tidy.timer, on_timer, TRIM_MS, 0);
}
