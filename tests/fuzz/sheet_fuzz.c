/* A namespace, a line feed, claims: as a sheet they read as they were, and what a map makes of it
 * is JSON whose members are where it says, each under the name and as the list that the map asks
 * for. */
#include <stdlib.h>
#include <string.h>

#include "json/sheet.h"
#include "json_same.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct str lists[] = {{"scope", 5}, {"a b", 3}};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static json_t *read(struct str text)
{
    json_t *json = json_loadb(text.ptr, text.len,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    require(json != NULL);
    return json;
}

/* Index of the member, or -1. */
static int find(const struct sheet *sheet, struct str name)
{
    for (unsigned i = 0; i < sheet->count; i++) {
        if (str_eq(sheet_name(sheet, i), name))
            return (int)i;
    }
    return -1;
}

/* Returns the sheet's object. */
static json_t *check_places(const struct sheet *sheet)
{
    json_t *object = read(sheet_text(sheet));
    require(json_object_size(object) == sheet->count);
    require(sheet->text + sheet->text_len == sheet->bytes);
    for (unsigned i = 0; i < sheet->count; i++) {
        struct str name = sheet_name(sheet, i);
        json_t *value = read(sheet_value(sheet, i));
        require(find(sheet, name) == (int)i);
        require(json_equal(value, json_object_getn(object, name.ptr, name.len)));
        json_decref(value);
    }
    return object;
}

static void check_map(const struct sheet *sheet, struct str ns)
{
    const struct sheet_map map = {.namespace = ns, .lists = lists, .list_count = 2};
    const struct sheet *out = sheet_map(sheet, &map);
    if (out == NULL)
        return;
    json_t *object = check_places(out);
    for (unsigned i = 0; i < 2; i++)
        require(json_is_array(json_object_getn(object, lists[i].ptr, lists[i].len)));
    for (unsigned i = 0; i < sheet->count; i++) { /* who never had the namespace stays as it is */
        struct str name = sheet_name(sheet, i), value = sheet_value(sheet, i);
        bool listed = str_eq(name, lists[0]) || str_eq(name, lists[1]);
        if (listed || (ns.len > 0 && memmem(name.ptr, name.len, ns.ptr, ns.len) != NULL))
            continue;
        int at = find(out, name);
        require(at >= 0 && str_eq(sheet_value(out, (unsigned)at), value));
    }
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    size_t line = str_find(input, '\n');
    struct str ns = {input.ptr, line};
    struct str text = line < size ? str_skip(input, line + 1) : STR("{}");
    json_t *claims = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, NULL);
    struct sheet *sheet = json_is_object(claims) ? sheet_new(claims, claims, STR("")) : NULL;
    if (sheet != NULL) {
        json_t *object = check_places(sheet);
        require(json_same(object, claims));
        json_decref(object);
        check_map(sheet, ns);
        free(sheet);
    }
    json_decref(claims);
    return 0;
}
