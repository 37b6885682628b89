/* One object or array of a JSON text (json/boxes.h) whose members are made when they are read
 * (lua/json_lazy.h): which there are, where, and which were made. Knows nothing of Lua. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "json/boxes.h"
#include "json/sheet.h"

/* What the objects side by side in an array have in common. */
struct json_rows {
    struct str text;
    const struct json_box *boxes;
    uint32_t count;
    struct str names[]; /* of the members that were made together with each object */
};

struct json_level {
    uint64_t no_serial; /* 0, where a sheet has its serial */
    struct str text;    /* the whole document */
    const struct json_box *boxes, *box;
    const struct sheet *sheet;    /* NULL: the text is that of a string */
    const struct json_rows *rows; /* that the object is one of; or NULL */
    bool touched;                 /* a member was made or set */
    bool whole;                   /* all of its members were made */
    bool set;                     /* there may be members besides those of the text */
    bool sample;                  /* how it is read tells what is made of those beside it */
    uint8_t reads;
    uint32_t found;                    /* so many places are known, */
    uint32_t next_at;                  /* the next one is there, or they end, */
    const struct json_box *next_child; /* the next object or array is that */
    /* Places: of an object, where its names' quotes are, and of an odd array its elements; with
     * JSON_LEVEL_MADE: the raw table stands for it. */
    uint32_t at[];
};

#define JSON_LEVEL_MADE UINT32_C(0x80000000)

static inline bool json_level_is_object(const struct json_level *level)
{
    return level->text.ptr[level->box->start] == '{';
}

/* Does the value begin an object or array? */
static inline bool json_level_is_box(struct str value)
{
    return *value.ptr == '{' || *value.ptr == '[';
}

struct json_walk json_level_walk(const struct json_level *level);

/* The next place, and what is there: the name, empty in an array, and the value. *box as for
 * json_walk_value. */
void json_level_next(struct json_level *level, struct str *name, struct str *value,
                     const struct json_box **box);

/* Finds all of its places, which the others below go by. */
void json_level_find(struct json_level *level);

/* As it is in the text: the member's or element's value, and the member's name. */
struct str json_level_value(const struct json_level *level, uint32_t member);
struct str json_level_value_at(const struct json_level *level, uint32_t member,
                               const struct json_box **box); /* *box as for json_walk_value */
struct str json_level_name(const struct json_level *level, uint32_t member);

/* Index of the member, or -1: the object of this text has none of that name. */
int64_t json_level_member(const struct json_level *level, struct str name);

/* On the way through the members of one of these rows that were made together with it. */
struct json_row_walk {
    const struct json_rows *rows;
    const struct json_box *row;
    struct json_walk walk;
    uint32_t passed, named; /* members so far, and those that the rows name */
};

struct json_row_walk json_row_walk_into(const struct json_rows *rows, const struct json_box *row);

/* The next one: which of the rows' names it has, and its value; false: there are no more. *box as
 * for json_walk_value. */
bool json_row_walk_next(struct json_row_walk *at, uint32_t *which, struct str *value,
                        const struct json_box **box);
