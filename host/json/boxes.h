/* Where the objects and arrays of a JSON text are, found in one pass that checks the text whole.
 *
 * With it a value can be skipped without a look at what is within, and copied as it came. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* An object or array. They stand in the order of their opening brackets: what is within a box
 * follows it, up to `next`. */
struct json_box {
    uint32_t start, end; /* in the text, from its bracket to behind the other one */
    uint32_t next;       /* index of the first box behind it */
    uint32_t count;      /* members or elements */
    uint8_t height;      /* levels, its own among them */
    bool blanks;         /* somewhere within there is white space between values */
    bool odd;            /* a scalar of its own is spelled otherwise than json.encode would */
};

/* The boxes of a text that is an object or array and that lua/json_decode.h would take; its bytes
 * are followed by a NUL. They hold until the next call. NULL: it is none, or one of the few that
 * gain nothing or would need more than that: a member twice, names with escapes or more than
 * JSON_BOX_NAMES of them, more brackets than a quarter of the bytes, or out of memory. */
const struct json_box *json_boxes(struct str text, uint32_t *count);

/* They are needed no more; gives back the memory of many. */
void json_boxes_drop(void);

enum { JSON_BOX_NAMES = 1024 };

/* Length of the scalar at the front, of a text that was checked. */
size_t json_scalar_length(struct str rest);

/* Is that scalar odd? */
bool json_scalar_is_odd(struct str scalar);

/* On the way through the members or elements of a box. */
struct json_walk {
    struct str text;
    const struct json_box *boxes, *child; /* the next one within */
    uint32_t at;                          /* in the text: a name or value, or behind the last one */
};

struct json_walk json_walk_into(struct str text, const struct json_box *all,
                                const struct json_box *box);

/* Is at a name: returns it and goes to the value. */
struct str json_walk_name(struct json_walk *walk);

/* Is at a name: if it is this one, followed at once by its colon, goes to the value. */
bool json_walk_named(struct json_walk *walk, struct str name);

/* Is at a value: returns it and goes to what follows. *box: it is one, else NULL. */
struct str json_walk_value(struct json_walk *walk, const struct json_box **box);

/* Appends the value without the white space between those within. */
void json_add_compact(struct buf *out, struct str text);
