/* The token that callers of the tools of `dev` bring: kept in .luafn/dev-mcp-token, so that a
 * client which knows it goes on after a restart. */
#pragma once

#include "base/str.h"

/* The one that is kept, where it is for its owner alone; else a new one. Where it cannot be kept it
 * is good for this once. Empty: no random bytes. Lives as long as the process. */
struct str dev_token_get(const char *config_file);
