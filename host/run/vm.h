/* One Lua state with its memory cap, and how C code finds it again from any coroutine.
 *
 * Every state belongs to one function instance (or, in tests and for functions.lua, to nobody). All
 * its coroutines share the `struct vm` through lua_getextraspace. The allocator refuses what would
 * go over the limit; Lua then collects and tries again, and only a second refusal becomes
 * LUA_ERRMEM. */
#ifndef LUAFN_RUN_VM_H
#define LUAFN_RUN_VM_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "auth/verify.h"
#include "run/budget.h"
#include "run/spec.h"

struct client;
struct issuers;
struct instance;
struct task;

/* What a worker offers to bindings. All borrowed; NULL where a tool (check, test) has none. */
struct services {
    uv_loop_t *loop;
    struct client *client;
    struct issuers *issuers;
    const struct verifier
        *verifiers; /* the deployment's issuers, for jwt.require_scope and company */
    unsigned verifier_count;
    bool dev;
    /* The value of an environment variable as `.env` files and the process give it (not filtered by
     * function), or NULL. */
    const char *(*getenv)(void *arg, const char *name);
    /* Calls fn for each variable. */
    void (*each_env)(void *arg, void (*fn)(void *fn_arg, const char *name, const char *value),
                     void *fn_arg);
    void *env_arg;
};

/* Why the host makes a coroutine yield; anything but VM_YIELD_SCRIPT passes up through the script's
 * own coroutines. */
enum vm_yield { VM_YIELD_SCRIPT, VM_YIELD_AWAIT, VM_YIELD_SLICE };

struct vm {
    lua_State *L;             /* owned: the main thread; nothing runs on it after loading */
    size_t used, peak, limit; /* bytes */
    uint64_t denials;         /* allocations refused */
    struct budget *budget; /* of what runs now; borrowed; never NULL (an unlimited one otherwise) */
    struct budget unlimited;
    struct task *task;                /* being resumed now; NULL: none */
    enum vm_yield yield;              /* set right before the host yields, cleared by task_resume */
    const struct services *services;  /* borrowed */
    const struct function_spec *spec; /* borrowed; NULL in tools */
    struct instance *instance;        /* owner; NULL in tools */
};

/* A state with `limit` bytes (0: no limit) and nothing in it. NULL when out of memory. */
struct vm *vm_new(size_t limit, const struct services *services);
void vm_free(struct vm *vm);

static inline struct vm *vm_of(lua_State *L)
{
    return *(struct vm **)lua_getextraspace(L);
}

#endif
