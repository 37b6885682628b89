/* Netlify's _redirects and _headers files as rules.
 *
 * _redirects, a rule a line: from [name=value ...] [to] [status[!]] [Condition=value ...]
 * _headers, a block a path: a line that begins with '/', then lines "Name: value"
 *
 * '#' begins a comment. A line that is no good is told and left out, the others count. */
#pragma once

#include "base/arena.h"
#include "http/header_rule.h"
#include "http/redirect.h"

struct rule_file {
    struct arena *arena; /* the rules and their texts are made in it */
    struct str text;     /* borrowed during the call */
    void (*fault)(void *arg, unsigned line, const char *what);
    void *arg;
};

/* Both give a list in the arena. 0 or -ENOMEM. */
int rule_file_redirects(const struct rule_file *file, struct redirect_rule **rules, unsigned *count)
    __attribute__((warn_unused_result));
int rule_file_headers(const struct rule_file *file, struct header_rule **rules, unsigned *count)
    __attribute__((warn_unused_result));

/* "301", "200!" (which sets *force); false when it is no status. */
bool rule_status(struct str text, int *status, bool *force);
