/* Redirects and rewrites: Netlify's rules (spec: first match wins; splats, placeholders, query,
 * force).
 *
 * Rules are tried in order by the caller. They see the normalised path, and literals are compared
 * percent-decoded, as static files are found: a rule that guards a folder cannot be walked around
 * with "%61" or "/x/../". A trailing slash of the request is ignored. */
#pragma once

#include "base/err.h"
#include "http/exchange.h"

struct redirect_pair {
    struct str name;
    struct str value;
};

struct redirect_rule {
    struct str from; /* "/old", "/news/:year/:id", "/api/" and a star; or the same behind
                        "http://host", for requests to that host over that scheme */
    struct str to;   /* "/new", "https://..."; may name :splat and placeholders, not in the host;
                        empty: the same path (from ends in a star, status 200) */
    int status;      /* 301 by default; 200 is a rewrite, 404 serves `to` with that status */
    bool force;      /* wins over an existing file */
    struct redirect_pair *query; /* all must be present; value may be ":placeholder" */
    unsigned query_count;
    struct redirect_pair *conditions; /* Language, Country, Cookie, Role; value: "a,b" is a or b */
    unsigned condition_count;
    struct redirect_pair *headers;
    unsigned header_count;
};

/* Is the rule well-formed (from begins with '/', known status ...)? 0 or -EINVAL with the reason.
 */
int redirect_check(const struct redirect_rule *rule, struct err *err);

/* `from` without scheme and host. */
struct str redirect_path(const struct redirect_rule *rule);

/* Word for word the same? */
bool redirect_equal(const struct redirect_rule *a, const struct redirect_rule *b);

/* Does it have a Role condition? */
bool redirect_asks_role(const struct redirect_rule *rule);

/* Does the rule match this request? Then *target (in the exchange's arena) is where it leads, with
 * the request's query appended where the target has none (a rule that names query parameters uses
 * the query up). The target is not normalised: a rewrite goes through target_normalize_path again.
 * A rule with a Role condition never matches here, since no token has been checked. False, too,
 * when out of memory. */
bool redirect_match(const struct redirect_rule *rule, const struct request *req,
                    struct arena *arena, struct str *target);

/* The same with the request's path, normalised, and the roles of a verified token, by which Role
 * conditions are judged. */
bool redirect_match_roles(const struct redirect_rule *rule, const struct request *req,
                          struct str path, const struct str *roles, unsigned role_count,
                          struct arena *arena, struct str *target);
