/* outbound = { NAME = { hosts =, token_url =, ... } } of functions.lua. */
#pragma once

#include "config/config.h"
#include "options/options.h"

/* As the readers of config_internal.h. */
int config_read_outbound(struct options_reader *r, struct config *config);

/* Is this text the secret or the private key of an identity? No function may see it. */
bool config_is_outbound_secret(const struct config *config, const char *text);
