/* Redirects and rewrites: Netlify's rules (spec: first match wins; splats, placeholders, query,
 * force). */
#ifndef LUAFN_HTTP_REDIRECT_H
#define LUAFN_HTTP_REDIRECT_H

#include "base/err.h"
#include "http/exchange.h"

struct redirect_pair {
    struct str name;
    struct str value;
};

struct redirect_rule {
    struct str from;
    struct str to;
    int status; /* 301 by default; 200 is a rewrite, 404 serves `to` with that status */
    bool force; /* wins over an existing file */
    struct redirect_pair *query; /* all must be present; value may be ":placeholder" */
    unsigned query_count;
    struct redirect_pair *conditions; /* Language, Country, Cookie, Role */
    unsigned condition_count;
    struct redirect_pair *headers;
    unsigned header_count;
};

/* Is the rule well-formed (from begins with '/', known status ...)? 0 or -EINVAL with the reason.
 */
int redirect_check(const struct redirect_rule *rule, struct err *err);

/* Does the rule match this request? Then *target (in the exchange's arena) is where it leads, with
 * the request's query appended where the target has none. */
bool redirect_match(const struct redirect_rule *rule, const struct request *req,
                    struct arena *arena, struct str *target);

#endif
