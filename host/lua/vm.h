/* One Lua state with its memory cap, and how C code finds it again from any coroutine.
 *
 * Every state belongs to one function instance (or, in tests and for functions.lua, to nobody). All
 * its coroutines share the `struct vm` through lua_getextraspace. The allocator refuses what would
 * go over the limit; Lua then collects and tries again, and only a second refusal becomes
 * LUA_ERRMEM. */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/str.h"
#include "lua/budget.h"

/* Lua's own headers do not say that these never return. */
int luaL_error(lua_State *L, const char *format, ...) __attribute__((noreturn));
int lua_error(lua_State *L) __attribute__((noreturn));

struct client;
struct function_spec;
struct function_trials;
struct metrics;
struct outbound_spec;
struct verifier;
struct worker_metrics;
struct issuers;
struct sql;
struct store;
struct instance;
struct task;
struct event_slot;
struct hook;

struct buf;
struct redact_names;

/* What the functions that the program brings itself (function_spec.is_dev) may ask beside what all
 * functions may. All borrowed. */
struct own_services {
    const struct binding *bindings;                     /* globals that they alone have */
    const char *program, *config_file, *journal_folder; /* NULL: there is none */
    /* Appends JSON: what is loaded, and what is not; and the routes. */
    void (*write_state)(void *arg, struct buf *out);
    void (*write_routes)(void *arg, struct buf *out);
    struct redact_names *(*redacted)(void *arg); /* a new reference, or NULL */
    void *arg;
};

/* What a worker offers to bindings. All borrowed; NULL where a tool (check, test) has none. */
struct services {
    uv_loop_t *loop;
    bool silent; /* what scripts log is written nowhere: none of these answers anybody */
    struct client *client;
    struct issuers *issuers;
    struct store *store; /* of kv */
    struct sql *sql;     /* databases */
    struct channel_hub *channels;
    const struct verifier
        *verifiers; /* the deployment's issuers, for jwt.require_scope and company */
    unsigned verifier_count;
    struct str claim_namespace; /* dropped from the claims that these verify; may be empty */
    struct str role_path;       /* where roles are in them; empty: in `roles` */
    const struct outbound_spec *outbound; /* in whose names fetch may ask */
    unsigned outbound_count;
    bool dev;
    struct metrics *metrics;     /* the table of all workers, where names get a place */
    struct worker_metrics *page; /* this worker's */
    /* Where the name of the function that runs right now is written for the supervisor
     * (LIMIT_RUNNING_NAME, shared memory); NULL: nowhere. */
    char *running_name;
    /* The value of an environment variable as `.env` files and the process give it (not filtered by
     * function), or NULL. */
    const char *(*getenv)(void *arg, const char *name);
    /* Calls fn for each variable. */
    void (*each_env)(void *arg, void (*fn)(void *fn_arg, const char *name, const char *value),
                     void *fn_arg);
    /* Does a function that declares no `env` see this variable? In `dev` all, in `serve` those of
     * .env files. */
    bool (*env_is_default)(void *arg, const char *name);
    void *env_arg;
    /* The number of a function's version whose files have this content, where `current` was the one
     * before (0: none): greater, and the same in every worker. NULL: current + 1. */
    unsigned (*number)(void *arg, struct str name, uint64_t content, unsigned current);
    void *number_arg;
    /* For `queue`: is there a function of that name? */
    bool (*has_function)(void *arg, struct str name);
    void *has_function_arg;
    /* A job was stored, which this worker may run. NULL: it runs none. */
    void (*job_sent)(void *arg);
    void *job_sent_arg;
    const struct own_services *own;       /* NULL: none */
    const struct function_trials *trials; /* who tries a new version; NULL: nobody */
    void *trials_arg;
};

/* Why the host makes a coroutine yield; anything but VM_YIELD_SCRIPT passes up through the script's
 * own coroutines. */
enum vm_yield { VM_YIELD_SCRIPT, VM_YIELD_AWAIT, VM_YIELD_SLICE, VM_YIELD_STAND };

/* A coroutine kept for the next task. */
struct vm_thread {
    lua_State *co;
    int anchor; /* luaL_ref in the registry */
};

/* What a state keeps in its registry, by number. */
enum vm_kept {
    VM_KEPT_SHEET, /* of run/claims_table.c */
    VM_KEPT_TOKEN,
    VM_KEPT_ARRAY,       /* metatables: json.array's mark, */
    VM_KEPT_JSON_OBJECT, /* and of lua/json_lazy.c */
    VM_KEPT_JSON_ARRAY,
    VM_KEPT_COUNT
};

enum { VM_IDLE_THREADS = 16, VM_LARGE_ANSWERS = 16, VM_NAMES = 9 };

struct vm {
    lua_State *L;             /* owned: the main thread; nothing runs on it after loading */
    size_t used, peak, limit; /* bytes */
    uint64_t denials;         /* allocations refused */
    size_t collect_at;        /* bytes, where there is a limit: see vm_make_room */
    size_t paced_to;          /* bytes up to which the collector's pace is right: see vm_pace */
    size_t calm_to;           /* bytes up to which nothing is to be looked at; see may_use */
    struct budget *budget; /* of what runs now; borrowed; never NULL (an unlimited one otherwise) */
    struct budget unlimited;
    struct vm_thread idle[VM_IDLE_THREADS];
    unsigned idle_count;
    struct event_slot *free_slots; /* of run/event.c; in the state's memory */
    int kept[VM_KEPT_COUNT];       /* in the registry; 0: not made yet */
    uint64_t token_of;             /* serial of the claims whose token is kept; 0: none is */
    int names[VM_NAMES];           /* of lua/names.c: in the registry */
    struct task *task;             /* being resumed now; NULL: none */
    struct hook *hook;             /* who listens to that; NULL: nobody */
    unsigned seed;                 /* lua/seed.h; 0: not known */
    unsigned task_count;           /* tasks that exist: run, wait or have not been freed */
    unsigned large;                /* answers to come before it counts as one that gives small
                                      ones; 0: it does */
    struct list queued;            /* tasks that go on at a turn of the loop; see task.c */
    struct list in_queue;          /* ... its list of states with such tasks */
    uint64_t ran_ns;               /* ... and the order there: run time, or more */
    enum vm_yield yield;           /* set right before the host yields, cleared by task_resume */
    bool relays;         /* every coroutine around the running one can pass a host's yield up */
    bool globals_frozen; /* scripts may not set globals any more (sandbox_freeze) */
    int depth;           /* script coroutines that resume or close each other right now */
    const struct services *services;  /* borrowed */
    const struct function_spec *spec; /* borrowed; NULL in tools */
    struct instance *instance;        /* owner; NULL in tools */
};

/* A state with `limit` bytes (0: no limit) and nothing in it. NULL when out of memory. */
struct vm *vm_new(size_t limit, const struct services *services);
void vm_free(struct vm *vm);
/* Another limit from here on, whatever is in use. */
void vm_set_limit(struct vm *vm, size_t limit);

/* Lets the collector wait until there is as much garbage as what lives now, as Lua would, but at
 * least LIMIT_FN_GARBAGE where the limit has that room: each round looks at all that lives, and a
 * small state would be gone over every few calls. When more than `paced_to` is in use, it is Lua's
 * own pace until this is said again. */
void vm_pace(struct vm *vm);
bool vm_has_outgrown_pace(const struct vm *vm);

/* Memory of C that is held for its scripts counts to its limit: was `before`, is `now` (bytes).
 * False: there is no room; nothing is changed. Less is always possible. */
bool vm_charge(struct vm *vm, size_t before, size_t now);

/* Collects everything, half of the way from what is in use to the limit. Lua 5.4.4 is behind with
 * userdata that has finalizers, and runs none of those when it collects for want of memory: who
 * makes such userdata all the time calls this before. May run scripts' finalizers. */
void vm_collect(struct vm *vm, lua_State *L);
static inline void vm_make_room(struct vm *vm, lua_State *L)
{
    if (vm->used > vm->collect_at)
        vm_collect(vm, L);
}

/* It has given an answer, or a piece of one, of so many bytes. */
static inline void vm_note_answer(struct vm *vm, size_t bytes)
{
    if (bytes > LIMIT_STREAM_BYTES)
        vm->large = VM_LARGE_ANSWERS;
    else if (vm->large > 0)
        vm->large--;
}

/* Marks of a coroutine, kept in the low bits of its pointer to the vm. A thread that the host made
 * (a task's) carries none: scripts can neither resume nor close it, even when they get hold of it
 * through coroutine.running. */
enum vm_mark {
    VM_MARK_SCRIPT = 1, /* made by coroutine.create or wrap */
    VM_MARK_HOST = 2, /* suspended by the host, not by the script: nobody but the host resumes it */
    VM_MARK_KILLED = 4, /* died of the budget's end: hooks may be off in it, it never runs again */
    VM_MARK_MASK = 7
};

static inline uintptr_t vm_marks(lua_State *co)
{
    return *(uintptr_t *)lua_getextraspace(co) & VM_MARK_MASK;
}

static inline void vm_set_marks(lua_State *co, uintptr_t marks)
{
    uintptr_t *slot = lua_getextraspace(co);
    *slot = (*slot & ~(uintptr_t)VM_MARK_MASK) | marks;
}

static inline struct vm *vm_of(lua_State *L)
{
    return (struct vm *)(*(uintptr_t *)lua_getextraspace(L) & ~(uintptr_t)VM_MARK_MASK);
}

/* A piece of text that was just allocated; raises where there was no memory for it. */
static inline struct str lx_vm_check(lua_State *L, struct str s)
{
    if (s.ptr == NULL)
        luaL_error(L, "out of memory");
    return s;
}

/* Pushes what is kept; false, and nothing: nothing is yet. Never raises. */
static inline bool vm_push_kept(lua_State *L, enum vm_kept which)
{
    int ref = vm_of(L)->kept[which];
    if (ref != 0)
        lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    return ref != 0;
}

/* Keeps what is on top, which stays there. May raise. */
void vm_keep(lua_State *L, enum vm_kept which);

/* May the host suspend what runs in `L` now? False inside callbacks of C functions (gsub, sort,
 * metamethods of C calls), and in coroutines resumed from there. What waits asks this first. */
static inline bool vm_can_yield(lua_State *L)
{
    return vm_of(L)->relays && lua_isyieldable(L);
}
