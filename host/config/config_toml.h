/* netlify.toml beside functions.lua, or in its place: the keys that mean something here. Each other
 * key gets one warning. What functions.lua says wins. */
#pragma once

#include "config/config.h"
#include "options/options.h"

struct toml;

/* Reads the file, if it is there, into config->toml; warns of what has no meaning. -EINVAL with
 * "netlify.toml:LINE: ..." when it is no TOML. */
int config_toml_open(struct config *config, struct err *err) __attribute__((warn_unused_result));

/* [dev].envFiles, NULL-terminated; NULL: not given, or not in `dev`. */
const char *const *config_toml_env_files(struct config *config);

/* [context.X.environment], then [build.environment]: below all others. 0 or -ENOMEM. */
int config_toml_env(struct config *config) __attribute__((warn_unused_result));

/* The folders of functions and of files, relative to the file; ptr NULL: none is named. Without any
 * word on functions, Netlify's own folder when it exists. */
struct str config_toml_functions(struct config *config);
struct str config_toml_publish(struct config *config);

/* [functions."glob"]: onto the functions that are there. 0 or -ENOMEM. */
int config_toml_options(struct options_reader *r, struct config *config)
    __attribute__((warn_unused_result));

/* [[redirects]] and [dev].jwtRolePath; [[headers]]. 0 or -ENOMEM. */
int config_toml_redirects(struct config *config) __attribute__((warn_unused_result));
int config_toml_headers(struct config *config) __attribute__((warn_unused_result));
