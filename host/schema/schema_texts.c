/* Texts of a query or form as a schema wants them. */
#include "schema/schema_internal.h"

#include <string.h>

#include "json/strict.h"
#include "schema/schema_regex.h"

enum { DEPTH = 16 }; /* schemas that refer to each other, in a row */

static const char *const in_place[] = {"$ref", "allOf", "anyOf", "oneOf", NULL};

/* ---- which types it asks for ---- */

static unsigned types_of_values(const struct schema_rule *rule)
{
    struct schema_check plain = {.kind = SCHEMA_JSON};
    unsigned types = 0;
    if (strcmp(rule->keyword->name, "const") == 0)
        return schema_types(&plain, rule->arg);
    for (size_t i = 0; i < json_array_size(rule->arg); i++)
        types |= schema_types(&plain, json_array_get(rule->arg, i));
    return types;
}

/* SCHEMA_ANY: for none. */
static unsigned types_of(const struct schema_node *node, unsigned depth)
{
    unsigned types = 0;
    const struct schema_rule *rule = schema_rule_of(node, "type");
    if (rule != NULL)
        return rule->types;
    rule = schema_rule_of(node, "enum");
    rule = rule != NULL ? rule : schema_rule_of(node, "const");
    if (rule != NULL)
        return types_of_values(rule);
    for (const char *const *name = in_place; *name != NULL && depth < DEPTH; name++) {
        rule = schema_rule_of(node, *name);
        for (unsigned i = 0; rule != NULL && i < rule->count; i++) {
            unsigned more = types_of(rule->nodes[i], depth + 1);
            types |= more != SCHEMA_ANY ? more : 0;
        }
    }
    return types != 0 ? types : SCHEMA_ANY;
}

/* ---- what it says of a member ---- */

static const struct schema_node *listed_member(const struct schema_node *node, struct str name)
{
    const struct schema_rule *rule = schema_rule_of(node, "properties");
    unsigned i = 0;
    for (void *it = rule != NULL ? schema_first(rule->arg) : NULL; it != NULL;
         it = schema_next(rule->arg, it), i++) {
        if (str_eq(schema_key(it), name))
            return rule->nodes[i];
    }
    return NULL;
}

static const struct schema_node *matched_member(const struct schema_node *node, struct str name)
{
    const struct schema_rule *rule = schema_rule_of(node, "patternProperties");
    size_t steps = LIMIT_SCHEMA_STEPS / 100;
    for (unsigned i = 0; rule != NULL && i < rule->count; i++) {
        if (schema_regex_match(rule->patterns[i], name, &steps) > 0)
            return rule->nodes[i];
    }
    return NULL;
}

static const struct schema_node *member_of(const struct schema_node *node, struct str name,
                                           unsigned depth)
{
    const struct schema_node *found = listed_member(node, name);
    found = found != NULL ? found : matched_member(node, name);
    for (const char *const *in = in_place; found == NULL && *in != NULL && depth < DEPTH; in++) {
        const struct schema_rule *rule = schema_rule_of(node, *in);
        for (unsigned i = 0; found == NULL && rule != NULL && i < rule->count; i++)
            found = member_of(rule->nodes[i], name, depth + 1);
    }
    const struct schema_rule *others = schema_rule_of(node, "additionalProperties");
    return found == NULL && others != NULL ? others->nodes[0] : found;
}

/* What it says of a list's elements, or NULL. */
static const struct schema_node *element_of(const struct schema_node *node, unsigned depth)
{
    const struct schema_rule *rule = schema_rule_of(node, "items");
    const struct schema_node *found = rule != NULL ? rule->nodes[0] : NULL;
    for (const char *const *in = in_place; found == NULL && *in != NULL && depth < DEPTH; in++) {
        rule = schema_rule_of(node, *in);
        for (unsigned i = 0; found == NULL && rule != NULL && i < rule->count; i++)
            found = element_of(rule->nodes[i], depth + 1);
    }
    return found;
}

/* ---- the text ---- */

static json_t *read_number(struct str text, bool whole)
{
    json_error_t error;
    bool plain = text.len > 0 && text.len < 400 &&
                 (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'));
    json_t *value = plain ? strict_json_watched(text, JSON_DECODE_ANY, &error) : NULL;
    if (value != NULL && whole && json_is_real(value)) {
        double real = json_real_value(value);
        if (real >= -9e15 && real <= 9e15 && (double)(json_int_t)real == real) {
            json_decref(value);
            value = json_integer((json_int_t)real);
        }
    }
    return value;
}

static json_t *read_text(struct str text, unsigned types)
{
    json_t *value = NULL;
    if ((types & SCHEMA_STRING) == 0 && (types & (SCHEMA_NUMBER | SCHEMA_INTEGER)) != 0)
        value = read_number(text, (types & SCHEMA_NUMBER) == 0);
    if (value == NULL && (types & SCHEMA_STRING) == 0 && (types & SCHEMA_BOOLEAN) != 0) {
        if (str_eq(text, STR("true")) || str_eq(text, STR("false")))
            value = json_boolean(text.len == 4);
    }
    return value != NULL ? value : json_stringn_nocheck(text.ptr != NULL ? text.ptr : "", text.len);
}

json_t *schema_read_texts(const struct schema *schema, struct str name, const struct str *texts,
                          unsigned count)
{
    const struct schema_node *node = member_of(schema->root, name, 0);
    unsigned types = node != NULL ? types_of(node, 0) : SCHEMA_ANY;
    bool is_list = count != 1 || (types != SCHEMA_ANY && (types & SCHEMA_ARRAY) != 0);
    if (!is_list)
        return read_text(texts[0], types);
    const struct schema_node *element = node != NULL ? element_of(node, 0) : NULL;
    json_t *list = json_array();
    types = element != NULL ? types_of(element, 0) : SCHEMA_ANY;
    for (unsigned i = 0; list != NULL && i < count; i++) {
        if (json_array_append_new(list, read_text(texts[i], types)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}
