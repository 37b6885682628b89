/* Script files: where `require` finds them, reading them, noticing that they changed.
 *
 * A script is a file, or "embedded:PATH" for one inside the program (the dev issuer's). */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define SCRIPT_EMBEDDED "embedded:"

/* Reads the whole file, at most LIMIT_SCRIPT_BYTES; chunk_body says what of it is Lua. 0, or a
 * negative errno and the reason without a path (-ENOENT, -EACCES, -EFBIG, -ENOMEM ...). */
int script_read(const char *path, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));

/* FNV-1a over the content; 0 when the file cannot be read. */
uint64_t script_hash(const char *path);

/* Where `require(name)` looks, in this order: the places, in each NAME.lua and then NAME/init.lua.
 */
enum script_place {
    SCRIPT_BESIDE,  /* the script */
    SCRIPT_ROOT,    /* functions.lua */
    SCRIPT_MODULES, /* lua_modules/share/lua/5.4 in root, where LuaRocks puts them */
    SCRIPT_LIB,     /* lib in root */
    SCRIPT_PLACES
};

/* What package.path says of it. */
#define SCRIPT_PATH                                                                                \
    "./?.lua;./?/init.lua;lua_modules/share/lua/5.4/?.lua;lua_modules/share/lua/5.4/?/init.lua;"   \
    "lib/?.lua;lib/?/init.lua"

/* A file that `require(name)` looks for; name's dots become slashes. 0 and `path` (NUL-terminated,
 * at most `size` bytes), -EINVAL for a name that is not made of letters, digits, '_', '-' and dots
 * (or slashes), -ENOENT where the path would be longer. */
int script_candidate(const char *script, struct str root, struct str name, enum script_place place,
                     bool is_folder, char *path, size_t size);

/* Is there such a file? */
bool script_exists(const char *path);

/* The functions of a folder, in the order of their names: NAME.lua, NAME/NAME.lua, NAME/index.lua;
 * a folder wins over a file. Appends NAME NUL SCRIPT NUL for each. Hidden ones, node_modules and
 * NAME_test.lua are none. 0, or a negative errno and the reason without a path. */
int script_folder_list(const char *path, struct buf *out, struct err *err)
    __attribute__((warn_unused_result));

/* The name under which error messages show a script: relative to `root` where it is below it. */
const char *script_display_name(const char *path, struct str root);
