/* The seed of a Lua state's hashes: what order `pairs` walks tables with text keys in.
 *
 * Lua takes it from addresses and the time, and has no function that sets it. Here it is set
 * between lua_newstate's first allocation, which holds it, and the second, before any text exists:
 * a request can then be run again, in another process, in the same order. Where that block does not
 * look as Lua 5.4's does, nothing is touched, and the state has Lua's own seed. */
#pragma once

#include <lua.h>
#include <stdbool.h>

/* For states that are made from now on; 0: each has a random one of its own. */
void seed_set(unsigned seed);

/* lua_newstate(alloc, arg) with such a seed, which is told in *seed: 0 where it is Lua's own. */
lua_State *seed_newstate(lua_Alloc alloc, void *arg, unsigned *seed);
