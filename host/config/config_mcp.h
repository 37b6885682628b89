/* The member `mcp` of functions.lua. */
#pragma once

#include "config/config_internal.h"

int config_read_mcp(struct options_reader *r, struct config *config);
