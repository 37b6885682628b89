/* The rules of the files of a Netlify site: _redirects and _headers, in the publish folder and
 * beside functions.lua, and those of netlify.toml. */
#pragma once

#include "config/config.h"

/* Adds their rules after those that the configuration has: redirects of functions.lua come first,
 * then those of the publish folder, then those beside functions.lua, then those of netlify.toml;
 * the first that matches counts, and those of one host come before those of any. Header rules go
 * the other way round, since there the last one wins. 0 or -ENOMEM. */
int config_rule_files_read(struct config *config) __attribute__((warn_unused_result));
