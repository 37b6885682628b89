/* What each keyword demands of a value: see struct schema_keyword. */
#pragma once

#include "schema/schema_internal.h"

typedef bool schema_rules_check(struct schema_check *check, const struct schema_rule *rule,
                                const json_t *value, struct schema_seen *seen);

/* schema_rules.c: of one value */
schema_rules_check schema_rules_type, schema_rules_enum, schema_rules_const;
schema_rules_check schema_rules_multiple_of, schema_rules_maximum, schema_rules_minimum;
schema_rules_check schema_rules_exclusive_maximum, schema_rules_exclusive_minimum;
schema_rules_check schema_rules_max_length, schema_rules_min_length, schema_rules_pattern;
schema_rules_check schema_rules_max_items, schema_rules_min_items, schema_rules_unique_items;
schema_rules_check schema_rules_max_properties, schema_rules_min_properties;
schema_rules_check schema_rules_required, schema_rules_dependent_required;

/* schema_apply.c: by other schemas */
schema_rules_check schema_apply_ref, schema_apply_dynamic_ref;
schema_rules_check schema_apply_all_of, schema_apply_any_of, schema_apply_one_of, schema_apply_not;
schema_rules_check schema_apply_if, schema_apply_dependent_schemas;
schema_rules_check schema_apply_properties, schema_apply_pattern_properties;
schema_rules_check schema_apply_additional_properties, schema_apply_property_names;
schema_rules_check schema_apply_prefix_items, schema_apply_items, schema_apply_contains;
schema_rules_check schema_apply_unevaluated_items, schema_apply_unevaluated_properties;
