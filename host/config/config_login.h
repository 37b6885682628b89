/* `login` of an issuer in functions.lua: how browsers sign in there. */
#pragma once

#include "config/config.h"
#include "options/options.h"

/* Where they sign out. */
#define CONFIG_LOGOUT "/_luafn/logout"

/* login = { client_id =, client_secret =, secret = TEXT | { new, old }, scope =, callback = } of
 * the issuer at the top of the stack, which is the `index`th. 0, or the reader's fault. */
int config_read_login(struct options_reader *r, struct config *config, unsigned index)
    __attribute__((warn_unused_result));

/* After all issuers: what was not said. In `dev` browsers sign in at the first one, where no other
 * is named. 0, or the reader's fault. */
int config_complete_login(struct options_reader *r, struct config *config)
    __attribute__((warn_unused_result));

/* Does a browser sign in or out at this path, whatever else is there? */
bool config_is_login_path(const struct config *config, struct str path);

/* Is this the client's secret, or one of those that sessions are sealed with? */
bool config_is_login_secret(const struct config *config, const char *text);
