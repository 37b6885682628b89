/* Header rules: a case-blind glob over paths, in which ':name' is one segment. */
#include "http/header_rule.h"

#include <errno.h>

#include "http/target.h"

int header_rule_check(const struct header_rule *rule, struct err *err)
{
    if (rule->path.len == 0)
        return err_set(err, -EINVAL, "'for' is missing");
    if (rule->path.ptr[0] != '/')
        return err_set(err, -EINVAL, "'for' must begin with '/', got '%.*s'", STR_ARG(rule->path));
    for (unsigned i = 0; i < rule->value_count; i++) {
        const struct header *field = &rule->values[i];
        if (!header_name_is_valid(field->name) || !header_value_is_valid(field->value))
            return err_set(err, -EINVAL, "'%.*s' is not a header that can be sent",
                           STR_ARG(field->name));
    }
    return 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Steps over one placeholder, segment or character at *p and *t; false when they differ. */
static bool step(struct str pattern, struct str text, size_t *p, size_t *t)
{
    if (*p == pattern.len)
        return false;
    if (pattern.ptr[*p] == ':' && pattern.ptr[*p - 1] == '/') {
        size_t segment = str_find(str_skip(text, *t), '/');
        *p += str_find(str_skip(pattern, *p), '/');
        *t += segment;
        return segment > 0;
    }
    char want, got;
    *p += target_percent_next(pattern, *p, &want);
    *t += target_percent_next(text, *t, &got);
    return lower(want) == lower(got);
}

static bool glob(struct str pattern, struct str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = ++p;
            resume = t;
        } else if (!step(pattern, text, &p, &t)) {
            if (star == SIZE_MAX)
                return false;
            p = star;
            t = ++resume;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

static struct str without_final_slash(struct str path)
{
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

bool header_rule_matches(const struct header_rule *rule, struct str path)
{
    struct str pattern = without_final_slash(rule->path);
    path = without_final_slash(path);
    if (str_ends_with(pattern, STR("/*")) && glob((struct str){pattern.ptr, pattern.len - 2}, path))
        return true;
    return glob(pattern, path);
}

/* A copy: an answer that waits for its turn outlives the configuration that the rule is of. */
static int set_field(struct exchange *ex, const struct header *field)
{
    struct str name = arena_copy(&ex->arena, field->name);
    struct str value = arena_copy(&ex->arena, field->value);
    return name.ptr != NULL && value.ptr != NULL
               ? headers_set(&ex->res.headers, &ex->arena, name, value)
               : -ENOMEM;
}

int header_rules_apply(const struct header_rule *rules, unsigned count, struct exchange *ex,
                       struct str path, bool replace)
{
    const struct headers *headers = &ex->res.headers;
    for (unsigned i = 0; i < count; i++) {
        /* Where the answer's own fields stay, the first rule that adds one wins: go backwards. */
        const struct header_rule *rule = &rules[replace ? i : count - 1 - i];
        if (!header_rule_matches(rule, path))
            continue;
        for (unsigned v = 0; v < rule->value_count; v++) {
            const struct header *field = &rule->values[v];
            if (!replace && headers_get(headers, field->name) != NULL)
                continue;
            if (set_field(ex, field) != 0)
                return -ENOMEM;
        }
    }
    return 0;
}
