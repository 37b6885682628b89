/* Compiling source texts: of script files, and what `load` is given.
 *
 * Text only: bytecode can crash the interpreter. The compiler runs without hooks, so the text comes
 * piece by piece, and between two of them the budget is looked at. What it would choke on within
 * one piece chain_check refuses before (lua/chain.h). */
#pragma once

#include <lua.h>

#include "base/str.h"

/* Pushes the compiled chunk, or Lua's message; what the budget's end raises stays behind (see
 * guard_caught). `name` is a chunk name as lua_load takes it. A status of Lua's. Never raises.
 * [-0, +1] */
int chunk_load(lua_State *L, struct str text, const char *name);

/* What of a file's content is Lua: not a byte order mark, nor a first line that begins with '#'
 * (its newline stays, lines keep their numbers). As `lua FILE` reads it. */
struct str chunk_body(struct str content);
