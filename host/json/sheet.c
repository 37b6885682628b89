/* Claims as JSON text with places. */
#include "json/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "json/sheet_internal.h"
#include "base/buf.h"
#include "base/limits.h"

size_t sheet_bytes(size_t count, size_t text_len)
{
    return sizeof(struct sheet) + count * sizeof(struct sheet_member) + text_len;
}

void sheet_fill(struct sheet *sheet, struct str text, const struct sheet_member *places,
                size_t count)
{
    static uint64_t last_serial;
    size_t head = sheet_bytes(count, 0);
    *sheet = (struct sheet){.serial = ++last_serial,
                            .bytes = (uint32_t)(head + text.len),
                            .count = (uint32_t)count,
                            .text = (uint32_t)head,
                            .text_len = (uint32_t)text.len,
                            .box = {.end = (uint32_t)text.len,
                                    .next = 1,
                                    .count = (uint32_t)count,
                                    .height = LIMIT_TOKEN_JSON_DEPTH, /* or less */
                                    .odd = true}};
    memcpy(sheet->members, places, count * sizeof(*places));
    memcpy((char *)sheet + head, text.ptr, text.len);
}

/* ---- writing ---- */

static void add_value(struct buf *out, const json_t *value);

/* How the members of an object are spelled in its text. */
struct spelled {
    const json_t *values[SHEET_MEMBERS];
    struct str texts[SHEET_MEMBERS];
    size_t count;
};

/* Of the same values as are in the object that was read from the text; none if that is not to be
 * had.
 */
static void read_spelling(struct spelled *s, const json_t *whole, struct str text)
{
    uint32_t boxes_count;
    const struct json_box *boxes = text.len > 0 ? json_boxes(text, &boxes_count) : NULL;
    json_t *source = (json_t *)(uintptr_t)whole;
    s->count = 0;
    if (boxes == NULL || boxes->count != json_object_size(whole) || boxes->count > SHEET_MEMBERS)
        return;
    struct json_walk walk = json_walk_into(text, boxes, boxes);
    for (void *it = json_object_iter(source); it != NULL; it = json_object_iter_next(source, it)) {
        const struct json_box *box;
        struct str name = {json_object_iter_key(it), json_object_iter_key_len(it)};
        if (!str_eq(json_walk_name(&walk), name)) {
            s->count = 0;
            return;
        }
        s->values[s->count] = json_object_iter_value(it); /* in the text's order */
        s->texts[s->count++] = json_walk_value(&walk, &box);
    }
}

/* The text of the value, which is one of those; NULL: not known, or a string, of which a sheet has
 * no needless escapes. true, false and null are the same value everywhere, and spelled the same. */
static const struct str *spelling_of(const struct spelled *s, const json_t *value)
{
    for (size_t i = 0; s != NULL && !json_is_string(value) && i < s->count; i++) {
        if (s->values[i] == value)
            return &s->texts[i];
    }
    return NULL;
}

/* One member; its places into `at`. False when its name is written otherwise than it reads. */
static bool add_member(struct buf *out, struct str name, const json_t *value,
                       const struct spelled *spelled, struct sheet_member *at)
{
    const struct str *text = spelling_of(spelled, value);
    at->name = (uint32_t)out->len + 1;
    at->name_len = (uint32_t)name.len;
    buf_add_json(out, name);
    bool plain = out->len - at->name == name.len + 1;
    buf_add_char(out, ':');
    at->value = (uint32_t)out->len;
    if (text != NULL)
        json_add_compact(out, *text);
    else
        add_value(out, value);
    at->value_len = (uint32_t)out->len - at->value;
    return plain;
}

/* The members' places into `places`, unless NULL. False when a name is written otherwise than it
 * reads. */
static bool add_object(struct buf *out, const json_t *object, const struct spelled *spelled,
                       struct sheet_member *places)
{
    json_t *source = (json_t *)(uintptr_t)object; /* jansson's iterators take no const */
    bool plain = true;
    size_t count = 0;
    buf_add_char(out, '{');
    for (void *it = json_object_iter(source); it != NULL; it = json_object_iter_next(source, it)) {
        struct str name = {json_object_iter_key(it), json_object_iter_key_len(it)};
        struct sheet_member at;
        if (count > 0)
            buf_add_char(out, ',');
        plain = add_member(out, name, json_object_iter_value(it), spelled, &at) && plain;
        if (places != NULL)
            places[count] = at;
        count++;
    }
    buf_add_char(out, '}');
    return plain;
}

static void add_array(struct buf *out, const json_t *array)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_value(out, json_array_get(array, i));
    }
    buf_add_char(out, ']');
}

static void add_value(struct buf *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        (void)add_object(out, value, NULL, NULL);
        break;
    case JSON_ARRAY:
        add_array(out, value);
        break;
    case JSON_STRING:
        buf_add_json(out, (struct str){json_string_value(value), json_string_length(value)});
        break;
    case JSON_INTEGER:
        buf_add_integer(out, json_integer_value(value));
        break;
    case JSON_REAL:
        buf_add_float(out, json_real_value(value));
        break;
    case JSON_NULL:
        buf_add_str(out, STR("null"));
        break;
    default:
        buf_add_str(out, json_is_true(value) ? STR("true") : STR("false"));
    }
}

/* The value as its text spells it, but for needless escapes of a text. */
static void add_spelled(struct buf *out, const json_t *object, struct str name, struct str value,
                        const struct json_box *box)
{
    if (box != NULL && box->blanks) {
        json_add_compact(out, value);
    } else if (*value.ptr == '"' && json_scalar_is_odd(value)) {
        const json_t *text = json_object_getn(object, name.ptr, name.len);
        buf_add_json(out, (struct str){json_string_value(text), json_string_length(text)});
    } else {
        buf_add_str(out, value);
    }
}

/* The whole object from its text. False, and nothing: its names are not to be had from there. */
static bool add_text(struct buf *out, const json_t *object, struct str text,
                     struct sheet_member *places)
{
    uint32_t boxes_count;
    const struct json_box *boxes = text.len > 0 ? json_boxes(text, &boxes_count) : NULL, *box;
    if (boxes == NULL || boxes->count != json_object_size(object))
        return false;
    struct json_walk walk = json_walk_into(text, boxes, boxes);
    (void)buf_reserve(out, text.len);
    buf_add_char(out, '{');
    for (uint32_t i = 0; i < boxes->count; i++) {
        struct str name = json_walk_name(&walk), value = json_walk_value(&walk, &box);
        buf_add_str(out, i > 0 ? STR(",\"") : STR("\""));
        places[i].name = (uint32_t)out->len;
        places[i].name_len = (uint32_t)name.len;
        buf_add_str(out, name);
        buf_add_str(out, STR("\":"));
        places[i].value = (uint32_t)out->len;
        add_spelled(out, object, name, value, box);
        places[i].value_len = (uint32_t)out->len - places[i].value;
    }
    buf_add_char(out, '}');
    return true;
}

static struct sheet *assemble(struct str text, const struct sheet_member *places, size_t count)
{
    struct sheet *sheet = malloc(sheet_bytes(count, text.len));
    if (sheet != NULL)
        sheet_fill(sheet, text, places, count);
    return sheet;
}

struct sheet *sheet_new(const json_t *object, const json_t *whole, struct str whole_text)
{
    struct sheet_member places[SHEET_MEMBERS];
    struct spelled spelled;
    size_t count = json_object_size(object);
    if (count > SHEET_MEMBERS)
        return NULL;
    struct buf text = BUF_INIT;
    struct sheet *sheet = NULL;
    bool done = object == whole && add_text(&text, object, whole_text, places);
    if (!done) {
        read_spelling(&spelled, whole, whole_text);
        done = add_object(&text, object, &spelled, places);
    }
    if (done && !buf_failed(&text))
        sheet = assemble(buf_str(&text), places, count);
    buf_free(&text);
    return sheet;
}
