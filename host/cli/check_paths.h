/* The paths that routes can tell apart: one for each kind, so that two sets of routes can be
 * compared by asking each for these. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

struct check_path {
    struct str path;    /* to be asked for */
    struct str shown;   /* with a star for whatever may stand there */
    struct str pattern; /* whose kind it is; ptr NULL: where several of them meet */
};

struct check_paths {
    struct check_path *list; /* in the arena */
    unsigned count;
    bool cut; /* there are more places where patterns meet than are looked at */
};

/* Of these patterns (http/router.h), which are good ones. 0 or -ENOMEM. */
int check_paths(const struct str *patterns, unsigned count, struct arena *arena,
                struct check_paths *out) __attribute__((warn_unused_result));
