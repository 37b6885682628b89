/* Reading a function's `tool` member. */
#pragma once

#include "options/options.h"

/* The member `tool` of the table at the top of the stack; absent: *spec unchanged. */
int options_read_tool(struct options_reader *r, struct function_spec *spec);
