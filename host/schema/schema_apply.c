/* Keywords that leave a value, or what is in it, to other schemas. */
#include <errno.h>

#include "schema/schema_regex.h"
#include "schema/schema_rules.h"

/* ---- in place ---- */

bool schema_apply_ref(struct schema_check *check, const struct schema_rule *rule,
                      const json_t *value, struct schema_seen *seen)
{
    return schema_eval(check, rule->nodes[0], value, seen);
}

static const struct schema_node *dynamic_anchor(const struct schema_resource *resource,
                                                struct str name)
{
    for (const struct schema_anchor *a = resource->anchors; a != NULL; a = a->next) {
        if (a->dynamic && str_eq(a->name, name))
            return a->node;
    }
    return NULL;
}

/* The outermost resource on the way to here that has the anchor. */
bool schema_apply_dynamic_ref(struct schema_check *check, const struct schema_rule *rule,
                              const json_t *value, struct schema_seen *seen)
{
    const struct schema_node *target = rule->nodes[0];
    const struct schema_scope *scope = rule->anchor.len > 0 ? check->scope : NULL;
    for (; scope != NULL; scope = scope->outer) {
        const struct schema_node *node = dynamic_anchor(scope->resource, rule->anchor);
        if (node != NULL)
            target = node;
    }
    return schema_eval(check, target, value, seen);
}

bool schema_apply_all_of(struct schema_check *check, const struct schema_rule *rule,
                         const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    for (unsigned i = 0; i < rule->count && (fits || !schema_is_enough(check)); i++)
        fits = schema_eval(check, rule->nodes[i], value, seen) && fits;
    return fits;
}

/* Why none of the alternatives fits: the first few say it. */
static bool wrong_all(struct schema_check *check, const struct schema_rule *rule,
                      const json_t *value)
{
    enum { REASONS = 4 };
    if (schema_is_enough(check))
        return false;
    struct str text = STR("");
    for (unsigned i = 0; i < rule->count && i < REASONS && text.ptr != NULL; i++)
        text = arena_printf(check->arena, "%.*s%s%.*s", STR_ARG(text), i > 0 ? "; or " : "",
                            STR_ARG(schema_reason(check, rule->nodes[i], value)));
    return schema_wrong(check, "%.*s%s", STR_ARG(text), rule->count > REASONS ? "; or ..." : "");
}

bool schema_apply_any_of(struct schema_check *check, const struct schema_rule *rule,
                         const json_t *value, struct schema_seen *seen)
{
    bool fits = false;
    for (unsigned i = 0; i < rule->count && (!fits || seen != NULL); i++)
        fits = schema_eval_quietly(check, rule->nodes[i], value, seen) || fits;
    return fits || wrong_all(check, rule, value);
}

bool schema_apply_one_of(struct schema_check *check, const struct schema_rule *rule,
                         const json_t *value, struct schema_seen *seen)
{
    unsigned found = rule->count;
    for (unsigned i = 0; i < rule->count; i++) {
        if (!schema_eval_quietly(check, rule->nodes[i], value, seen))
            continue;
        if (found < rule->count)
            return schema_wrong(check,
                                "must fit one alternative of `oneOf` alone, not number %u and %u",
                                found + 1, i + 1);
        found = i;
    }
    return found < rule->count || wrong_all(check, rule, value);
}

bool schema_apply_not(struct schema_check *check, const struct schema_rule *rule,
                      const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return !schema_eval_quietly(check, rule->nodes[0], value, NULL) ||
           schema_wrong(check, "must not be what `not` describes");
}

bool schema_apply_if(struct schema_check *check, const struct schema_rule *rule,
                     const json_t *value, struct schema_seen *seen)
{
    bool fits = schema_eval_quietly(check, rule->nodes[0], value, seen);
    const struct schema_node *next = rule->nodes[fits ? 1 : 2];
    return next == NULL || schema_eval(check, next, value, seen);
}

bool schema_apply_dependent_schemas(struct schema_check *check, const struct schema_rule *rule,
                                    const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    unsigned i = 0;
    for (void *it = schema_first(rule->arg); it != NULL; it = schema_next(rule->arg, it), i++) {
        struct str name = schema_key(it);
        if (json_object_getn(value, name.ptr, name.len) != NULL)
            fits = schema_eval(check, rule->nodes[i], value, seen) && fits;
    }
    return fits;
}

/* ---- members ---- */

bool schema_apply_properties(struct schema_check *check, const struct schema_rule *rule,
                             const json_t *value, struct schema_seen *seen)
{
    bool fits = schema_spend(check, rule->count / 4);
    unsigned i = 0;
    for (void *it = schema_first(rule->arg); it != NULL; it = schema_next(rule->arg, it), i++) {
        struct str name = schema_key(it);
        const json_t *member = json_object_getn(value, name.ptr, name.len);
        if (member == NULL)
            continue;
        fits = schema_eval_member(check, rule->nodes[i], member, name) && fits;
        schema_see_name(check, seen, name);
        if (!fits && schema_is_enough(check))
            break;
    }
    return fits;
}

static bool matches(struct schema_check *check, const struct schema_regex *pattern, struct str name)
{
    int rc = schema_regex_match(pattern, name, &check->steps);
    if (rc < 0)
        check->rc = rc;
    return rc > 0;
}

bool schema_apply_pattern_properties(struct schema_check *check, const struct schema_rule *rule,
                                     const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    for (void *it = schema_first(value); it != NULL; it = schema_next(value, it)) {
        struct str name = schema_key(it);
        for (unsigned i = 0; i < rule->count && check->rc == 0; i++) {
            if (!matches(check, rule->patterns[i], name))
                continue;
            fits =
                schema_eval_member(check, rule->nodes[i], json_object_iter_value(it), name) && fits;
            schema_see_name(check, seen, name);
        }
        if (!schema_spend(check, 1) || (!fits && schema_is_enough(check)))
            return false;
    }
    return fits;
}

static bool is_additional(struct schema_check *check, const struct schema_rule *rule,
                          struct str name)
{
    const struct schema_rule *listed = rule->beside, *patterns = rule->patterns_beside;
    if (listed != NULL && json_object_getn(listed->arg, name.ptr, name.len) != NULL)
        return false;
    for (unsigned i = 0; patterns != NULL && i < patterns->count && check->rc == 0; i++) {
        if (matches(check, patterns->patterns[i], name))
            return false;
    }
    return true;
}

bool schema_apply_additional_properties(struct schema_check *check, const struct schema_rule *rule,
                                        const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    for (void *it = schema_first(value); it != NULL; it = schema_next(value, it)) {
        struct str name = schema_key(it);
        if (is_additional(check, rule, name)) {
            fits =
                schema_eval_member(check, rule->nodes[0], json_object_iter_value(it), name) && fits;
            schema_see_name(check, seen, name);
        }
        if (!schema_spend(check, 1) || (!fits && schema_is_enough(check)))
            return false;
    }
    return fits;
}

/* A name is judged as a text; what is said of it is said at its member. */
static bool is_name(struct schema_check *check, const struct schema_rule *rule, struct str name)
{
    json_t *text = json_stringn_nocheck(name.ptr, name.len);
    struct schema_place place = {check->place, name, 0};
    if (text == NULL) {
        check->rc = -ENOMEM;
        return false;
    }
    bool fits = schema_eval_quietly(check, rule->nodes[0], text, NULL);
    check->place = &place;
    if (!fits && !schema_is_enough(check))
        schema_wrong(check, "has a name that is not allowed: it %.*s",
                     STR_ARG(schema_reason(check, rule->nodes[0], text)));
    check->place = place.up;
    json_decref(text);
    return fits;
}

bool schema_apply_property_names(struct schema_check *check, const struct schema_rule *rule,
                                 const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    (void)seen;
    for (void *it = schema_first(value); it != NULL; it = schema_next(value, it)) {
        fits = is_name(check, rule, schema_key(it)) && fits;
        if (!fits && schema_is_enough(check))
            return false;
    }
    return fits;
}

bool schema_apply_unevaluated_properties(struct schema_check *check, const struct schema_rule *rule,
                                         const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    for (void *it = schema_first(value); it != NULL; it = schema_next(value, it)) {
        struct str name = schema_key(it);
        if (!schema_saw_name(seen, name))
            fits =
                schema_eval_member(check, rule->nodes[0], json_object_iter_value(it), name) && fits;
        if (!schema_spend(check, 1) || (!fits && schema_is_enough(check)))
            return false;
    }
    seen->all_names = true;
    return fits;
}

/* ---- elements ---- */

bool schema_apply_prefix_items(struct schema_check *check, const struct schema_rule *rule,
                               const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    size_t count = json_array_size(value);
    for (size_t i = 0; i < rule->count && i < count; i++) {
        fits = schema_eval_element(check, rule->nodes[i], json_array_get(value, i), i) && fits;
        schema_see_item(check, seen, i, count);
    }
    return fits;
}

bool schema_apply_items(struct schema_check *check, const struct schema_rule *rule,
                        const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    size_t first = rule->beside != NULL ? rule->beside->count : 0;
    for (size_t i = first; i < json_array_size(value); i++) {
        fits = schema_eval_element(check, rule->nodes[0], json_array_get(value, i), i) && fits;
        if (!fits && schema_is_enough(check))
            return false;
    }
    if (seen != NULL)
        seen->all_items = true;
    return fits;
}

bool schema_apply_contains(struct schema_check *check, const struct schema_rule *rule,
                           const json_t *value, struct schema_seen *seen)
{
    size_t found = 0, count = json_array_size(value);
    bool counts_all = seen != NULL || rule->high < SIZE_MAX;
    for (size_t i = 0; i < count && (counts_all || found < rule->low); i++) {
        if (!schema_eval_quietly(check, rule->nodes[0], json_array_get(value, i), NULL))
            continue;
        found++;
        schema_see_item(check, seen, i, count);
    }
    if (found < rule->low)
        return schema_wrong(check, "must have at least %zu element%s as `contains` describes",
                            rule->low, rule->low == 1 ? "" : "s");
    return found <= rule->high ||
           schema_wrong(check, "must have at most %zu element%s as `contains` describes",
                        rule->high, rule->high == 1 ? "" : "s");
}

bool schema_apply_unevaluated_items(struct schema_check *check, const struct schema_rule *rule,
                                    const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!schema_saw_item(seen, i))
            fits = schema_eval_element(check, rule->nodes[0], json_array_get(value, i), i) && fits;
        if (!fits && schema_is_enough(check))
            return false;
    }
    seen->all_items = true;
    return fits;
}
