/* Reading `auth = { webhook = ..., secret = ..., tolerance = ... }`. */
#pragma once

#include "options/options.h"

/* The table at the top of the stack, which has a `webhook`, into *policy. No message shows what
 * `secret` is. */
int options_read_webhook(struct options_reader *r, struct policy *policy);
