/* Which files make a deployment: what is to go into one file with the program (pack.c). */
#pragma once

#include <sys/stat.h>

#include "app/deployment.h"

struct pack_contents {
    char **names; /* owned; below the folder of functions.lua, in the order of their bytes */
    unsigned count, cap;
    struct buf folders;   /* owned: names of those that were walked, a line each */
    struct buf env_files; /* owned: names of .env files that were left out, ", " after each */
    const struct config *config; /* borrowed, like this: */
    const struct stat *without;  /* a file that is no part of it: what is being written */
    bool with_env;
    unsigned seen;
    struct err *err;
};

/* Of a deployment that has loaded:
 *
 * - each file that loading read: functions.lua, netlify.toml, scripts, modules, _redirects ...
 * - all of the folders in which its scripts and modules are (that of functions.lua itself: *.lua),
 *   of `lib` and `lua_modules/share/lua/5.4`, where `require` may find others later, of `publish`,
 *   and of `migrations`
 * - what `files` of its functions names
 *
 * Of those folders not what is hidden (but .well-known), node_modules and, outside of `publish`,
 * *_test.lua. Files of .env go with `with_env` alone. Links are followed. 0 or a negative errno
 * with the reason: -EXDEV for what lies outside of the folder of functions.lua, -EINVAL for what
 * is named by an absolute path. */
int pack_contents_find(const struct deployment *deployment, bool with_env,
                       const struct stat *without, struct pack_contents *out, struct err *err)
    __attribute__((warn_unused_result));
void pack_contents_free(struct pack_contents *contents);
