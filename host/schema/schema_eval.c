/* A check under way: which rules of a node are looked at, what was seen of a value, and what is
 * said of it. */
#include "schema/schema_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema/schema_equal.h"

/* ---- places ---- */

static void write_name(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '~' || c == '/')
            buf_add_str(out, c == '~' ? STR("~0") : STR("~1"));
        else
            buf_add_char(out, c);
    }
}

void schema_write_place(struct buf *out, const struct schema_place *place)
{
    if (place == NULL || place->up == NULL)
        return;
    schema_write_place(out, place->up);
    buf_add_char(out, '/');
    if (place->name.ptr != NULL)
        write_name(out, place->name);
    else
        buf_printf(out, "%zu", place->index);
}

/* ---- what is wrong ---- */

bool schema_is_enough(const struct schema_check *check)
{
    return check->count >= check->room || check->rc != 0;
}

static struct str keep(struct schema_check *check, struct buf *text)
{
    struct str kept = arena_copy(check->arena, buf_str(text));
    if (buf_failed(text) || kept.ptr == NULL)
        check->rc = -ENOMEM;
    buf_free(text);
    return kept;
}

bool schema_wrong(struct schema_check *check, const char *format, ...)
{
    if (schema_is_enough(check))
        return false;
    char message[512];
    struct buf path = BUF_INIT, text = BUF_INIT;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    schema_write_place(&path, check->place);
    buf_add_str(&text, str_from(message));
    if (len >= (int)sizeof(message)) {
        while (text.len > 0 && !str_is_utf8(buf_str(&text)))
            text.len--;
        buf_add_str(&text, STR("..."));
    }
    struct schema_error *error = &check->errors[check->count];
    error->path = keep(check, &path);
    error->message = keep(check, &text);
    check->count++;
    return false;
}

bool schema_spend(struct schema_check *check, size_t steps)
{
    if (check->rc == 0 && check->steps >= steps) {
        check->steps -= steps;
        return true;
    }
    if (check->rc == 0)
        check->rc = -E2BIG;
    return false;
}

/* ---- types ---- */

unsigned schema_types(const struct schema_check *check, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return check->kind == SCHEMA_LUA && json_object_size(value) == 0
                   ? SCHEMA_OBJECT | SCHEMA_ARRAY
                   : SCHEMA_OBJECT;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_INTEGER:
        return SCHEMA_INTEGER | SCHEMA_NUMBER;
    case JSON_REAL:
        return schema_equal_is_whole(value) ? SCHEMA_INTEGER | SCHEMA_NUMBER : SCHEMA_NUMBER;
    case JSON_NULL:
        return SCHEMA_NULL;
    default:
        return SCHEMA_BOOLEAN;
    }
}

struct str schema_types_text(struct arena *arena, unsigned types)
{
    static const char *const names[] = {"null",     "true or false", "an integer", "a number",
                                        "a string", "an array",      "an object"};
    struct str text = STR("");
    unsigned left = types & SCHEMA_NUMBER ? types & ~(unsigned)SCHEMA_INTEGER : types;
    for (int bit = 6; bit >= 0 && text.ptr != NULL; bit--) {
        unsigned mask = 1u << bit;
        if ((left & mask) == 0)
            continue;
        left &= ~mask;
        text = arena_printf(arena, "%.*s%s%s", STR_ARG(text), names[bit],
                            left == 0                  ? ""
                            : (left & (left - 1)) != 0 ? ", "
                                                       : " or ");
    }
    return text.ptr != NULL ? text : STR("of another type");
}

/* ---- what was seen ---- */

void schema_see_name(struct schema_check *check, struct schema_seen *seen, struct str name)
{
    if (seen == NULL || seen->all_names)
        return;
    if (seen->names == NULL)
        seen->names = json_object();
    if (json_object_setn_new_nocheck(seen->names, name.ptr, name.len, json_true()) != 0)
        check->rc = -ENOMEM;
}

void schema_see_item(struct schema_check *check, struct schema_seen *seen, size_t index,
                     size_t count)
{
    if (seen == NULL || seen->all_items)
        return;
    if (seen->items == NULL)
        seen->items = calloc(count, 1);
    if (seen->items == NULL)
        check->rc = -ENOMEM;
    else
        seen->items[index] = 1;
}

bool schema_saw_name(const struct schema_seen *seen, struct str name)
{
    return seen->all_names || json_object_getn(seen->names, name.ptr, name.len) != NULL;
}

bool schema_saw_item(const struct schema_seen *seen, size_t index)
{
    return seen->all_items || (seen->items != NULL && seen->items[index] != 0);
}

static void merge(struct schema_check *check, struct schema_seen *into,
                  const struct schema_seen *from, const json_t *value)
{
    into->all_names = into->all_names || from->all_names;
    into->all_items = into->all_items || from->all_items;
    for (void *it = schema_first(from->names); it != NULL; it = schema_next(from->names, it))
        schema_see_name(check, into, schema_key(it));
    size_t count = from->items != NULL ? json_array_size(value) : 0;
    for (size_t i = 0; i < count; i++) {
        if (from->items[i] != 0)
            schema_see_item(check, into, i, count);
    }
    schema_spend(check, json_object_size(from->names) + count / 16);
}

/* ---- nodes ---- */

const struct schema_rule *schema_rule_of(const struct schema_node *node, const char *keyword)
{
    for (unsigned i = 0; i < node->rule_count; i++) {
        if (strcmp(node->rules[i].keyword->name, keyword) == 0)
            return &node->rules[i];
    }
    return NULL;
}

/* What the other rules have looked at is known only where they all fit. */
static bool fits_rules(struct schema_check *check, const struct schema_node *node,
                       const json_t *value, struct schema_seen *seen)
{
    bool fits = true;
    unsigned types = schema_types(check, value);
    for (unsigned i = 0; i < node->rule_count && check->rc == 0; i++) {
        const struct schema_rule *rule = &node->rules[i];
        bool unevaluated = strncmp(rule->keyword->name, "unevaluated", 11) == 0;
        if ((rule->keyword->types & types) == 0 || (unevaluated && !fits))
            continue;
        fits = rule->keyword->check(check, rule, value, seen) && fits;
        if (!fits && schema_is_enough(check))
            break;
    }
    return fits && check->rc == 0;
}

bool schema_eval(struct schema_check *check, const struct schema_node *node, const json_t *value,
                 struct schema_seen *seen)
{
    const struct schema_scope *outer = check->scope;
    struct schema_scope here = {node->resource, outer};
    struct schema_seen own = {0};
    struct schema_seen *tracked = seen != NULL || node->unevaluated ? &own : NULL;
    if (!schema_spend(check, 1 + node->rule_count / 4))
        return false;
    if (json_is_boolean(node->source))
        return json_is_true(node->source) || schema_wrong(check, "is not allowed here");
    if (check->depth >= LIMIT_SCHEMA_NESTING) {
        check->rc = -E2BIG;
        return false;
    }
    if (outer == NULL || outer->resource != node->resource)
        check->scope = &here;
    check->depth++;
    bool fits = fits_rules(check, node, value, tracked);
    check->depth--;
    check->scope = outer;
    if (fits && seen != NULL)
        merge(check, seen, &own, value);
    json_decref(own.names);
    free(own.items);
    return fits;
}

static bool eval_at(struct schema_check *check, const struct schema_node *node, const json_t *value,
                    const struct schema_place *place)
{
    check->place = place;
    bool fits = schema_eval(check, node, value, NULL);
    check->place = place->up;
    return fits;
}

bool schema_eval_member(struct schema_check *check, const struct schema_node *node,
                        const json_t *value, struct str name)
{
    return eval_at(check, node, value, &(struct schema_place){check->place, name, 0});
}

bool schema_eval_element(struct schema_check *check, const struct schema_node *node,
                         const json_t *value, size_t index)
{
    return eval_at(check, node, value,
                   &(struct schema_place){check->place, (struct str){NULL, 0}, index});
}

bool schema_eval_quietly(struct schema_check *check, const struct schema_node *node,
                         const json_t *value, struct schema_seen *seen)
{
    unsigned room = check->room;
    check->room = 0;
    bool fits = schema_eval(check, node, value, seen);
    check->room = room;
    return fits;
}

struct str schema_reason(struct schema_check *check, const struct schema_node *node,
                         const json_t *value)
{
    struct schema_error error = {{NULL, 0}, {NULL, 0}};
    struct schema_check one = *check;
    one.errors = &error;
    one.count = 0;
    one.room = 1;
    struct schema_place top = {NULL, {NULL, 0}, 0}; /* paths begin at the value */
    one.place = &top;
    schema_eval(&one, node, value, NULL);
    check->steps = one.steps;
    check->rc = one.rc;
    if (error.message.ptr == NULL || error.path.len == 0)
        return error.message.ptr != NULL ? error.message : STR("is not allowed here");
    struct str text =
        arena_printf(check->arena, "%.*s %.*s", STR_ARG(error.path), STR_ARG(error.message));
    return text.ptr != NULL ? text : error.message;
}
