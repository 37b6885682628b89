/* Values as a person wants to see them in a log: print, log.info and company. */
#pragma once

#include <lua.h>

/* Pushes the text of the value at `index`: what tostring gives, but json.null as null and a
 * table without __tostring as JSON on one line. That never fails: what JSON has no word for
 * (functions, other keys than texts) is told by its tostring, a table within itself as "(cycle)",
 * what is nested too deeply as "...", and the text ends with "..." at LIMIT_LOG_LINE. No
 * metamethods are called but that __tostring. Raises when out of memory, and what __tostring
 * raises. [-0, +1] */
void show_push(lua_State *L, int index);

/* Where the value at `index` is a table whose members are made when they are read, or that shows
 * another one's: makes them, or puts that one in its place, to be walked over raw. May raise.
 * [-0, +0] */
void show_open(lua_State *L, int index);
