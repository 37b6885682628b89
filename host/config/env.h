/* Environment variables of functions: the process's, and those of .env files beside functions.lua.
 *
 * Precedence as in Netlify Dev: process, .env.development.local (dev), .env.local, .env.development
 * (dev), .env. The syntax is that of dotenv 16, and so are the values: NAME=value, an optional
 * `export`, # comments (also right behind an unquoted value), 'literal' and "escaped\n" values,
 * which may span lines; of two in one file the last counts. What dotenv passes over, a line that is
 * no assignment or a quote that is never closed, is an error here. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct env;
struct origin;

/* Reads the files of that folder; where there is another place (base/place.h), those in it come
 * first. NULL with the reason ("file:line: ..."); files that do not exist are fine. */
struct env *env_load(const char *folder, bool dev, struct err *err);
/* The same through an origin, with these files, NULL-terminated, the first one first; NULL: the
 * usual ones. */
struct env *env_load_files(struct origin *origin, const char *folder, bool dev,
                           const char *const *names, struct err *err);
void env_free(struct env *env);

/* Sets a value of the lowest precedence (what `dev` provides by itself). 0 or -ENOMEM. */
int env_set_default(struct env *env, const char *name, const char *value);

/* The same for a value of netlify.toml; `shown`: as if it were in a .env file. 0 or -ENOMEM. */
int env_set_lowest(struct env *env, const char *name, const char *value, bool shown)
    __attribute__((warn_unused_result));

/* Sets a value over all others (`luafn test`). 0 or -ENOMEM. */
int env_set(struct env *env, const char *name, const char *value)
    __attribute__((warn_unused_result));

/* The value, or NULL. */
const char *env_get(const struct env *env, const char *name);

/* In `serve`, functions that do not declare `env` see the variables of .env files only. */
bool env_is_from_file(const struct env *env, const char *name);

/* Calls fn for each visible variable once. */
void env_each(const struct env *env, bool files_only,
              void (*fn)(void *arg, const char *name, const char *value), void *arg);
