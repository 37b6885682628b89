/* protect = { { path = "/admin/" and a star, auth = { ... } } }: policies before files of `publish`
 * and before redirects and rewrites. */
#pragma once

#include "config/config.h"
#include "options/options.h"

/* Reads it from the table at the top of the stack. */
int config_read_protect(struct options_reader *r, struct config *config);
/* The rule for this path (normalised), or NULL in *rule. Patterns as those of routes, without
 * regard to case, with literals decoded. One that asks for something also matches a path by which
 * its files are found: without ".html", "/index.html" and the like, with ".gz" and ".br", with more
 * slashes. One that is public matches what stands there alone. 0 or -ENOMEM. */
int config_protect_find(const struct config *config, struct str path, struct arena *arena,
                        const struct config_protect **rule) __attribute__((warn_unused_result));

/* Frees what the policies own. */
void config_drop_protect(struct config *config);
