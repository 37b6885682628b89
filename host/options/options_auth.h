/* Reading a function's `auth` member into a policy. */
#ifndef LUAFN_OPTIONS_OPTIONS_AUTH_H
#define LUAFN_OPTIONS_OPTIONS_AUTH_H

#include "auth/policy.h"
#include "options/options.h"

/* The member `auth` of the table at the top of the stack; absent: *policy unchanged. policy->claims
 * is owned by the caller from then on (json_decref). */
int options_read_policy(struct options_reader *r, struct policy *policy);

#endif
