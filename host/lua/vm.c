/* A Lua state with a memory cap.
 *
 * Debian's Lua is 5.4.4; two of its faults that a script could reach are closed here, once per
 * state: messages that Lua makes where nothing would catch their allocation's failure, and weak
 * tables. */
#include "lua/vm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/pool.h"
#include "lua/names.h"
#include "lua/seed.h"

enum { LUA_PACE = 200 /* per cent of what lives: a collection begins */ };

/* The three things that Lua asks for are apart, and those that may fail out of line: giving back,
 * the most frequent, then saves no registers. */
static void *take(struct vm *vm, size_t size) __attribute__((noinline));
static void *resize(struct vm *vm, void *block, size_t held, size_t size) __attribute__((noinline));

static size_t limit_of(const struct vm *vm)
{
    return vm->limit != 0 ? vm->limit : SIZE_MAX;
}

/* More than the collector's pace is right for, or than the limit. What grows within one run goes
 * by Lua's own pace: the other would wait for several times of what lives. */
static bool may_use_much(struct vm *vm, size_t bytes) __attribute__((noinline));
static bool may_use_much(struct vm *vm, size_t bytes)
{
    bool may = bytes <= limit_of(vm);
    vm->denials += !may;
    if (bytes > vm->paced_to && lua_gc(vm->L, LUA_GCINC, LUA_PACE, 0, 0) >= 0)
        vm->calm_to = limit_of(vm); /* it is deaf while it collects: then with the next block */
    return may;
}

static bool may_use(struct vm *vm, size_t bytes)
{
    return bytes <= vm->calm_to || may_use_much(vm, bytes);
}

static void note_used(struct vm *vm, size_t bytes)
{
    vm->used = bytes;
    if (bytes > vm->peak)
        vm->peak = bytes;
}

static void *take(struct vm *vm, size_t size)
{
    size_t used = vm->used + size;
    void *block = may_use(vm, used) ? pool_take(size) : NULL;
    if (block != NULL)
        note_used(vm, used);
    return block;
}

static void *resize(struct vm *vm, void *block, size_t held, size_t size)
{
    size_t used = vm->used - held + size;
    void *moved = size <= held || may_use(vm, used) ? pool_resize(block, held, size) : NULL;
    if (moved != NULL)
        note_used(vm, used);
    return moved;
}

bool vm_charge(struct vm *vm, size_t before, size_t now)
{
    if (now > before && !may_use(vm, vm->used + (now - before)))
        return false;
    note_used(vm, vm->used - before + now);
    return true;
}

static size_t half_way(const struct vm *vm)
{
    return vm->limit == 0 ? SIZE_MAX : vm->used / 2 + vm->limit / 2;
}

static void set_calm(struct vm *vm)
{
    vm->calm_to = vm->paced_to < limit_of(vm) ? vm->paced_to : limit_of(vm);
}

void vm_set_limit(struct vm *vm, size_t limit)
{
    vm->limit = limit;
    vm->collect_at = half_way(vm);
    set_calm(vm);
}

void vm_pace(struct vm *vm)
{
    size_t live = vm->used, garbage = live < LIMIT_FN_GARBAGE ? LIMIT_FN_GARBAGE : live;
    if (vm->limit != 0 && live + garbage > vm->limit / 2)
        garbage = live;
    vm->paced_to = 2 * (live + garbage);
    set_calm(vm);
    lua_gc(vm->L, LUA_GCINC, (int)(100 + garbage * 100 / live), 0, 0);
}

bool vm_has_outgrown_pace(const struct vm *vm)
{
    return vm->calm_to > vm->paced_to;
}

void vm_collect(struct vm *vm, lua_State *L)
{
    vm->collect_at = SIZE_MAX; /* a finalizer may make such userdata, too */
    lua_gc(L, LUA_GCCOLLECT);
    vm->collect_at = half_way(vm);
}

static void *on_alloc(void *arg, void *block, size_t old_size, size_t size)
{
    struct vm *vm = arg;
    if (size != 0) /* for new blocks old_size is a type */
        return block != NULL ? resize(vm, block, old_size, size) : take(vm, size);
    if (block != NULL) {
        vm->used -= old_size;
        pool_free(block, old_size);
    }
    return NULL;
}

/* An error outside of every protected call: a fault of the host, never of a script. */
static int on_panic(lua_State *L)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "not a text";
    log_message(LOG_ERROR, "unprotected error in Lua: %s", text);
    return 0; /* Lua aborts */
}

/* lua_resume and lua_resetthread make these texts outside of any protection; as long as they live
 * in the state, making them again is a look-up that cannot fail. */
static void keep_messages(lua_State *L)
{
    static const char *const messages[] = {
        "error in error handling",
        "cannot resume non-suspended coroutine",
        "cannot resume dead coroutine",
        "C stack overflow",
    };
    lua_createtable(L, sizeof(messages) / sizeof(messages[0]), 0);
    for (int i = 0; i < (int)(sizeof(messages) / sizeof(messages[0])); i++) {
        lua_pushstring(L, messages[i]);
        lua_rawseti(L, -2, i + 1);
    }
    static const char key;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* A weak metatable whose collection is forced by a refused allocation is a use after free in Lua
 * before 5.4.8, and a table that is a metatable already can gain "__mode" at any time. So the name
 * itself is taken away: Lua looks the field up by the one string object that it made at its start.
 * Short strings are equal when they are the same object, and are found by their text; with other,
 * secret bytes in that object nobody finds it again. */
static void forget_weak_tables(lua_State *L)
{
    char *name = (char *)(uintptr_t)lua_pushlstring(L, "__mode", 6);
    if (getrandom(name, 6, 0) != 6)
        luaL_error(L, "no random bytes");
    lua_pop(L, 1);
}

static void check_no_weak_tables(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_rawseti(L, -2, 1);
    lua_gc(L, LUA_GCCOLLECT);
    if (lua_rawgeti(L, -1, 1) != LUA_TTABLE)
        luaL_error(L, "this Lua still has weak tables");
    lua_pop(L, 2);
}

static int l_prepare(lua_State *L)
{
    names_open(L);
    keep_messages(L);
    forget_weak_tables(L);
    check_no_weak_tables(L);
    return 0;
}

struct vm *vm_new(size_t limit, const struct services *services)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL)
        return NULL;
    vm->paced_to = SIZE_MAX; /* until vm_pace */
    vm_set_limit(vm, limit);
    vm->services = services;
    vm->budget = &vm->unlimited;
    vm->relays = true;
    list_init(&vm->queued);
    list_init(&vm->in_queue);
    vm->L = seed_newstate(on_alloc, vm, &vm->seed);
    if (vm->L == NULL) {
        free(vm);
        return NULL;
    }
    memcpy(lua_getextraspace(vm->L), &vm, sizeof(struct vm *));
    lua_atpanic(vm->L, on_panic);
    budget_attach(vm->L);
    lua_pushcfunction(vm->L, l_prepare);
    if (lua_pcall(vm->L, 0, 0, 0) != LUA_OK) {
        vm_free(vm);
        return NULL;
    }
    return vm;
}

void vm_free(struct vm *vm)
{
    if (vm == NULL)
        return;
    lua_close(vm->L);
    list_remove(&vm->queued); /* leaves the mark of a turn that is under way alone: task.c */
    list_remove(&vm->in_queue);
    free(vm);
}

void vm_keep(lua_State *L, enum vm_kept which)
{
    int *ref = &vm_of(L)->kept[which];
    lua_pushvalue(L, -1);
    if (*ref != 0)
        lua_rawseti(L, LUA_REGISTRYINDEX, *ref);
    else
        *ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
