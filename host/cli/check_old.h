/* What `check --diff` compares with: a deployment as it was. */
#pragma once

#include <stdbool.h>

struct check_old {
    char config[4096]; /* its functions.lua */
    char folder[4096]; /* made for it; empty: none */
};

/* `old` is a folder with a file of the same name, that file itself, or a revision of git, which is
 * then unpacked, with the .env files that lie beside functions.lua now. 0 or an exit status. */
int check_old_open(const char *old, const char *config_file, struct check_old *out);
/* Removes what was unpacked. */
void check_old_close(const struct check_old *old);
