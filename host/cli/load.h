/* Loading a deployment without serving it, for check and routes: nothing runs over the network. */
#pragma once

#include "app/deployment.h"

struct load_options {
    const char *config_file;
    bool dev;                    /* with the .env files of `dev` */
    const char *const *defaults; /* as in config.h; NULL: none */
    struct issuers *issuers;     /* who fetches keys; NULL: nobody */
    const char *only; /* instead of the functions: this script of the program itself. NULL: none */
};

/* Loads functions.lua and every function; faults go to stderr, one a line. NULL when the
 * configuration itself is no good. *faults counts what was printed. Two at a time can be loaded. */
struct deployment *load_deployment(const struct load_options *options, unsigned *faults);
void load_undo(struct deployment *deployment);
