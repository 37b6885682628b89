/* Tables of a JSON text whose members are made when they are read. */
#include "lua/json_lazy.h"

#include <assert.h>
#include <lauxlib.h>
#include <stddef.h>
#include <string.h>

#include "lua/budget.h"
#include "lua/json_decode.h"
#include "lua/json_number.h"
#include "lua/lazy.h"
#include "lua/tree.h"
#include "lua/vm.h"

enum {
    SMALL = 8,       /* an object of so many members is made at once, */
    SHORT = 512,     /* and of a text of so many bytes any one, */
    READS = 8,       /* others when this one of their members is read, */
    FIRST_ROOM = 2,  /* until then, of the level and an object or array within */
    ROOM = 1024,     /* elements that an array has a place for before it is read */
    LOOK_EVERY = 64, /* members made between two looks at the budget */
    ROWS = 4,        /* elements of an array whose first one is read alone */
    ROW_NAMES = 16,  /* members that are made with each of the others */
    DOCUMENT = 1,    /* uservalue of levels, boxes and rows: what keeps the text; */
    ROW_KEY = 2,     /* of rows, from here on: their names */
};

static_assert(offsetof(struct json_level, no_serial) == offsetof(struct sheet, serial),
              "that is how they are told apart");

/* Their addresses are keys: in the raw table, and in the metatable of rows. */
static const char level_key, rows_key;

/* What is there under the key: a level, the sheet of a table that nobody has touched, or the box of
 * a row that nobody has, which is a light userdata. NULL: nothing. */
static void *held(lua_State *L, int index, bool *is_row)
{
    *is_row = false;
    if (!lua_istable(L, index))
        return NULL;
    lua_rawgetp(L, index, &level_key);
    void *state = lua_touserdata(L, -1);
    *is_row = lua_islightuserdata(L, -1);
    lua_pop(L, 1);
    return state;
}

const struct sheet *json_lazy_sheet(lua_State *L, int index)
{
    bool is_row;
    const struct sheet *sheet = held(L, index, &is_row);
    return sheet != NULL && !is_row && sheet->serial != 0 ? sheet : NULL;
}

/* Pushes the level, with room for so many places. */
static struct json_level *new_level(lua_State *L, uint32_t places)
{
    struct json_level *level;
    return lua_newuserdatauv(L, sizeof(*level) + places * sizeof(level->at[0]), 1);
}

static void set_sheet_level(lua_State *L, int index, const struct sheet *sheet)
{
    struct json_level *level = new_level(L, sheet->count);
    *level = (struct json_level){.text = sheet_text(sheet),
                                 .boxes = &sheet->box,
                                 .box = &sheet->box,
                                 .sheet = sheet,
                                 .found = sheet->count,
                                 .next_at = sheet->box.end};
    for (uint32_t i = 0; i < sheet->count; i++)
        level->at[i] = sheet->members[i].name - 1;
    lua_rawgetp(L, index, &level_key);
    lua_setiuservalue(L, -2, DOCUMENT);
    lua_rawsetp(L, index, &level_key);
}

/* Pushes the rows that the one at `index` is of. */
static const struct json_rows *push_rows(lua_State *L, int index)
{
    lua_getmetatable(L, index);
    lua_rawgetp(L, -1, &rows_key);
    lua_remove(L, -2);
    return lua_touserdata(L, -1);
}

static void set_row_level(lua_State *L, int index, const struct json_box *row)
{
    const struct json_rows *rows = push_rows(L, index);
    struct json_level *level = new_level(L, row->count);
    *level = (struct json_level){.text = rows->text,
                                 .boxes = rows->boxes,
                                 .box = row,
                                 .rows = rows,
                                 .touched = rows->count > 0};
    lua_getiuservalue(L, -2, DOCUMENT);
    lua_setiuservalue(L, -2, DOCUMENT);
    lua_rawsetp(L, index, &level_key);
    lua_pop(L, 1);
}

struct json_level *json_lazy_level(lua_State *L, int index)
{
    bool is_row;
    void *state = held(L, index, &is_row);
    const struct sheet *sheet = state;
    if (state == NULL || (!is_row && sheet->serial == 0))
        return state;
    luaL_checkstack(L, 4, NULL);
    index = lua_absindex(L, index);
    if (is_row)
        set_row_level(L, index, state);
    else
        set_sheet_level(L, index, sheet);
    return held(L, index, &is_row);
}

static bool is_small(const struct json_level *level)
{
    return level->sheet == NULL && !level->sample &&
           (level->box->count <= SMALL || level->text.len <= SHORT);
}

/* ---- making ---- */

static void push_metatable(lua_State *L, bool object);
static void push_object_type(lua_State *L);

void json_lazy_push_scalar(lua_State *L, struct str text)
{
    size_t at;
    const char *reason;
    switch (text.ptr[0]) {
    case '"':
        if (memchr(text.ptr, '\\', text.len) == NULL)
            lua_pushlstring(L, text.ptr + 1, text.len - 2);
        else if (json_decode_text(L, text) != 0)
            lua_error(L);
        break;
    case 't':
    case 'f':
        lua_pushboolean(L, text.ptr[0] == 't');
        break;
    case 'n':
        lua_pushlightuserdata(L, NULL);
        break;
    default:
        if (json_number_push(L, text, &at, &reason) == 0)
            luaL_error(L, "%s", reason);
    }
}

/* `document` is the stack index of what keeps the text and the boxes. */
static void push_box(lua_State *L, int document, const struct json_level *from,
                     const struct json_box *box)
{
    bool object = from->text.ptr[box->start] == '{';
    uint32_t count = box->count;
    bool small = count <= SMALL || from->text.len <= SHORT; /* as is_small */
    uint32_t places = object || box->odd ? count : 0;
    luaL_checkstack(L, 6, "JSON is nested too deep");
    if (object)
        lua_createtable(L, 0, small ? (int)count + (count > 0) : FIRST_ROOM);
    else
        lua_createtable(L, count <= ROOM ? (int)count : ROOM, count > 0);
    if (count > 0) {
        struct json_level *level = new_level(L, places);
        *level = (struct json_level){.text = from->text, .boxes = from->boxes, .box = box};
        lua_pushvalue(L, document);
        lua_setiuservalue(L, -2, DOCUMENT);
        lua_rawsetp(L, -2, &level_key);
        push_metatable(L, object);
        lua_setmetatable(L, -2);
    } else if (!object) {
        tree_push_array_mt(L);
        lua_setmetatable(L, -2);
    }
}

/* `document` as for push_box; without a box it is not looked at. */
static void push_value(lua_State *L, int document, const struct json_level *level, struct str value,
                       const struct json_box *box)
{
    if (box != NULL)
        push_box(L, document, level, box);
    else if (!json_level_is_box(value))
        json_lazy_push_scalar(L, value);
    else if (json_decode_text(L, value) != 0)
        lua_error(L);
}

/* What keeps the document of the table at `index`. [-0, +1] */
static int push_document(lua_State *L, int index)
{
    lua_rawgetp(L, index, &level_key);
    lua_getiuservalue(L, -1, DOCUMENT);
    lua_remove(L, -2);
    return lua_gettop(L);
}

/* All members that were not made yet. */
static void fill_object(lua_State *L, int index, struct json_level *level)
{
    int document = push_document(L, index);
    for (uint32_t i = 0; i < level->box->count; i++) {
        const struct json_box *box;
        struct str name, value;
        bool is_next = i == level->found;
        if (is_next)
            json_level_next(level, &name, &value, &box);
        if ((level->at[i] & JSON_LEVEL_MADE) != 0)
            continue;
        if (!is_next) {
            name = json_level_name(level, i);
            value = json_level_value_at(level, i, &box);
        }
        if (i % LOOK_EVERY == 0)
            budget_step(L);
        lua_pushlstring(L, name.ptr, name.len);
        push_value(L, document, level, value, box);
        lua_rawset(L, index);
        level->at[i] |= JSON_LEVEL_MADE;
    }
    lua_pop(L, 1);
}

/* ---- rows: objects side by side ---- */

/* Is it an array that begins with an object which has members, and whose text says no more than its
 * elements do? */
static bool is_of_rows(const struct json_level *level)
{
    const struct json_box *box = level->box;
    return box->count >= ROWS && !box->odd && level->text.ptr[json_level_walk(level).at] == '{' &&
           box[1].count > 0;
}

/* The level of the array's first element, if that was read alone and is still there. */
static const struct json_level *sample_of(lua_State *L, int index, const struct json_level *level)
{
    if (!level->sample)
        return NULL;
    lua_rawgeti(L, index, 1);
    const struct json_level *first = json_lazy_level(L, -1);
    lua_pop(L, 1);
    return first != NULL && first->box == level->box + 1 ? first : NULL;
}

/* Pushes the metatable of an array's objects, and after it the names of those members that are made
 * with each, which are the ones that were read of its first. */
static const struct json_rows *push_row_type(lua_State *L, int index, int document,
                                             const struct json_level *level)
{
    struct str names[ROW_NAMES] = {{NULL, 0}};
    uint32_t count = 0;
    const struct json_level *sample = sample_of(L, index, level);
    for (uint32_t i = 0; sample != NULL && i < sample->found && count < ROW_NAMES; i++) {
        if ((sample->at[i] & JSON_LEVEL_MADE) != 0)
            names[count++] = json_level_name(sample, i);
    }
    luaL_checkstack(L, ROW_NAMES + 8, NULL);
    push_object_type(L);
    struct json_rows *rows =
        lua_newuserdatauv(L, sizeof(*rows) + count * sizeof(names[0]), (int)count + 1);
    *rows = (struct json_rows){level->text, level->boxes, count};
    memcpy(rows->names, names, count * sizeof(names[0]));
    lua_pushvalue(L, document);
    lua_setiuservalue(L, -2, DOCUMENT);
    for (int i = 0; i < (int)count; i++) {
        lua_pushlstring(L, names[i].ptr, names[i].len);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, -3 - i, ROW_KEY + i);
    }
    lua_pushvalue(L, -1 - (int)count);
    lua_rawsetp(L, -3 - (int)count, &rows_key);
    lua_remove(L, -1 - (int)count);
    return rows;
}

/* `type` is the stack index of what push_row_type has pushed. */
static void push_row(lua_State *L, int document, int type, const struct json_level *from,
                     const struct json_rows *rows, const struct json_box *row)
{
    uint32_t which;
    struct str value;
    const struct json_box *box;
    struct json_row_walk walk = json_row_walk_into(rows, row);
    lua_createtable(L, 0, (int)rows->count + 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)row);
    lua_rawsetp(L, -2, &level_key);
    while (json_row_walk_next(&walk, &which, &value, &box)) {
        lua_pushvalue(L, type + 1 + (int)which);
        if (*value.ptr == '"')
            lua_pushlstring(L, value.ptr + 1, value.len - 2); /* it has no escapes */
        else
            push_value(L, document, from, value, box);
        lua_rawset(L, -3);
    }
    lua_pushvalue(L, type);
    lua_setmetatable(L, -2);
}

/* The same, looked for again: is all of it there, and nothing else? */
static bool is_row_unchanged(lua_State *L, int index, const struct json_box *row)
{
    uint32_t which;
    struct str value;
    const struct json_box *box;
    int entries = 1; /* its own key */
    bool is_same = true;
    int top = lua_gettop(L);
    const struct json_rows *rows = push_rows(L, index);
    struct json_row_walk walk = json_row_walk_into(rows, row);
    while (is_same && json_row_walk_next(&walk, &which, &value, &box)) {
        lua_getiuservalue(L, -1, ROW_KEY + (int)which);
        lua_rawget(L, index);
        if (box == NULL)
            json_lazy_push_scalar(L, value);
        is_same = box == NULL && lua_rawequal(L, -1, -2);
        lua_settop(L, top + 1);
        entries++;
    }
    lua_settop(L, top);
    if (!is_same)
        return false;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        entries--;
    return entries == 0;
}

const struct json_box *json_lazy_unchanged(lua_State *L, int index, struct str *text)
{
    bool is_row;
    const void *state = held(L, index, &is_row);
    const struct sheet *sheet = state;
    const struct json_level *level = state;
    const struct json_box *box = state;
    if (is_row) {
        luaL_checkstack(L, 6, NULL);
        if (!is_row_unchanged(L, lua_absindex(L, index), box))
            return NULL;
        *text = push_rows(L, index)->text;
        lua_pop(L, 1);
    } else if (state != NULL && sheet->serial != 0) {
        *text = sheet_text(sheet);
        box = &sheet->box;
    } else if (state != NULL && !level->touched) {
        *text = level->text;
        box = level->box;
    } else {
        return NULL;
    }
    *text = (struct str){text->ptr + box->start, box->end - box->start};
    return box;
}

/* An array whose text says no more than its elements do is a plain one from now on. */
static void fill_array(lua_State *L, int index, const struct json_level *level)
{
    int document = push_document(L, index), type = document + 1;
    const struct json_rows *rows = NULL;
    struct json_walk walk = json_level_walk(level);
    if (is_of_rows(level))
        rows = push_row_type(L, index, document, level);
    for (uint32_t i = 0; i < level->box->count; i++) {
        const struct json_box *box;
        struct str value = json_walk_value(&walk, &box);
        if (i == 0 && level->sample)
            continue;
        if (i % LOOK_EVERY == 0)
            budget_step(L);
        if (rows != NULL && box != NULL && *value.ptr == '{' && box->count > 0)
            push_row(L, document, type, level, rows, box);
        else
            push_value(L, document, level, value, box);
        lua_rawseti(L, index, (lua_Integer)i + 1);
    }
    lua_settop(L, document - 1);
}

/* Drops the level of the table, which is whole. */
static void make_plain(lua_State *L, int index, bool object)
{
    if (object)
        lua_pushnil(L);
    else
        tree_push_array_mt(L);
    lua_setmetatable(L, index);
    lua_pushnil(L);
    lua_rawsetp(L, index, &level_key);
}

/* Makes what is still to be made. */
static void fill(lua_State *L, int index, struct json_level *level)
{
    if (level->whole)
        return;
    luaL_checkstack(L, 6, NULL);
    index = lua_absindex(L, index);
    level->touched = true;
    if (json_level_is_object(level)) {
        fill_object(L, index, level);
    } else {
        json_level_find(level);
        fill_array(L, index, level);
    }
    level->whole = true;
    if (!json_level_is_object(level) && !level->box->odd)
        make_plain(L, index, false);
}

/* The lazy_type's. */
static void make_whole(lua_State *L, int index)
{
    struct json_level *level = json_lazy_level(L, index);
    if (level == NULL)
        return;
    bool object = json_level_is_object(level);
    fill(L, index, level);
    make_plain(L, index, object);
}

/* ---- as a script sees it ---- */

/* Makes the first element and pushes it: how it is read tells how the others are to be made. */
static void push_sample(lua_State *L, struct json_level *level)
{
    push_box(L, push_document(L, 1), level, level->box + 1);
    json_lazy_level(L, -1)->sample = true;
    lua_pushvalue(L, -1);
    lua_rawseti(L, 1, 1);
    level->touched = level->sample = true;
}

static int l_index_array(lua_State *L)
{
    struct json_level *level = json_lazy_level(L, 1);
    if (level == NULL || level->whole)
        return 0;
    if (!level->sample && is_of_rows(level) && lua_isinteger(L, 2) && lua_tointeger(L, 2) == 1) {
        push_sample(L, level);
        return 1;
    }
    fill(L, 1, level);
    lua_rawget(L, 1);
    return 1;
}

static int l_set_array(lua_State *L)
{
    struct json_level *level = json_lazy_level(L, 1);
    if (level != NULL)
        fill(L, 1, level);
    lua_rawset(L, 1);
    return 0;
}

static int l_length(lua_State *L)
{
    const struct json_level *level = json_lazy_level(L, 1);
    bool whole = level == NULL || level->whole;
    lua_pushinteger(L, whole ? (lua_Integer)lua_rawlen(L, 1) : (lua_Integer)level->box->count);
    return 1;
}

/* Index of the member that the string at 2 names and that is not made yet, or -1. */
static int64_t find(lua_State *L, struct json_level *level)
{
    struct str wanted, name, value;
    const struct json_box *box;
    wanted.ptr = lua_tolstring(L, 2, &wanted.len);
    int64_t member = json_level_member(level, wanted);
    while (member < 0 && level->found < level->box->count) {
        json_level_next(level, &name, &value, &box);
        if (str_eq(name, wanted))
            member = level->found - 1;
    }
    return member >= 0 && (level->at[member] & JSON_LEVEL_MADE) == 0 ? member : -1;
}

/* A scalar is made each time, until all are. */
static int l_index_object(lua_State *L)
{
    struct json_level *level = json_lazy_level(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING || level == NULL || level->whole)
        return 0;
    if (is_small(level) || (!level->sample && ++level->reads == READS)) {
        fill(L, 1, level);
        lua_rawget(L, 1);
        return 1;
    }
    int64_t member = find(L, level);
    if (member < 0)
        return 0;
    const struct json_box *box;
    struct str value = json_level_value_at(level, (uint32_t)member, &box);
    if (!json_level_is_box(value) && !level->sample) {
        json_lazy_push_scalar(L, value);
        return 1;
    }
    push_value(L, push_document(L, 1), level, value, box);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    level->at[member] |= JSON_LEVEL_MADE;
    level->touched = true;
    return 1;
}

static int l_set_object(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        lazy_make_whole(L, 1);
    struct json_level *level = json_lazy_level(L, 1);
    if (level == NULL) {
        lua_rawset(L, 1);
        return 0;
    }
    int64_t member = find(L, level);
    level->touched = true;
    lua_rawset(L, 1);
    if (member >= 0)
        level->at[member] |= JSON_LEVEL_MADE;
    else
        level->set = true;
    return 0;
}

static int l_pairs(lua_State *L)
{
    lazy_make_whole(L, 1);
    lua_pushcfunction(L, lazy_next);
    lua_pushvalue(L, 1);
    return 2;
}

static void push_object_type(lua_State *L)
{
    static const luaL_Reg of_objects[] = {{"__index", l_index_object},
                                          {"__newindex", l_set_object},
                                          {"__pairs", l_pairs},
                                          {NULL, NULL}};
    static const struct lazy_type type = {.make = make_whole, .kind = LAZY_PLAIN};
    luaL_newlib(L, of_objects);
    lazy_mark(L, &type);
}

static void push_array_type(lua_State *L)
{
    static const luaL_Reg of_arrays[] = {{"__index", l_index_array},
                                         {"__newindex", l_set_array},
                                         {"__len", l_length},
                                         {"__pairs", l_pairs},
                                         {NULL, NULL}};
    static const struct lazy_type type = {.make = make_whole, .kind = LAZY_ARRAY};
    luaL_newlib(L, of_arrays);
    tree_mark_array(L);
    lazy_mark(L, &type);
}

static void push_metatable(lua_State *L, bool object)
{
    enum vm_kept kept = object ? VM_KEPT_JSON_OBJECT : VM_KEPT_JSON_ARRAY;
    if (vm_push_kept(L, kept))
        return;
    if (object)
        push_object_type(L);
    else
        push_array_type(L);
    vm_keep(L, kept);
}

/* ---- decoding ---- */

int json_lazy_decode(lua_State *L, int index)
{
    uint32_t count;
    struct str text;
    text.ptr = lua_tolstring(L, index, &text.len);
    const struct json_box *boxes = json_boxes(text, &count);
    if (boxes == NULL)
        return json_decode_text(L, text);
    luaL_checkstack(L, 8, NULL);
    index = lua_absindex(L, index);
    struct json_box *kept = lua_newuserdatauv(L, count * sizeof(*kept), 1);
    memcpy(kept, boxes, count * sizeof(*kept));
    json_boxes_drop();
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, DOCUMENT);
    struct json_level outside = {.text = text, .boxes = kept};
    push_box(L, lua_gettop(L), &outside, kept);
    lua_remove(L, -2);
    return 0;
}

/* ---- sheets ---- */

void json_lazy_wrap(lua_State *L)
{
    luaL_checkstack(L, 4, NULL);
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &level_key);
    push_metatable(L, true);
    lua_setmetatable(L, -2);
}

const struct sheet *json_lazy_push_sheet(lua_State *L, int index)
{
    const struct sheet *sheet = json_lazy_sheet(L, index);
    if (sheet != NULL)
        lua_rawgetp(L, index, &level_key);
    return sheet;
}
