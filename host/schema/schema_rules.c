/* Keywords that look at one value. */
#include "schema/schema_rules.h"

#include <errno.h>
#include <stdlib.h>

#include "schema/schema_equal.h"
#include "schema/schema_regex.h"

/* The argument as it is shown in a message: not all of a long one. */
static struct str shown(struct schema_check *check, const json_t *value)
{
    enum { SHOWN = 120 };
    char text[SHOWN + 4];
    if (json_is_string(value) && json_string_length(value) > SHOWN)
        return STR("a longer text");
    size_t len = json_dumpb(value, text, SHOWN, JSON_ENCODE_ANY | JSON_COMPACT);
    if (len > SHOWN)
        return STR("a larger value");
    struct str copy = arena_copy(check->arena, (struct str){text, len});
    return copy.ptr != NULL ? copy : STR("another value");
}

bool schema_rules_type(struct schema_check *check, const struct schema_rule *rule,
                       const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    unsigned types = schema_types(check, value);
    if ((types & rule->types) != 0)
        return true;
    if (schema_is_enough(check))
        return false;
    if (types == SCHEMA_NUMBER && (rule->types & SCHEMA_INTEGER) != 0)
        return schema_wrong(check, "must be %.*s, without a fraction",
                            STR_ARG(schema_types_text(check->arena, rule->types)));
    return schema_wrong(check, "must be %.*s, not %.*s",
                        STR_ARG(schema_types_text(check->arena, rule->types)),
                        STR_ARG(schema_types_text(check->arena, types)));
}

bool schema_rules_enum(struct schema_check *check, const struct schema_rule *rule,
                       const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    size_t count = json_array_size(rule->arg);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(rule->arg, i);
        if (!schema_spend(check,
                          json_is_object(one) || json_is_array(one) ? schema_equal_size(one) : 1))
            return false;
        if (schema_equal(value, one))
            return true;
    }
    if (schema_is_enough(check))
        return false;
    struct str list = STR("");
    for (size_t i = 0; i < count && list.ptr != NULL && list.len < 200; i++)
        list = arena_printf(check->arena, "%.*s%s%.*s", STR_ARG(list), i > 0 ? ", " : "",
                            STR_ARG(shown(check, json_array_get(rule->arg, i))));
    return schema_wrong(check, count == 1 ? "must be %.*s" : "must be one of %.*s", STR_ARG(list));
}

bool schema_rules_const(struct schema_check *check, const struct schema_rule *rule,
                        const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    if (!schema_spend(check, schema_equal_size(rule->arg)) || schema_equal(value, rule->arg))
        return check->rc == 0;
    return schema_is_enough(check)
               ? false
               : schema_wrong(check, "must be %.*s", STR_ARG(shown(check, rule->arg)));
}

/* ---- numbers ---- */

static bool judge(struct schema_check *check, const struct schema_rule *rule, bool fits,
                  const char *format)
{
    if (fits || schema_is_enough(check))
        return fits;
    struct str arg = shown(check, rule->arg);
    return schema_wrong(check, "must be %s %.*s", format, STR_ARG(arg));
}

bool schema_rules_multiple_of(struct schema_check *check, const struct schema_rule *rule,
                              const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return judge(check, rule, schema_equal_is_multiple(value, rule->arg), "a multiple of");
}

bool schema_rules_maximum(struct schema_check *check, const struct schema_rule *rule,
                          const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return judge(check, rule, schema_equal_order(value, rule->arg) <= 0, "at most");
}

bool schema_rules_minimum(struct schema_check *check, const struct schema_rule *rule,
                          const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return judge(check, rule, schema_equal_order(value, rule->arg) >= 0, "at least");
}

bool schema_rules_exclusive_maximum(struct schema_check *check, const struct schema_rule *rule,
                                    const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return judge(check, rule, schema_equal_order(value, rule->arg) < 0, "less than");
}

bool schema_rules_exclusive_minimum(struct schema_check *check, const struct schema_rule *rule,
                                    const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return judge(check, rule, schema_equal_order(value, rule->arg) > 0, "greater than");
}

/* ---- strings ---- */

/* Characters of well-formed UTF-8. */
static size_t length(struct schema_check *check, const json_t *string)
{
    struct str s = schema_string(string);
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    schema_spend(check, s.len / 64);
    return count;
}

static bool is_at_most(struct schema_check *check, const struct schema_rule *rule, size_t count,
                       const char *of)
{
    return count <= rule->high || schema_wrong(check, "must have at most %zu %s%s", rule->high, of,
                                               rule->high == 1 ? "" : "s");
}

static bool is_at_least(struct schema_check *check, const struct schema_rule *rule, size_t count,
                        const char *of)
{
    return count >= rule->low || schema_wrong(check, "must have at least %zu %s%s", rule->low, of,
                                              rule->low == 1 ? "" : "s");
}

bool schema_rules_max_length(struct schema_check *check, const struct schema_rule *rule,
                             const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return is_at_most(check, rule, length(check, value), "character");
}

bool schema_rules_min_length(struct schema_check *check, const struct schema_rule *rule,
                             const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return is_at_least(check, rule, length(check, value), "character");
}

bool schema_rules_pattern(struct schema_check *check, const struct schema_rule *rule,
                          const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    int rc = schema_regex_match(rule->patterns[0], schema_string(value), &check->steps);
    if (rc < 0)
        check->rc = rc;
    return rc > 0 ||
           schema_wrong(check, "must match the pattern %.*s", STR_ARG(schema_string(rule->arg)));
}

/* ---- arrays ---- */

bool schema_rules_max_items(struct schema_check *check, const struct schema_rule *rule,
                            const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return is_at_most(check, rule, json_array_size(value), "element");
}

bool schema_rules_min_items(struct schema_check *check, const struct schema_rule *rule,
                            const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return is_at_least(check, rule, json_array_size(value), "element");
}

struct hashed {
    uint64_t hash;
    size_t index;
};

static int compare_hashed(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Equal values have equal hashes, and others do not: who sends them does not know the key. */
static bool is_unique(struct schema_check *check, const json_t *array, struct hashed *items)
{
    size_t count = json_array_size(array);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!schema_spend(check, schema_equal_size(item) * 2 + 8))
            return false;
        items[i] = (struct hashed){schema_equal_hash(item, check->schema->key), i};
    }
    qsort(items, count, sizeof(*items), compare_hashed);
    for (size_t i = 1; i < count; i++) {
        size_t first = items[i - 1].index, second = items[i].index;
        if (items[i - 1].hash == items[i].hash &&
            schema_equal(json_array_get(array, first), json_array_get(array, second)))
            return schema_wrong(check, "must not have the same element twice, as at %zu and %zu",
                                first, second);
    }
    return true;
}

bool schema_rules_unique_items(struct schema_check *check, const struct schema_rule *rule,
                               const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    size_t count = json_array_size(value);
    if (!json_is_true(rule->arg) || count < 2)
        return true;
    struct hashed *items = calloc(count, sizeof(*items));
    if (items == NULL) {
        check->rc = -ENOMEM;
        return false;
    }
    bool unique = is_unique(check, value, items);
    free(items);
    return unique;
}

/* ---- objects ---- */

bool schema_rules_max_properties(struct schema_check *check, const struct schema_rule *rule,
                                 const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return is_at_most(check, rule, json_object_size(value), "member");
}

bool schema_rules_min_properties(struct schema_check *check, const struct schema_rule *rule,
                                 const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    return is_at_least(check, rule, json_object_size(value), "member");
}

static bool has(const json_t *object, const json_t *name)
{
    return json_object_getn(object, json_string_value(name), json_string_length(name)) != NULL;
}

bool schema_rules_required(struct schema_check *check, const struct schema_rule *rule,
                           const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    bool fits = schema_spend(check, json_array_size(rule->arg));
    for (size_t i = 0; i < json_array_size(rule->arg); i++) {
        const json_t *name = json_array_get(rule->arg, i);
        if (has(value, name))
            continue;
        fits = schema_wrong(check, "`%.*s` is missing", STR_ARG(schema_string(name)));
        if (schema_is_enough(check))
            break;
    }
    return fits;
}

static bool has_all(struct schema_check *check, const json_t *value, const json_t *names,
                    struct str who)
{
    bool fits = schema_spend(check, json_array_size(names));
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *name = json_array_get(names, i);
        if (!has(value, name))
            fits = schema_wrong(check, "`%.*s` is missing, which `%.*s` needs",
                                STR_ARG(schema_string(name)), STR_ARG(who));
    }
    return fits;
}

bool schema_rules_dependent_required(struct schema_check *check, const struct schema_rule *rule,
                                     const json_t *value, struct schema_seen *seen)
{
    (void)seen;
    bool fits = schema_spend(check, json_object_size(rule->arg));
    for (void *it = schema_first(rule->arg); it != NULL; it = schema_next(rule->arg, it)) {
        struct str name = schema_key(it);
        if (json_object_getn(value, name.ptr, name.len) != NULL)
            fits = has_all(check, value, json_object_iter_value(it), name) && fits;
    }
    return fits;
}
