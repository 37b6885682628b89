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
};

static_assert(offsetof(struct json_level, no_serial) == offsetof(struct sheet, serial),
              "that is how they are told apart");

/* Its address is the key in the raw table. */
static const char level_key;

/* What is there under the key: a level, or the sheet of a table that nobody has touched. NULL:
 * nothing. */
static void *held(lua_State *L, int index)
{
    if (!lua_istable(L, index))
        return NULL;
    lua_rawgetp(L, index, &level_key);
    void *state = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return state;
}

const struct sheet *json_lazy_sheet(lua_State *L, int index)
{
    const struct sheet *sheet = held(L, index);
    return sheet != NULL && sheet->serial != 0 ? sheet : NULL;
}

struct json_level *json_lazy_level(lua_State *L, int index)
{
    void *state = held(L, index);
    const struct sheet *sheet = state;
    if (sheet == NULL || sheet->serial == 0)
        return state;
    luaL_checkstack(L, 4, NULL);
    index = lua_absindex(L, index);
    struct json_level *level =
        lua_newuserdatauv(L, sizeof(*level) + sheet->count * sizeof(level->at[0]), 1);
    *level = (struct json_level){.text = sheet_text(sheet),
                                 .boxes = &sheet->box,
                                 .box = &sheet->box,
                                 .sheet = sheet,
                                 .found = sheet->count,
                                 .next_at = sheet->box.end};
    for (uint32_t i = 0; i < sheet->count; i++)
        level->at[i] = sheet->members[i].name - 1;
    lua_rawgetp(L, index, &level_key);
    lua_setiuservalue(L, -2, 1);
    lua_rawsetp(L, index, &level_key);
    return level;
}

static bool is_object(const struct json_level *level)
{
    return level->text.ptr[level->box->start] == '{';
}

static bool is_small(const struct json_level *level)
{
    return level->sheet == NULL && (level->box->count <= SMALL || level->text.len <= SHORT);
}

/* ---- places ---- */

static struct json_walk walk_of(const struct json_level *level)
{
    return json_walk_into(level->text, level->boxes, level->box);
}

static bool is_box(struct str value)
{
    return *value.ptr == '{' || *value.ptr == '[';
}

/* The next place, and what is there: the name, empty in an array, and the value. *box as for
 * json_walk_value. */
static void find_next(struct json_level *level, struct str *name, struct str *value,
                      const struct json_box **box)
{
    struct json_walk walk = {level->text, level->boxes, level->next_child, level->next_at};
    if (level->found == 0)
        walk = walk_of(level);
    level->at[level->found++] = walk.at;
    *name = is_object(level) ? json_walk_name(&walk) : STR("");
    *value = json_walk_value(&walk, box);
    level->next_at = walk.at;
    level->next_child = walk.child;
}

void json_level_find(struct json_level *level)
{
    struct str name, value;
    const struct json_box *box;
    if (!is_object(level) && !level->box->odd)
        return;
    while (level->found < level->box->count)
        find_next(level, &name, &value, &box);
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

/* *box as for json_walk_value. */
static struct str value_at(const struct json_level *level, uint32_t member,
                           const struct json_box **box)
{
    struct json_walk walk = {.text = level->text, .at = place_of(level, member)};
    uint32_t next = member + 1;
    if (is_object(level))
        json_walk_name(&walk);
    struct str value = str_skip(walk.text, walk.at);
    bool boxed = is_box(value);
    *box = boxed ? box_at(level, walk.at) : NULL;
    if (!level->box->blanks) /* then a comma or bracket follows */
        value.len = (next < level->found ? place_of(level, next) : level->next_at) - 1 - walk.at;
    else
        value.len = boxed ? (*box)->end - (*box)->start : json_scalar_length(value);
    return value;
}

struct str json_level_value(const struct json_level *level, uint32_t member)
{
    const struct json_box *box;
    return value_at(level, member, &box);
}

int64_t json_level_member(const struct json_level *level, struct str name)
{
    size_t end = level->box->end;
    for (uint32_t i = 0; i < level->found; i++) {
        size_t at = (level->at[i] & ~JSON_LEVEL_MADE) + 1;
        const char *p = level->text.ptr + at;
        if (name.len < end - at && p[name.len] == '"' && memcmp(p, name.ptr, name.len) == 0)
            return i;
    }
    return -1;
}

/* ---- making ---- */

static void push_metatable(lua_State *L, bool object);

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
        struct json_level *level =
            lua_newuserdatauv(L, sizeof(*level) + places * sizeof(level->at[0]), 1);
        *level = (struct json_level){.text = from->text, .boxes = from->boxes, .box = box};
        lua_pushvalue(L, document);
        lua_setiuservalue(L, -2, 1);
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
    else if (!is_box(value))
        json_lazy_push_scalar(L, value);
    else if (json_decode_text(L, value) != 0)
        lua_error(L);
}

/* What keeps the document of the table at `index`. [-0, +1] */
static int push_document(lua_State *L, int index)
{
    lua_rawgetp(L, index, &level_key);
    lua_getiuservalue(L, -1, 1);
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
        if (i == level->found) {
            find_next(level, &name, &value, &box);
        } else if ((level->at[i] & JSON_LEVEL_MADE) == 0) {
            name = json_level_name(level, i);
            value = value_at(level, i, &box);
        } else {
            continue;
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

/* An array whose text says no more than its elements do is a plain one from now on. */
static void fill_array(lua_State *L, int index, const struct json_level *level)
{
    int document = push_document(L, index);
    struct json_walk walk = walk_of(level);
    for (uint32_t i = 0; i < level->box->count; i++) {
        const struct json_box *box;
        struct str value = json_walk_value(&walk, &box);
        if (i % LOOK_EVERY == 0)
            budget_step(L);
        push_value(L, document, level, value, box);
        lua_rawseti(L, index, (lua_Integer)i + 1);
    }
    lua_pop(L, 1);
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
    if (is_object(level)) {
        fill_object(L, index, level);
    } else {
        json_level_find(level);
        fill_array(L, index, level);
    }
    level->whole = true;
    if (!is_object(level) && !level->box->odd)
        make_plain(L, index, false);
}

/* The lazy_type's. */
static void make_whole(lua_State *L, int index)
{
    struct json_level *level = json_lazy_level(L, index);
    if (level == NULL)
        return;
    bool object = is_object(level);
    fill(L, index, level);
    make_plain(L, index, object);
}

/* ---- as a script sees it ---- */

static int l_index_array(lua_State *L)
{
    struct json_level *level = json_lazy_level(L, 1);
    if (level == NULL || level->whole)
        return 0;
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
        find_next(level, &name, &value, &box);
        if (str_eq(name, wanted))
            return level->found - 1;
    }
    return member >= 0 && (level->at[member] & JSON_LEVEL_MADE) == 0 ? member : -1;
}

/* A scalar is made each time, until all are. */
static int l_index_object(lua_State *L)
{
    struct json_level *level = json_lazy_level(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING || level == NULL || level->whole)
        return 0;
    if (is_small(level) || ++level->reads == READS) {
        fill(L, 1, level);
        lua_rawget(L, 1);
        return 1;
    }
    int64_t member = find(L, level);
    if (member < 0)
        return 0;
    const struct json_box *box;
    struct str value = value_at(level, (uint32_t)member, &box);
    if (!is_box(value)) {
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

static void push_metatable(lua_State *L, bool object)
{
    static const luaL_Reg of_objects[] = {{"__index", l_index_object},
                                          {"__newindex", l_set_object},
                                          {"__pairs", l_pairs},
                                          {NULL, NULL}};
    static const luaL_Reg of_arrays[] = {{"__index", l_index_array},
                                         {"__newindex", l_set_array},
                                         {"__len", l_length},
                                         {"__pairs", l_pairs},
                                         {NULL, NULL}};
    static const struct lazy_type object_type = {.make = make_whole, .kind = LAZY_PLAIN};
    static const struct lazy_type array_type = {.make = make_whole, .kind = LAZY_ARRAY};
    enum vm_kept kept = object ? VM_KEPT_JSON_OBJECT : VM_KEPT_JSON_ARRAY;
    if (vm_push_kept(L, kept))
        return;
    if (object)
        luaL_newlib(L, of_objects);
    else
        luaL_newlib(L, of_arrays);
    if (!object)
        tree_mark_array(L);
    lazy_mark(L, object ? &object_type : &array_type);
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
    lua_setiuservalue(L, -2, 1);
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
