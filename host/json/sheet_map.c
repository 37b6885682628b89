/* Sheets from sheets: names without a namespace, members as lists. */
#include "json/sheet_internal.h"
#include "base/buf.h"

static bool has_namespace(const struct sheet *sheet, struct str ns)
{
    for (unsigned i = 0; i < sheet->count; i++) {
        if (str_find_text(sheet_name(sheet, i), ns) < sheet->members[i].name_len)
            return true;
    }
    return false;
}

bool sheet_may_name(struct str name)
{
    struct buf written = BUF_INIT;
    buf_add_json(&written, name);
    bool plain = written.len == name.len + 2;
    buf_free(&written);
    return plain;
}

/* ---- writing ---- */

/* The text and the places of what is being made. */
static struct buf text, block;
static struct sheet_member places[SHEET_MEMBERS];
static unsigned count;

static bool has_name(struct str name)
{
    for (unsigned i = 0; i < count; i++) {
        if (str_eq((struct str){text.data + places[i].name, places[i].name_len}, name))
            return true;
    }
    return false;
}

/* The name in two pieces and a colon; the value is to follow. False, and nothing: there is one of
 * that name, or too many. */
static bool add_name(struct str head, struct str tail)
{
    size_t before = text.len;
    buf_add_str(&text, count > 0 ? STR(",\"") : STR("\""));
    size_t at = text.len;
    buf_add_str(&text, head);
    buf_add_str(&text, tail);
    if (buf_failed(&text))
        return false;
    struct str name = {text.data + at, text.len - at};
    if (has_name(name)) {
        text.len = before;
        return false;
    }
    if (count == SHEET_MEMBERS) {
        text.failed = true;
        return false;
    }
    places[count].name = (uint32_t)at;
    places[count].name_len = (uint32_t)name.len;
    buf_add_str(&text, STR("\":"));
    places[count].value = (uint32_t)text.len;
    return true;
}

static void end_value(void)
{
    places[count].value_len = (uint32_t)text.len - places[count].value;
    count++;
}

/* As jwt.claim_to_array does. A space stands for itself in JSON, so words can be told in the text.
 */
static void add_list(struct str value)
{
    if (value.ptr[0] == '[') {
        buf_add_str(&text, value);
        return;
    }
    buf_add_char(&text, '[');
    if (value.ptr[0] == '"') {
        struct str rest = {value.ptr + 1, value.len - 2}, word;
        for (bool first = true; str_split_next(&rest, ' ', &word); first = false) {
            buf_add_str(&text, first ? STR("\"") : STR(",\""));
            buf_add_str(&text, word);
            buf_add_char(&text, '"');
        }
    } else if (!str_eq(value, STR("null"))) {
        buf_add_str(&text, value);
    }
    buf_add_char(&text, ']');
}

static bool is_listed(const struct sheet_map *map, struct str name)
{
    for (unsigned i = 0; i < map->list_count; i++) {
        if (str_eq(map->lists[i], name))
            return true;
    }
    return false;
}

static void add_member(const struct sheet_map *map, struct str head, struct str tail,
                       struct str value)
{
    if (!add_name(head, tail))
        return;
    if (is_listed(map, (struct str){text.data + places[count].name, places[count].name_len}))
        add_list(value);
    else
        buf_add_str(&text, value);
    end_value();
}

static void add_members(const struct sheet *sheet, const struct sheet_map *map, bool namespaced)
{
    for (unsigned i = 0; i < sheet->count; i++) {
        struct str name = sheet_name(sheet, i);
        size_t at = str_find_text(name, map->namespace);
        if ((at < name.len) != namespaced)
            continue;
        struct str tail = namespaced ? str_skip(name, at + map->namespace.len) : STR("");
        add_member(map, (struct str){name.ptr, at}, tail, sheet_value(sheet, i));
    }
}

const struct sheet *sheet_map(const struct sheet *sheet, const struct sheet_map *map)
{
    bool strips = has_namespace(sheet, map->namespace);
    if (!strips && map->list_count == 0)
        return sheet;
    if (strips && !str_is_utf8(map->namespace))
        return NULL; /* half a character would be left */
    buf_clear(&text);
    buf_clear(&block);
    count = 0;
    buf_add_char(&text, '{');
    add_members(sheet, map, false);
    if (strips)
        add_members(sheet, map, true);
    for (unsigned i = 0; i < map->list_count; i++) {
        if (add_name(map->lists[i], STR(""))) {
            buf_add_str(&text, STR("[]"));
            end_value();
        }
    }
    buf_add_char(&text, '}');
    size_t bytes = sheet_bytes(count, text.len);
    if (buf_failed(&text) || buf_reserve(&block, bytes) != 0)
        return NULL;
    struct sheet *out = (struct sheet *)(void *)block.data; /* malloc aligns it */
    sheet_fill(out, buf_str(&text), places, count);
    return out;
}
