/* Claims as one block of JSON text in which each member can be found: quick to copy, to read one
 * member of, and to write out again.
 *
 * A sheet has no pointers: it may be copied with memcpy, `bytes` long. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "json/boxes.h"

enum { SHEET_MEMBERS = 63 };

/* Places in the text. */
struct sheet_member {
    uint32_t name, name_len; /* between the quotes; nothing in it is escaped */
    uint32_t value, value_len;
};

struct sheet {
    uint64_t serial; /* no other sheet of this process has it; a copy keeps it */
    uint32_t bytes;  /* of the whole block */
    uint32_t count;
    uint32_t text, text_len;       /* the object, without white space; from the block's start */
    struct json_box box;           /* of the object; there is none of what is within */
    struct sheet_member members[]; /* in the token's order */
};

/* Of an object, whose members are spelled as in the text that `whole` was read from, if they are
 * values of that (the text ends with a NUL; empty: as json.encode does); freed with free(). NULL
 * when it has more than SHEET_MEMBERS members or a name that JSON must escape, or when out of
 * memory: do without. */
struct sheet *sheet_new(const json_t *object, const json_t *whole, struct str whole_text);

static inline struct str sheet_text(const struct sheet *sheet)
{
    return (struct str){(const char *)sheet + sheet->text, sheet->text_len};
}

static inline struct str sheet_name(const struct sheet *sheet, unsigned index)
{
    const struct sheet_member *m = &sheet->members[index];
    return (struct str){(const char *)sheet + sheet->text + m->name, m->name_len};
}

static inline struct str sheet_value(const struct sheet *sheet, unsigned index)
{
    const struct sheet_member *m = &sheet->members[index];
    return (struct str){(const char *)sheet + sheet->text + m->value, m->value_len};
}

/* What is done to claims before a script sees them. */
struct sheet_map {
    struct str namespace; /* its first occurrence is dropped from every name; empty: from none */
    const struct str
        *lists;          /* members that shall be lists: words of a text, one of anything else, */
    unsigned list_count; /* none of what is not there. Nothing in their names is escaped */
};

/* The sheet as the map makes it. Names that never had the namespace win over those that lose it, of
 * which the first wins. `sheet` itself where nothing changes; otherwise in memory of this file,
 * until the next call. NULL: more than SHEET_MEMBERS members, a namespace that is not UTF-8, or out
 * of memory. */
const struct sheet *sheet_map(const struct sheet *sheet, const struct sheet_map *map);

/* May `name` be a member's name in a sheet? */
bool sheet_may_name(struct str name);
