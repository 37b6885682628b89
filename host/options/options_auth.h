/* Reading a function's `auth` member into a policy. */
#pragma once

#include "auth/policy.h"
#include "options/options.h"

/* The member `auth` of the table at the top of the stack; absent: *policy unchanged. policy->claims
 * is owned by the caller from then on (json_decref). */
int options_read_policy(struct options_reader *r, struct policy *policy);
