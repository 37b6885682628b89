/* Templates become Lua: a chunk that, called with `includes, write, value, each, include`, returns
 * the function that renders.
 *
 * {{ x.y }} a value, {{{ x }}} markup that is trusted, {% for x in xs %}, {% for i, x in xs %},
 * {% if c %}, {% elseif c %}, {% else %}, {% end %}, {% include "part.html" %}. Expressions are
 * Lua's without calls, tables and comments, and none of them can leave its place. The lines of the
 * chunk are those of the template. */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"

struct html_template {
    struct buf code;
    struct str includes[LIMIT_HTML_INCLUDES]; /* names, in the template's text */
    unsigned include_count;
    unsigned line;   /* of the fault */
    char fault[256]; /* empty: none */
};

/* Into *out, which is all zeros; html_template_free in any case. 0; -EINVAL with the fault, or
 * -ENOMEM. */
int html_template_compile(struct str text, struct html_template *out)
    __attribute__((warn_unused_result));
void html_template_free(struct html_template *template);
