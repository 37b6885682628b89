/* Lua values to JSON text.
 *
 * One pass without a tree. A table is an array when its keys come as 1, 2, 3, which is how Lua
 * walks the array part of a table; only a table that keeps integers elsewhere is counted first. The
 * frames of the recursion are linked, so that a refusal can name the place: ".items[3].f". */
#include "bindings/json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "bindings/keys.h"
#include "lua/budget.h"
#include "json/text.h"
#include "lua/json_lazy.h"
#include "lua/lazy.h"
#include "lua/tree.h"

/* One table on the way down to the value. */
struct frame {
    const struct frame *up;
    lua_Integer index; /* in an array; 0: in an object */
    int key;           /* stack index of the object's key */
};

/* A key as it was written, from its quote to its colon. Objects side by side mostly have the same
 * keys in the same order, and a short key is the same Lua string in each, which lives as long as
 * the value that is written. */
struct written_key {
    const char *text; /* Lua's */
    uint32_t at, len; /* in `out`, from `start` on */
};

enum {
    KEYS = 16,      /* by their place in the object, and its depth */
    KEY_BYTES = 40, /* of which Lua has one string alone for the same text */
};

struct encoder {
    lua_State *L;
    struct buf *out;
    size_t start; /* where in `out` this text begins */
    struct json_style style;
    const void *array_mark; /* the json.array metatable */
    int depth;
    const struct frame *frame; /* innermost */
    unsigned known;            /* which of `keys` there are, a bit each */
    bool failed;
    /* From here on nothing is set at the start. */
    struct written_key keys[KEYS];
    char reason[96], path[160]; /* of what failed */
};

static void add_path(struct encoder *enc, const struct frame *frame)
{
    if (frame == NULL)
        return;
    add_path(enc, frame->up);
    size_t used = strlen(enc->path);
    size_t room = sizeof(enc->path) - used;
    if (frame->index > 0)
        snprintf(enc->path + used, room, "[%lld]", (long long)frame->index);
    else
        snprintf(enc->path + used, room, ".%s", lua_tostring(enc->L, frame->key));
}

/* The first refusal is the one that is told. */
__attribute__((format(printf, 2, 3))) static void fail(struct encoder *enc, const char *format, ...)
{
    if (enc->failed)
        return;
    enc->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(enc->reason, sizeof(enc->reason), format, args);
    va_end(args);
    enc->path[0] = '\0';
    add_path(enc, enc->frame);
}

static void fail_key(struct encoder *enc, int index)
{
    fail(enc, "cannot encode a %s key (keys must all be strings, or be exactly 1..n)",
         luaL_typename(enc->L, index));
}

static void encode_number(struct encoder *enc)
{
    if (lua_isinteger(enc->L, -1)) {
        buf_add_integer(enc->out, lua_tointeger(enc->L, -1));
        return;
    }
    lua_Number value = lua_tonumber(enc->L, -1);
    if (isfinite(value))
        buf_add_float(enc->out, value);
    else
        fail(enc, isnan(value) ? "cannot encode NaN" : "cannot encode an infinite number");
}

/* From the first byte on that is not plain; `whole`: length of the string. */
static void encode_rest(struct encoder *enc, struct str s, size_t whole)
{
    while (s.len > 0) {
        size_t bad, run;
        if ((unsigned char)*s.ptr < 0x80) {
            buf_add_json_escape(enc->out, (unsigned char)*s.ptr);
            s = str_skip(s, 1);
        } else {
            run = json_text_wide(s, &bad);
            if (bad < run) {
                fail(enc, "invalid UTF-8 at byte %zu of a string", whole - s.len + bad + 1);
                return;
            }
            buf_add(enc->out, s.ptr, run);
            s = str_skip(s, run);
        }
        run = json_text_plain(s);
        buf_add(enc->out, s.ptr, run);
        s = str_skip(s, run);
    }
    buf_add_char(enc->out, '"');
}

static void encode_text(struct encoder *enc, struct str s)
{
    if (buf_reserve(enc->out, s.len + 2) != 0)
        return;
    char *at = enc->out->data + enc->out->len;
    *at++ = '"';
    size_t run = json_text_copy(at, s);
    enc->out->len += 1 + run;
    if (run == s.len) { /* nearly always; there is room */
        at[run] = '"';
        enc->out->len++;
        return;
    }
    encode_rest(enc, str_skip(s, run), s.len);
}

static void encode_string(struct encoder *enc, int index)
{
    struct str s;
    s.ptr = lua_tolstring(enc->L, index, &s.len);
    encode_text(enc, s);
}

/* `place` tells it from the others of its object. */
static void encode_key(struct encoder *enc, int index, unsigned place)
{
    struct str s;
    unsigned slot = ((unsigned)enc->depth * 8 + place) % KEYS;
    struct written_key *key = &enc->keys[slot];
    s.ptr = lua_tolstring(enc->L, index, &s.len);
    if ((enc->known >> slot & 1) != 0 && key->text == s.ptr) {
        if (buf_reserve(enc->out, key->len) == 0)
            memcpy(enc->out->data + enc->out->len, enc->out->data + enc->start + key->at, key->len);
        enc->out->len += !buf_failed(enc->out) ? key->len : 0;
        return;
    }
    size_t at = enc->out->len;
    encode_text(enc, s);
    buf_add_char(enc->out, ':');
    if (s.len > KEY_BYTES)
        return;
    *key = (struct written_key){s.ptr, (uint32_t)(at - enc->start), (uint32_t)(enc->out->len - at)};
    enc->known |= 1u << slot;
}

static void add_newline(struct encoder *enc)
{
    if (enc->style.indent == 0)
        return;
    buf_add_char(enc->out, '\n');
    for (int i = enc->depth * enc->style.indent; i > 0; i--)
        buf_add_char(enc->out, ' ');
}

/* Before each member or element. */
static void add_separator(struct encoder *enc, bool first)
{
    if (!first)
        buf_add_char(enc->out, ',');
    add_newline(enc);
}

static void encode_value(struct encoder *enc);

static void encode_element(struct encoder *enc, struct frame *frame, lua_Integer index)
{
    frame->index = index;
    add_separator(enc, index == 1);
    encode_value(enc);
}

/* Are the keys of the table at `table` exactly 1..n? Pushes nothing; *count is n. */
static bool is_sequence(struct encoder *enc, int table, lua_Integer *count)
{
    lua_State *L = enc->L;
    lua_Integer n = 0;
    lua_Integer highest = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1) {
            lua_pop(L, 1);
            return false;
        }
        highest = key > highest ? key : highest;
        n++;
    }
    *count = n;
    return n == highest;
}

/* The elements from `next` on of a table whose walk is not in order. */
static void encode_unordered(struct encoder *enc, int table, struct frame *frame, lua_Integer next)
{
    lua_Integer count = 0;
    if (!is_sequence(enc, table, &count)) {
        fail(enc, "cannot encode a table whose keys are neither all strings nor exactly 1..n");
        return;
    }
    enc->frame = frame;
    for (; next <= count && !enc->failed; next++) {
        lua_rawgeti(enc->L, table, next);
        encode_element(enc, frame, next);
        lua_pop(enc->L, 1);
    }
}

/* The first key and its value are on the stack, as lua_next left them; both are taken off. */
static void encode_array(struct encoder *enc, int table)
{
    lua_State *L = enc->L;
    struct frame frame = {enc->frame, 0, 0};
    const struct frame *outer = enc->frame;
    lua_Integer next = 1;
    buf_add_char(enc->out, '[');
    enc->depth++;
    do {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != next) {
            lua_pop(L, 2);
            enc->frame = outer;
            encode_unordered(enc, table, &frame, next);
            break;
        }
        enc->frame = &frame;
        encode_element(enc, &frame, next++);
        lua_pop(L, 1);
    } while (!enc->failed && lua_next(L, table));
    enc->frame = outer;
    enc->depth--;
    add_newline(enc);
    buf_add_char(enc->out, ']');
}

/* Writes a member, the one at `place`: key and value are on top of the stack, the value is taken
 * off. `frame` is the innermost. */
static void encode_member(struct encoder *enc, struct frame *frame, unsigned place)
{
    lua_State *L = enc->L;
    if (lua_type(L, -2) != LUA_TSTRING) {
        enc->frame = frame->up;
        fail_key(enc, -2);
        return;
    }
    frame->key = lua_gettop(L) - 1;
    add_separator(enc, place == 0);
    encode_key(enc, -2, place);
    if (enc->style.indent > 0)
        buf_add_char(enc->out, ' ');
    encode_value(enc);
    lua_pop(L, 1);
}

static void lx_encode_sorted(struct encoder *enc, int table, struct frame *frame)
{
    lua_State *L = enc->L;
    size_t count = 0;
    const struct str *keys = keys_sorted(L, table, &count);
    if (keys == NULL) {
        enc->frame = frame->up;
        fail_key(enc, -1);
        return;
    }
    enc->frame = frame;
    for (unsigned i = 0; i < count && !enc->failed; i++) {
        lua_pushlstring(L, keys[i].ptr, keys[i].len);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        encode_member(enc, frame, i);
        if (!enc->failed)
            lua_pop(L, 1);
    }
}

/* As encode_array. */
static void encode_object(struct encoder *enc, int table)
{
    lua_State *L = enc->L;
    struct frame frame = {enc->frame, 0, 0};
    buf_add_char(enc->out, '{');
    enc->depth++;
    if (enc->style.sort_keys) {
        lua_pop(L, 2);
        lx_encode_sorted(enc, table, &frame);
    } else {
        unsigned place = 0;
        enc->frame = &frame;
        do {
            encode_member(enc, &frame, place++);
        } while (!enc->failed && lua_next(L, table));
    }
    enc->frame = frame.up;
    enc->depth--;
    add_newline(enc);
    buf_add_char(enc->out, '}');
}

/* ---- what a script has not touched is text already ---- */

static void add_text(struct encoder *enc, const struct json_box *box, struct str text)
{
    if (box->blanks)
        json_add_compact(enc->out, text);
    else
        buf_add_str(enc->out, text);
}

/* The value on top, which is that member's or element's: if it is still what the text says, it is
 * spelled the same. */
static void encode_spelled(struct encoder *enc, const struct json_level *level, uint32_t member)
{
    lua_State *L = enc->L;
    bool same = false;
    struct str text = {NULL, 0};
    if (level->box->odd && !lua_istable(L, -1))
        text = json_level_value(level, member);
    if (text.len > 0 && *text.ptr != '{' && *text.ptr != '[' && json_scalar_is_odd(text)) {
        json_lazy_push_scalar(L, text);
        same = lua_rawequal(L, -1, -2);
        lua_pop(L, 1);
    }
    if (same)
        buf_add_str(enc->out, text);
    else
        encode_value(enc);
}

/* The members from `from` on that are still text; returns the first one that is not. */
static uint32_t encode_unread(struct encoder *enc, const struct json_level *level, uint32_t from,
                              bool first)
{
    uint32_t to = from, count = level->box->count;
    while (to < count && (level->at[to] & JSON_LEVEL_MADE) == 0)
        to++;
    if (to == from)
        return to;
    uint32_t start = level->at[from];
    if (!first)
        buf_add_char(enc->out, ',');
    struct str last = json_level_value(level, to - 1);
    size_t end = (size_t)(last.ptr - level->text.ptr) + last.len;
    add_text(enc, level->box, (struct str){level->text.ptr + start, end - start});
    return to;
}

/* The member in the raw table, which may have lost it. */
static bool encode_read(struct encoder *enc, int table, struct frame *frame,
                        const struct json_level *level, uint32_t member, bool first)
{
    lua_State *L = enc->L;
    struct str name = json_level_name(level, member);
    lua_pushlstring(L, name.ptr, name.len);
    frame->key = lua_gettop(L);
    lua_pushvalue(L, -1);
    bool there = lua_rawget(L, table) != LUA_TNIL;
    if (there) {
        add_separator(enc, first);
        buf_add_char(enc->out, '"');
        buf_add_str(enc->out, name);
        buf_add(enc->out, "\":", 2);
        encode_spelled(enc, level, member);
    }
    return there;
}

/* Members besides those of the text; `place`: of the first of them. */
static void encode_set(struct encoder *enc, int table, struct frame *frame,
                       const struct json_level *level, unsigned place)
{
    lua_State *L = enc->L;
    for (lua_pushnil(L); !enc->failed && lua_next(L, table) != 0;) {
        struct str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.ptr = lua_tolstring(L, -2, &name.len);
        if (name.ptr == NULL || json_level_member(level, name) >= 0) {
            lua_pop(L, 1);
            continue;
        }
        encode_member(enc, frame, place++);
    }
}

static void encode_object_level(struct encoder *enc, int table, struct json_level *level)
{
    struct frame frame = {enc->frame, 0, 0};
    int top = lua_gettop(enc->L);
    uint32_t count = level->box->count;
    bool first = true;
    json_level_find(level);
    enc->frame = &frame;
    enc->depth++;
    buf_add_char(enc->out, '{');
    for (uint32_t i = 0; i < count && !enc->failed; i++) {
        budget_step(enc->L);
        uint32_t to = encode_unread(enc, level, i, first);
        first = first && to == i;
        i = to;
        if (i < count && encode_read(enc, table, &frame, level, i, first))
            first = false;
        if (!enc->failed)
            lua_settop(enc->L, top);
    }
    if (level->set && !enc->failed)
        encode_set(enc, table, &frame, level, first ? 0 : 1);
    buf_add_char(enc->out, '}');
    enc->depth--;
    enc->frame = frame.up;
}

/* Is the raw table nothing but 1..n and its level? */
static bool is_whole_sequence(lua_State *L, int table)
{
    lua_Integer count = 0, length = (lua_Integer)lua_rawlen(L, table);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        count += key >= 1 && key <= length ? 1 : 2;
    }
    return count == length + 2;
}

static void encode_array_level(struct encoder *enc, int table, const struct json_level *level)
{
    lua_State *L = enc->L;
    struct frame frame = {enc->frame, 0, 0};
    lua_Integer length = (lua_Integer)lua_rawlen(L, table);
    enc->frame = &frame;
    enc->depth++;
    buf_add_char(enc->out, '[');
    for (lua_Integer i = 1; i <= length && !enc->failed; i++) {
        budget_step(L);
        frame.index = i;
        add_separator(enc, i == 1);
        lua_rawgeti(L, table, i);
        if (i <= (lua_Integer)level->box->count)
            encode_spelled(enc, level, (uint32_t)i - 1);
        else
            encode_value(enc);
        if (!enc->failed)
            lua_pop(L, 1);
    }
    buf_add_char(enc->out, ']');
    enc->depth--;
    enc->frame = frame.up;
}

/* Writes the table at `table` and says true, if it is one of a text that is as deep as the rest
 * permits. On one line. */
static bool encode_level(struct encoder *enc, int table)
{
    struct str text;
    struct json_level *level = NULL;
    const struct json_box *box = json_lazy_unchanged(enc->L, table, &text);
    if (box == NULL) {
        level = json_lazy_level(enc->L, table);
        box = level != NULL ? level->box : NULL;
    }
    if (box == NULL || enc->depth + box->height > LIMIT_JSON_DEPTH)
        return false;
    if (level == NULL)
        add_text(enc, box, text);
    else if (json_level_is_object(level))
        encode_object_level(enc, table, level);
    else if (level->whole && is_whole_sequence(enc->L, table))
        encode_array_level(enc, table, level);
    else
        return false;
    return true;
}

/* A metatable other than that of json.array may be that of a table whose members are made when they
 * are read. True: it was one and is written. */
static bool encode_lazy(struct encoder *enc, int table)
{
    if (enc->style.indent == 0 && !enc->style.sort_keys && encode_level(enc, table))
        return true;
    lazy_make_whole(enc->L, table);
    return false;
}

/* Does the table have the mark of arrays? */
static bool is_array(struct encoder *enc, int table)
{
    bool marked = lua_getmetatable(enc->L, table);
    if (marked) {
        marked = lua_topointer(enc->L, -1) == enc->array_mark || tree_is_array_mt(enc->L);
        lua_pop(enc->L, 1);
    }
    return marked;
}

static void encode_table(struct encoder *enc) __attribute__((noinline));

static void encode_table(struct encoder *enc)
{
    lua_State *L = enc->L;
    if (enc->depth >= LIMIT_JSON_DEPTH || !lua_checkstack(L, 8)) {
        fail(enc, "nested deeper than %d levels", LIMIT_JSON_DEPTH);
        return;
    }
    budget_step(
        L); /* a huge, emptied table that is referred to often costs much and writes little */
    int top = lua_gettop(L);
    bool marked = false;
    if (lua_getmetatable(L, top)) {
        marked = lua_topointer(L, -1) == enc->array_mark;
        lua_pop(L, 1);
        if (!marked && encode_lazy(enc, top))
            return;
        marked = marked || is_array(enc, top);
    }
    lua_pushnil(L);
    if (!lua_next(L, top))
        buf_add(enc->out, marked ? "[]" : "{}", 2);
    else if (marked || lua_isinteger(L, -2))
        encode_array(enc, top);
    else
        encode_object(enc, top);
    lua_settop(L, top);
}

static void encode_value(struct encoder *enc)
{
    lua_State *L = enc->L;
    if (enc->failed)
        return;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        encode_string(enc, -1);
        break;
    case LUA_TNUMBER:
        encode_number(enc);
        break;
    case LUA_TBOOLEAN:
        buf_add_str(enc->out, lua_toboolean(L, -1) ? STR("true") : STR("false"));
        break;
    case LUA_TNIL:
        buf_add_str(enc->out, STR("null"));
        break;
    case LUA_TTABLE:
        encode_table(enc);
        break;
    default:
        if (lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == NULL)
            buf_add_str(enc->out, STR("null"));
        else
            fail(enc, "cannot encode a %s", luaL_typename(L, -1));
    }
    if (enc->out->len - enc->start > LIMIT_JSON_BYTES)
        fail(enc, "the text is over 16 MB");
}

int json_encode_styled(lua_State *L, int index, const struct json_style *style, struct buf *out)
{
    struct encoder enc;
    memset(&enc, 0, offsetof(struct encoder, keys));
    enc.L = L;
    enc.out = out;
    enc.start = out->len;
    if (style != NULL)
        enc.style = *style;
    luaL_checkstack(L, 8, NULL);
    int top = lua_gettop(L);
    lua_pushvalue(L, index);
    tree_push_array_mt(L);
    enc.array_mark = lua_topointer(L, -1);
    lua_pop(L, 1);
    encode_value(&enc);
    lua_settop(L, top);
    if (buf_failed(out))
        fail(&enc, "out of memory");
    if (!enc.failed)
        return 0;
    if (enc.path[0] == '\0')
        lua_pushstring(L, enc.reason);
    else
        lua_pushfstring(L, "%s at %s", enc.reason, enc.path);
    return -1;
}

int json_encode_value(lua_State *L, int index, struct buf *out)
{
    return json_encode_styled(L, index, NULL, out);
}
