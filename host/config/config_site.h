/* What the files of a Netlify site add to a configuration: rules, and notes about what was not
 * understood. */
#pragma once

#include "config/config.h"

/* More redirects at the end of the list, and header rules before those that are there. Word for
 * word the same redirects are taken once. `file` is for messages. 0 or -ENOMEM. */
int config_add_redirects(struct config *config, const char *file, const struct redirect_rule *rules,
                         unsigned count) __attribute__((warn_unused_result));
int config_add_headers(struct config *config, const struct header_rule *rules, unsigned count)
    __attribute__((warn_unused_result));

/* A note "file:line: ..."; line 0: "file: ...". Out of memory it is lost. */
void config_add_note(struct config *config, bool fault, const char *file, unsigned line,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));
