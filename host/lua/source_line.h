/* Line numbers for faults in tables that Lua has already evaluated.
 *
 * Values in a Lua table do not know where they were written. A small tokenizer walks the table
 * constructors of the source text and finds the line of a path such as "functions.me.timeout" or
 * "redirects[2].status". */
#pragma once

#include "base/str.h"

/* The line (from 1) of that path in the outermost table constructor after `return`, or that of its
 * nearest enclosing one that was found; 1 when nothing was. */
unsigned source_line(struct str source, struct str path);

/* The line of a member of the table at `path` whose name stands in the same constructor before it,
 * so that Lua has forgotten the first; 0: there is none. Where functions are written within the
 * table nothing is found. */
unsigned source_line_twice(struct str source, struct str path, struct str *name);
