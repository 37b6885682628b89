/* Files that travel inside the program: the dev issuer's scripts and the pages that `dev` serves.
 *
 * The table is made at build time by tools/embed.c; names are paths in the source tree
 * ("scripts/dev/issuer.lua"). It ends with an entry whose name is NULL. */
#pragma once

#include <stddef.h>

struct embedded_file {
    const char *name; /* static; NULL ends the table */
    const char *data; /* static, followed by a NUL that `len` does not count */
    size_t len;
};

extern const struct embedded_file embedded_files[];

/* The file of that name, or NULL. */
const struct embedded_file *embedded_find(const char *name);
