/* What the kernel takes away from a process, for good, before it runs anything of others.
 *
 * Lua scripts have their own sandbox (lua/sandbox.h). This is the wall behind it, for the day when
 * somebody gets through: a worker that was taken over can start no program, and sees no files but
 * those that it needs. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

enum { CONFINE_PATHS_MAX = 144 }; /* 16 certificates, keys, and ways to each that are links */

/* Folders (or files) with all below them. Borrowed. The system's own (/usr, /etc, ...) may be read
 * anyway. */
struct confine {
    const char *readable[CONFINE_PATHS_MAX];
    unsigned readable_count;
    const char *writable[CONFINE_PATHS_MAX];
    unsigned writable_count;
};

/* Landlock and seccomp, for this process and all that it starts; it must have one thread only.
 * *files is false where the kernel has no Landlock: then system calls alone are confined. 0 or a
 * negative errno with the reason. */
int confine_process(const struct confine *confine, bool *files, struct err *err);

/* Becomes this user (as root; else a user that it is already), with its groups and no way back.
 * 0 or a negative errno with the reason. */
int confine_to_user(const char *name, struct err *err);
