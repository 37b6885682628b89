/* One object or array of a JSON text whose members are made when they are read. */
#include "lua/json_level.h"

#include <string.h>

enum {
    AT_ONCE = 64 /* bytes of a scalar that rows make with the object: others may not be read */
};

struct json_walk json_level_walk(const struct json_level *level)
{
    return json_walk_into(level->text, level->boxes, level->box);
}

/* ---- rows ---- */

/* Which of the rows' names it is; their count: none. */
static uint32_t which_name(const struct json_rows *rows, struct str name)
{
    uint32_t i = 0;
    while (i < rows->count && !str_eq(rows->names[i], name))
        i++;
    return i;
}

/* Of the members that rows name in an object. */
static bool is_made_at_once(const struct json_box *object, struct str value)
{
    if (json_level_is_box(value))
        return true;
    bool is_plain = !object->odd || memchr(value.ptr, '\\', value.len) == NULL;
    return value.len <= AT_ONCE && is_plain;
}

struct json_row_walk json_row_walk_into(const struct json_rows *rows, const struct json_box *row)
{
    return (struct json_row_walk){rows, row, json_walk_into(rows->text, rows->boxes, row), 0, 0};
}

bool json_row_walk_next(struct json_row_walk *at, uint32_t *which, struct str *value,
                        const struct json_box **box)
{
    while (at->named < at->rows->count && at->passed < at->row->count) {
        at->passed++;
        *which = at->named; /* they mostly come in the same order */
        if (!json_walk_named(&at->walk, at->rows->names[at->named]))
            *which = which_name(at->rows, json_walk_name(&at->walk));
        *value = json_walk_value(&at->walk, box);
        if (*which == at->rows->count)
            continue;
        at->named++;
        if (is_made_at_once(at->row, *value))
            return true;
    }
    return false;
}

/* ---- places ---- */

void json_level_next(struct json_level *level, struct str *name, struct str *value,
                     const struct json_box **box)
{
    struct json_walk walk = {level->text, level->boxes, level->next_child, level->next_at};
    if (level->found == 0)
        walk = json_level_walk(level);
    uint32_t at = walk.at;
    *name = json_level_is_object(level) ? json_walk_name(&walk) : STR("");
    *value = json_walk_value(&walk, box);
    bool made = level->rows != NULL && which_name(level->rows, *name) < level->rows->count &&
                is_made_at_once(level->box, *value);
    level->at[level->found++] = made ? at | JSON_LEVEL_MADE : at;
    level->next_at = walk.at;
    level->next_child = walk.child;
}

void json_level_find(struct json_level *level)
{
    struct str name, value;
    const struct json_box *box;
    if (!json_level_is_object(level) && !level->box->odd)
        return;
    while (level->found < level->box->count)
        json_level_next(level, &name, &value, &box);
}

struct str json_level_name(const struct json_level *level, uint32_t member)
{
    struct json_walk walk = {.text = level->text, .at = level->at[member] & ~JSON_LEVEL_MADE};
    return json_walk_name(&walk);
}

/* The box within the level that starts there; NULL: it has none. */
static const struct json_box *box_at(const struct json_level *level, uint32_t start)
{
    const struct json_box *low = level->box + 1, *high = level->boxes + level->box->next;
    if (low == high)
        return NULL;
    while (high - low > 1) {
        const struct json_box *middle = low + (high - low) / 2;
        if (middle->start <= start)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint32_t place_of(const struct json_level *level, uint32_t member)
{
    return level->at[member] & ~JSON_LEVEL_MADE;
}

struct str json_level_value_at(const struct json_level *level, uint32_t member,
                               const struct json_box **box)
{
    struct json_walk walk = {.text = level->text, .at = place_of(level, member)};
    uint32_t next = member + 1;
    if (json_level_is_object(level))
        json_walk_name(&walk);
    struct str value = str_skip(walk.text, walk.at);
    bool boxed = json_level_is_box(value);
    *box = boxed ? box_at(level, walk.at) : NULL;
    uint32_t end = next < level->found        ? place_of(level, next)
                   : next < level->box->count ? level->next_at
                                              : level->box->end;
    if (!level->box->blanks) /* then a comma or bracket is before it */
        value.len = end - 1 - walk.at;
    else
        value.len = boxed ? (*box)->end - (*box)->start : json_scalar_length(value);
    return value;
}

struct str json_level_value(const struct json_level *level, uint32_t member)
{
    const struct json_box *box;
    return json_level_value_at(level, member, &box);
}

int64_t json_level_member(const struct json_level *level, struct str name)
{
    size_t end = level->box->end;
    for (uint32_t i = 0; i < level->found; i++) {
        size_t at = (level->at[i] & ~JSON_LEVEL_MADE) + 1;
        const char *p = level->text.ptr + at;
        if (name.len < end - at && p[name.len] == '"' && memcmp(p, name.ptr, name.len) == 0 &&
            memchr(name.ptr, '"', name.len) == NULL) /* else it goes on in what follows */
            return i;
    }
    return -1;
}
