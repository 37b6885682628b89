/* Refuses source texts that Lua 5.4.4 compiles or explains at a price nobody can interrupt.
 *
 * When `a.b.c` fails, Lua names what was nil by walking back over the whole chain, one C frame and
 * one scan of the function for each index: 200,000 of them overflow the stack of the process,
 * 20,000 stop it for seconds. The lists of jumps of `and`, `or`, `elseif`, `break` and `goto` are
 * walked from the start for each new one. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* 0, or -EINVAL with "LINE: what there is too much of" as the reason. A text that is no Lua may
 * pass: the compiler says what is wrong with it. */
int chain_check(struct str source, struct err *err) __attribute__((warn_unused_result));
