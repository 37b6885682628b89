/* Tokens that `dev` prints: who calls its tools, or debugs, brings one. Each is kept in a file of
 * .luafn, so that a client which knows it goes on after a restart. */
#pragma once

#include "base/str.h"

struct dev_token {
    char text[64];
};

/* The one that is kept under that name, where it is for its owner alone; else a new one, into *out.
 * Where it cannot be kept it is good for this once. Empty: no random bytes. */
struct str dev_token_get(const char *config_file, const char *name, struct dev_token *out);
