/* Header rules: functions.lua `headers`, as Netlify's _headers (which fields the answers for a path
 * get besides their own). */
#pragma once

#include "base/err.h"
#include "http/exchange.h"

struct header_rule {
    struct str path; /* "/app/:user/" and a star; ':name' is one segment, '*' any text */
    struct header *values;
    unsigned value_count;
};

/* Does the path begin with '/', and can every field be sent? 0 or -EINVAL with the reason. */
int header_rule_check(const struct header_rule *rule, struct err *err);

/* Does the rule apply to this path (normalised, percent-encoded)? Without regard to case and to a
 * final '/'; a last segment '*' may also be missing. */
bool header_rule_matches(const struct header_rule *rule, struct str path);

/* Adds the fields of every rule that matches to ex->res; of two rules for one field the later wins.
 * With `replace`, rules win over fields that are there (static files); without, the answer's own
 * stay (functions). 0 or -ENOMEM. */
int header_rules_apply(const struct header_rule *rules, unsigned count, struct exchange *ex,
                       struct str path, bool replace) __attribute__((warn_unused_result));
