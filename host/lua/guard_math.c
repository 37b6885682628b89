/* math.random for who listens: with a state of the run's own, so that the same run draws the same
 * numbers again, whatever other requests draw meanwhile.
 *
 * Lua keeps its generator in a userdata of four words, the first upvalue of random and randomseed.
 * A run that somebody listens to puts its own there while it draws. */
#include <string.h>

#include "lua/guard_parts.h"
#include "lua/told.h"

enum { UP_STATE = 1, UP_STOCK, UP_SEEDS };

static uint64_t split_mix(uint64_t *x)
{
    *x += 0x9e3779b97f4a7c15u;
    uint64_t z = *x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The seed is drawn from the state's own generator, so that two runs never have the same. */
static void seed_run(lua_State *L, struct hook *hook, const uint64_t shared[4])
{
    uint64_t mixed = shared[0] ^ shared[1] ^ shared[2] ^ shared[3];
    double seed = (double)(split_mix(&mixed) >> 11);
    uint64_t x = (uint64_t)lx_told_number(L, hook, "math.random", seed);
    for (int i = 0; i < 4; i++)
        hook->random[i] = split_mix(&x);
    hook->random_set = true;
}

/* math.randomseed() without a seed takes one from addresses and the time. */
static bool seeds_by_itself(lua_State *L)
{
    return lua_gettop(L) == 0 && lua_toboolean(L, lua_upvalueindex(UP_SEEDS));
}

static int draw(lua_State *L)
{
    struct hook *hook = told_hook(L);
    lua_CFunction stock = lua_tocfunction(L, lua_upvalueindex(UP_STOCK));
    uint64_t shared[4], *state = lua_touserdata(L, lua_upvalueindex(UP_STATE));
    if (hook == NULL || state == NULL ||
        lua_rawlen(L, lua_upvalueindex(UP_STATE)) != sizeof(shared))
        return stock(L);
    memcpy(shared, state, sizeof(shared));
    if (!hook->random_set || seeds_by_itself(L)) {
        seed_run(L, hook, shared);
        uint64_t x = shared[0];
        shared[0] = split_mix(&x) | 1;
    }
    if (seeds_by_itself(L))
        return 0;
    memcpy(state, hook->random, sizeof(hook->random));
    int count = stock(L);
    memcpy(hook->random, state, sizeof(hook->random));
    memcpy(state, shared, sizeof(shared));
    return count;
}

static void wrap(lua_State *L, int math, const char *name, bool seeds)
{
    lua_getfield(L, math, name);
    lua_CFunction stock = lua_tocfunction(L, -1);
    if (lua_getupvalue(L, -1, 1) == NULL) {
        lua_pop(L, 1);
        return;
    }
    lua_pushcfunction(L, stock);
    lua_pushboolean(L, seeds);
    lua_pushcclosure(L, draw, 3);
    lua_setfield(L, math, name);
    lua_pop(L, 1);
}

void guard_fill_math(lua_State *L, int math)
{
    wrap(L, math, "random", false);
    wrap(L, math, "randomseed", true);
}
