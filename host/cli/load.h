/* Loading a deployment without serving it, for check and routes: nothing runs over the network. */
#ifndef LUAFN_CLI_LOAD_H
#define LUAFN_CLI_LOAD_H

#include "deployment.h"

/* Loads functions.lua and every function; faults go to stderr, one a line. NULL when the
 * configuration itself is no good. *faults counts what was printed. */
struct deployment *load_deployment(const char *config_file, unsigned *faults);
void unload_deployment(struct deployment *deployment);

#endif
