/* The member `functions` of functions.lua: a table of functions, or the name of a folder that holds
 * them. */
#pragma once

#include "config/config.h"
#include "options/options.h"

/* The table of functions.lua is at the top of the stack. 0, or a negative errno with the reason in
 * the reader's err. */
int config_read_functions(struct options_reader *r, struct config *config);

/* A path of functions.lua, absolute and in the arena; ptr NULL: out of memory. The first that is
 * written so becomes `fixed`. */
struct str config_path(struct config *config, struct str path);
