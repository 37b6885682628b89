/* The keywords, and how their arguments are read. */
#include "schema/schema_keywords.h"

#include <math.h>

#include "schema/schema_compile.h"
#include "schema/schema_equal.h"
#include "schema/schema_rules.h"

/* ---- arguments ---- */

/* A table of Lua without members may be meant as a list without elements, which it becomes. */
static int as_list(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (json_is_object(rule->arg) && json_object_size(rule->arg) == 0) {
        json_t *source = (json_t *)(uintptr_t)compiler->node->source; /* a copy of our own */
        if (json_object_set_new(source, rule->keyword->name, json_array()) != 0)
            return schema_compile_no_memory(compiler);
        rule->arg = json_object_get(source, rule->keyword->name);
    }
    return json_is_array(rule->arg) ? 0 : schema_compile_fault(compiler, "must be a list");
}

static int read_nothing(struct schema_compiler *compiler, struct schema_rule *rule)
{
    (void)compiler;
    (void)rule;
    return 0;
}

static int read_text(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return json_is_string(rule->arg) ? 0 : schema_compile_fault(compiler, "must be a text");
}

static int read_bool(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return json_is_boolean(rule->arg) ? 0 : schema_compile_fault(compiler, "must be true or false");
}

static int read_number(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return json_is_number(rule->arg) ? 0 : schema_compile_fault(compiler, "must be a number");
}

static int read_step(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return json_is_number(rule->arg) && json_number_value(rule->arg) > 0
               ? 0
               : schema_compile_fault(compiler, "must be a number above 0");
}

static int to_count(struct schema_compiler *compiler, const json_t *value, size_t *out)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || !schema_equal_is_whole(value) || number < 0)
        return schema_compile_fault(compiler, "must be a whole number of at least 0");
    *out = number < 9e15 ? (size_t)number : SIZE_MAX;
    return 0;
}

static int read_high(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return to_count(compiler, rule->arg, &rule->high);
}

static int read_low(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return to_count(compiler, rule->arg, &rule->low);
}

static int check_names(struct schema_compiler *compiler, const json_t *names)
{
    bool good = json_is_array(names) || (json_is_object(names) && json_object_size(names) == 0);
    for (size_t i = 0; good && i < json_array_size(names); i++)
        good = json_is_string(json_array_get(names, i));
    return good ? 0 : schema_compile_fault(compiler, "must be a list of names");
}

static int read_names(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return check_names(compiler, rule->arg) != 0 ? -1 : as_list(compiler, rule);
}

static int read_dependent_names(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (!json_is_object(rule->arg))
        return schema_compile_fault(compiler, "must be names, each with a list of names");
    for (void *it = schema_first(rule->arg); it != NULL; it = schema_next(rule->arg, it)) {
        if (check_names(compiler, json_object_iter_value(it)) != 0)
            return -1;
    }
    return 0;
}

static unsigned type_bit(const json_t *name)
{
    static const struct {
        const char *name;
        unsigned bit;
    } types[] = {{"null", SCHEMA_NULL},      {"boolean", SCHEMA_BOOLEAN}, {"object", SCHEMA_OBJECT},
                 {"array", SCHEMA_ARRAY},    {"number", SCHEMA_NUMBER},   {"string", SCHEMA_STRING},
                 {"integer", SCHEMA_INTEGER}};
    for (size_t i = 0; json_is_string(name) && i < sizeof(types) / sizeof(types[0]); i++) {
        if (str_eq(schema_string(name), str_from(types[i].name)))
            return types[i].bit;
    }
    return 0;
}

static int read_type(struct schema_compiler *compiler, struct schema_rule *rule)
{
    size_t count = json_is_array(rule->arg) ? json_array_size(rule->arg) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_is_array(rule->arg) ? json_array_get(rule->arg, i) : rule->arg;
        unsigned bit = type_bit(name);
        if (bit == 0)
            return schema_compile_fault(compiler,
                                        "must be one of \"string\", \"number\", \"integer\", "
                                        "\"boolean\", \"object\", \"array\", \"null\", or a list "
                                        "of those%s%.60s%s",
                                        json_is_string(name) ? ", not \"" : "",
                                        json_is_string(name) ? json_string_value(name) : "",
                                        json_is_string(name) ? "\"" : "");
        rule->types |= bit;
    }
    return count > 0 ? 0 : schema_compile_fault(compiler, "must name a type");
}

static int read_pattern(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (read_text(compiler, rule) != 0)
        return -1;
    rule->patterns = schema_compile_alloc(compiler, sizeof(struct schema_regex *));
    if (rule->patterns == NULL)
        return -1;
    rule->patterns[0] = schema_compile_pattern(compiler, schema_string(rule->arg));
    return rule->patterns[0] != NULL ? 0 : -1;
}

static int read_pattern_members(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (schema_compile_members(compiler, rule) != 0)
        return -1;
    rule->patterns =
        schema_compile_alloc(compiler, (rule->count + 1) * sizeof(struct schema_regex *));
    if (rule->patterns == NULL)
        return -1;
    unsigned i = 0;
    for (void *it = schema_first(rule->arg); it != NULL; it = schema_next(rule->arg, it), i++) {
        rule->patterns[i] = schema_compile_pattern(compiler, schema_key(it));
        if (rule->patterns[i] == NULL)
            return -1;
    }
    return 0;
}

static int read_additional(struct schema_compiler *compiler, struct schema_rule *rule)
{
    rule->beside = schema_rule_of(compiler->node, "properties");
    rule->patterns_beside = schema_rule_of(compiler->node, "patternProperties");
    return schema_compile_one(compiler, rule);
}

static int read_items(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (json_is_array(rule->arg))
        return schema_compile_fault(compiler,
                                    "must be one schema; a list of them is `prefixItems`");
    rule->beside = schema_rule_of(compiler->node, "prefixItems");
    return schema_compile_one(compiler, rule);
}

static int read_contains(struct schema_compiler *compiler, struct schema_rule *rule)
{
    const json_t *low = json_object_get(compiler->node->source, "minContains");
    const json_t *high = json_object_get(compiler->node->source, "maxContains");
    rule->low = 1;
    rule->high = SIZE_MAX;
    if ((low != NULL && to_count(compiler, low, &rule->low) != 0) ||
        (high != NULL && to_count(compiler, high, &rule->high) != 0))
        return -1;
    return schema_compile_one(compiler, rule);
}

static int read_if(struct schema_compiler *compiler, struct schema_rule *rule)
{
    struct schema_node **nodes = schema_compile_alloc(compiler, 3 * sizeof(struct schema_node *));
    if (nodes == NULL || schema_compile_one(compiler, rule) != 0)
        return -1;
    nodes[0] = rule->nodes[0];
    rule->nodes = nodes;
    rule->count = 3;
    return schema_compile_beside(compiler, "then", &nodes[1]) != 0
               ? -1
               : schema_compile_beside(compiler, "else", &nodes[2]);
}

/* Without `if` they say nothing; with it they are its own. */
static int read_branch(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return json_object_get(compiler->node->source, "if") != NULL
               ? 0
               : schema_compile_one(compiler, rule);
}

static int read_ref(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return schema_compile_reference(compiler, rule, false);
}

static int read_dynamic_ref(struct schema_compiler *compiler, struct schema_rule *rule)
{
    return schema_compile_reference(compiler, rule, true);
}

static int read_unevaluated(struct schema_compiler *compiler, struct schema_rule *rule)
{
    compiler->node->unevaluated = true;
    return schema_compile_one(compiler, rule);
}

/* Other versions of JSON Schema mean something else by the same words. */
static int read_version(struct schema_compiler *compiler, struct schema_rule *rule)
{
    static const char *const others[] = {"http://json-schema.org/draft-0", "draft/2019-09/schema"};
    if (read_text(compiler, rule) != 0)
        return -1;
    struct str uri = schema_string(rule->arg);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (str_find_text(uri, str_from(others[i])) < uri.len)
            return schema_compile_fault(
                compiler, "is another version of JSON Schema: write "
                          "\"https://json-schema.org/draft/2020-12/schema\", or leave it out");
    }
    return 0;
}

/* ---- the table ---- */

#define NUMBERS (SCHEMA_INTEGER | SCHEMA_NUMBER)

/* In the order in which a value is looked at: what leaves something to others comes after them.
 * `$id` and the anchors are read before (schema_compile.c). */
const struct schema_keyword schema_keywords[] = {
    {"$schema", read_version, NULL, 0, false},
    {"$comment", read_text, NULL, 0, false},
    {"title", read_text, NULL, 0, false},
    {"description", read_text, NULL, 0, false},
    {"format", read_text, NULL, 0, false},
    {"contentEncoding", read_text, NULL, 0, false},
    {"contentMediaType", read_text, NULL, 0, false},
    {"deprecated", read_bool, NULL, 0, false},
    {"readOnly", read_bool, NULL, 0, false},
    {"writeOnly", read_bool, NULL, 0, false},
    {"examples", as_list, NULL, 0, false},
    {"$defs", schema_compile_members, NULL, 0, false},
    {"contentSchema", schema_compile_one, NULL, 0, false},
    {"type", read_type, schema_rules_type, SCHEMA_ANY, false},
    {"enum", as_list, schema_rules_enum, SCHEMA_ANY, false},
    {"const", read_nothing, schema_rules_const, SCHEMA_ANY, false},
    {"multipleOf", read_step, schema_rules_multiple_of, NUMBERS, false},
    {"maximum", read_number, schema_rules_maximum, NUMBERS, false},
    {"exclusiveMaximum", read_number, schema_rules_exclusive_maximum, NUMBERS, false},
    {"minimum", read_number, schema_rules_minimum, NUMBERS, false},
    {"exclusiveMinimum", read_number, schema_rules_exclusive_minimum, NUMBERS, false},
    {"maxLength", read_high, schema_rules_max_length, SCHEMA_STRING, false},
    {"minLength", read_low, schema_rules_min_length, SCHEMA_STRING, false},
    {"pattern", read_pattern, schema_rules_pattern, SCHEMA_STRING, false},
    {"maxItems", read_high, schema_rules_max_items, SCHEMA_ARRAY, false},
    {"minItems", read_low, schema_rules_min_items, SCHEMA_ARRAY, false},
    {"uniqueItems", read_bool, schema_rules_unique_items, SCHEMA_ARRAY, false},
    {"maxContains", read_high, NULL, 0, false},
    {"minContains", read_low, NULL, 0, false},
    {"maxProperties", read_high, schema_rules_max_properties, SCHEMA_OBJECT, false},
    {"minProperties", read_low, schema_rules_min_properties, SCHEMA_OBJECT, false},
    {"required", read_names, schema_rules_required, SCHEMA_OBJECT, false},
    {"dependentRequired", read_dependent_names, schema_rules_dependent_required, SCHEMA_OBJECT,
     false},
    {"prefixItems", schema_compile_list, schema_apply_prefix_items, SCHEMA_ARRAY, false},
    {"items", read_items, schema_apply_items, SCHEMA_ARRAY, false},
    {"contains", read_contains, schema_apply_contains, SCHEMA_ARRAY, false},
    {"properties", schema_compile_members, schema_apply_properties, SCHEMA_OBJECT, false},
    {"patternProperties", read_pattern_members, schema_apply_pattern_properties, SCHEMA_OBJECT,
     false},
    {"additionalProperties", read_additional, schema_apply_additional_properties, SCHEMA_OBJECT,
     false},
    {"propertyNames", schema_compile_one, schema_apply_property_names, SCHEMA_OBJECT, false},
    {"$ref", read_ref, schema_apply_ref, SCHEMA_ANY, true},
    {"$dynamicRef", read_dynamic_ref, schema_apply_dynamic_ref, SCHEMA_ANY, false},
    {"allOf", schema_compile_list, schema_apply_all_of, SCHEMA_ANY, true},
    {"anyOf", schema_compile_list, schema_apply_any_of, SCHEMA_ANY, true},
    {"oneOf", schema_compile_list, schema_apply_one_of, SCHEMA_ANY, true},
    {"not", schema_compile_one, schema_apply_not, SCHEMA_ANY, true},
    {"if", read_if, schema_apply_if, SCHEMA_ANY, true},
    {"then", read_branch, NULL, 0, false},
    {"else", read_branch, NULL, 0, false},
    {"dependentSchemas", schema_compile_members, schema_apply_dependent_schemas, SCHEMA_OBJECT,
     true},
    {"unevaluatedItems", read_unevaluated, schema_apply_unevaluated_items, SCHEMA_ARRAY, false},
    {"unevaluatedProperties", read_unevaluated, schema_apply_unevaluated_properties, SCHEMA_OBJECT,
     false},
    {NULL, NULL, NULL, 0, false},
};
