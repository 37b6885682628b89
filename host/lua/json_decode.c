/* JSON text to Lua values: RFC 8259, strictly.
 *
 * A recursive parser that builds the values on the Lua stack. It holds nothing of its own, so that
 * an error of Lua (out of memory, budget ended) may leave from anywhere. */
#include "lua/json_decode.h"

#include <lauxlib.h>
#include <string.h>

#include "base/limits.h"
#include "lua/budget.h"
#include "lua/json_keys.h"
#include "lua/json_number.h"
#include "json/text.h"
#include "lua/tree.h"

struct decoder {
    lua_State *L;
    const char *start;
    const char *p;
    const char *end;
    int depth;
    /* Tables side by side are mostly alike: how many elements and members the last one had, so that
     * the next has its places from the start. */
    int elements[LIMIT_JSON_DEPTH + 1], members[LIMIT_JSON_DEPTH + 1];
    struct json_keys keys;
    int array_mt;       /* stack index of the json.array metatable */
    const char *reason; /* static; set when something was refused at p */
};

/* Every reading function gives false after fail(), and otherwise has pushed one value. */
static bool decode_value(struct decoder *dec);

static bool fail(struct decoder *dec, const char *reason)
{
    dec->reason = dec->p < dec->end ? reason : "unexpected end of text";
    return false;
}

static bool fail_at(struct decoder *dec, const char *place, const char *reason)
{
    dec->p = place;
    dec->reason = reason;
    return false;
}

static void skip_space(struct decoder *dec)
{
    while (dec->p < dec->end &&
           (*dec->p == ' ' || *dec->p == '\n' || *dec->p == '\r' || *dec->p == '\t'))
        dec->p++;
}

/* The next byte, or 0 at the end (a NUL in the text fits nowhere either). */
static char peek(const struct decoder *dec)
{
    return dec->p < dec->end ? *dec->p : '\0';
}

/* ---- strings ---- */

/* The four digits after "\u" at p; -1 when they are not. */
static int hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = str_hex_value(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* p is at the 'u' of an escape. Writes the character and moves p behind the escape, or behind both
 * halves of a surrogate pair. */
static bool decode_unicode(struct decoder *dec, char **out)
{
    const char *place = dec->p - 1;
    int unit = hex4(dec->p + 1, dec->end);
    if (unit < 0)
        return fail_at(dec, place, "\\u needs four hexadecimal digits");
    dec->p += 5;
    unsigned c = (unsigned)unit;
    if (unit >= 0xd800 && unit <= 0xdfff) {
        bool paired = unit < 0xdc00 && dec->end - dec->p >= 6 && memcmp(dec->p, "\\u", 2) == 0;
        int low = paired ? hex4(dec->p + 2, dec->end) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail_at(dec, place, "a surrogate without its other half");
        c = 0x10000 + ((c - 0xd800) << 10) + ((unsigned)low - 0xdc00);
        dec->p += 6;
    }
    *out = json_text_put_utf8(*out, c);
    return true;
}

/* p is behind a backslash. */
static bool decode_escape(struct decoder *dec, char **out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    char c = peek(dec);
    if (c == 'u')
        return decode_unicode(dec, out);
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    if (known == NULL)
        return fail(dec, "unknown escape in a string");
    *(*out)++ = to[known - from];
    dec->p++;
    return true;
}

/* Moves p over bytes that stand for themselves. */
static bool skip_plain(struct decoder *dec)
{
    for (;;) {
        struct str rest = {dec->p, (size_t)(dec->end - dec->p)};
        dec->p += json_text_plain(rest);
        if (dec->p == dec->end || (unsigned char)*dec->p < 0x80)
            break;
        rest.len = (size_t)(dec->end - dec->p);
        rest.ptr = dec->p;
        size_t bad;
        size_t run = json_text_wide(rest, &bad);
        dec->p += bad;
        if (bad < run)
            return fail_at(dec, dec->p, "invalid UTF-8");
    }
    if (dec->p == dec->end)
        return fail(dec, "");
    if ((unsigned char)*dec->p < 0x20)
        return fail(dec, "a control character in a string must be escaped");
    return true;
}

/* The string from `open` on has escapes; p is at the first one. Its bytes cannot be more than those
 * of its text, so the buffer is made once. */
static bool decode_escaped(struct decoder *dec, const char *open)
{
    size_t room = (size_t)(dec->end - open);
    size_t len = (size_t)(dec->p - open);
    while (len < room && open[len] != '"')
        len += open[len] == '\\' ? 2 : 1;
    if (len >= room)
        return fail_at(dec, dec->end, "unexpected end of text");
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(dec->L, &buffer, len);
    char *begin = out;
    for (const char *from = open;; from = dec->p) {
        if (!skip_plain(dec))
            return false;
        memcpy(out, from, (size_t)(dec->p - from));
        out += dec->p - from;
        if (*dec->p++ == '"')
            break;
        if (!decode_escape(dec, &out))
            return false;
    }
    luaL_pushresultsize(&buffer, (size_t)(out - begin));
    return true;
}

/* p is at the opening quote. */
static bool decode_string(struct decoder *dec)
{
    const char *open = ++dec->p;
    if (!skip_plain(dec))
        return false;
    if (*dec->p == '\\')
        return decode_escaped(dec, open);
    lua_pushlstring(dec->L, open, (size_t)(dec->p - open));
    dec->p++;
    return true;
}

static bool decode_number(struct decoder *dec)
{
    size_t at;
    const char *reason;
    struct str rest = {dec->p, (size_t)(dec->end - dec->p)};
    size_t len = json_number_push(dec->L, rest, &at, &reason);
    dec->p += len > 0 ? len : at;
    return len > 0 || fail(dec, reason);
}

/* ---- arrays and objects ---- */

static bool enter(struct decoder *dec)
{
    if (dec->depth >= LIMIT_JSON_DEPTH)
        return fail(dec, "nested deeper than 64 levels");
    luaL_checkstack(dec->L, 8, "JSON is nested too deep");
    dec->depth++;
    dec->p++;
    skip_space(dec);
    return true;
}

/* After a member or element: is there another one? Moves over ',' and `close`. */
static bool has_next(struct decoder *dec, char close, const char *expected, bool *more)
{
    skip_space(dec);
    char c = peek(dec);
    if (c != ',' && c != close)
        return fail(dec, expected);
    dec->p++;
    *more = c == ',';
    if (*more)
        skip_space(dec);
    else
        dec->depth--;
    return true;
}

static bool decode_array(struct decoder *dec)
{
    lua_State *L = dec->L;
    if (!enter(dec))
        return false;
    int *size = &dec->elements[dec->depth];
    int count = 0;
    bool more = peek(dec) != ']';
    lua_createtable(L, more ? *size : 0, 0);
    lua_pushvalue(L, dec->array_mt);
    lua_setmetatable(L, -2);
    if (!more) {
        dec->p++;
        dec->depth--;
    }
    while (more) {
        budget_step(L);
        if (!decode_value(dec))
            return false;
        lua_rawseti(L, -2, ++count);
        if (!has_next(dec, ']', "expected ',' or ']'", &more))
            return false;
    }
    *size = count;
    return true;
}

static bool decode_key(struct decoder *dec)
{
    if (peek(dec) != '"')
        return fail(dec, "expected a string as the key");
    const char *open = dec->p + 1;
    size_t len;
    if (json_keys_expected(&dec->keys, dec->L, (struct str){open, (size_t)(dec->end - open)},
                           &len)) {
        dec->p = open + len + 1;
        return true;
    }
    if (!decode_string(dec))
        return false;
    if (lua_rawlen(dec->L, -1) ==
        (lua_Unsigned)(dec->p - open) - 1) /* no escape has made it shorter */
        json_keys_seen(&dec->keys, dec->L);
    return true;
}

static bool decode_member(struct decoder *dec)
{
    if (!decode_key(dec))
        return false;
    skip_space(dec);
    if (peek(dec) != ':')
        return fail(dec, "expected ':'");
    dec->p++;
    skip_space(dec);
    if (!decode_value(dec))
        return false;
    lua_rawset(dec->L, -3);
    return true;
}

static bool decode_object(struct decoder *dec)
{
    if (!enter(dec))
        return false;
    int *size = &dec->members[dec->depth];
    int count = 0;
    bool more = peek(dec) != '}';
    lua_createtable(dec->L, 0, more ? *size : 0);
    if (!more) {
        dec->p++;
        dec->depth--;
    }
    while (more) {
        budget_step(dec->L);
        if (!decode_member(dec) || !has_next(dec, '}', "expected ',' or '}'", &more))
            return false;
        count++;
    }
    *size = count;
    return true;
}

static bool decode_word(struct decoder *dec, struct str word)
{
    struct str rest = {dec->p, (size_t)(dec->end - dec->p)};
    if (!str_starts_with(rest, word))
        return fail(dec, "expected a value");
    dec->p += word.len;
    return true;
}

static bool decode_value(struct decoder *dec)
{
    char c = peek(dec);
    switch (c) {
    case '{':
        return decode_object(dec);
    case '[':
        return decode_array(dec);
    case '"':
        return decode_string(dec);
    case 't':
    case 'f':
        lua_pushboolean(dec->L, c == 't');
        return decode_word(dec, c == 't' ? STR("true") : STR("false"));
    case 'n':
        lua_pushlightuserdata(dec->L, NULL);
        return decode_word(dec, STR("null"));
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return decode_number(dec);
        return fail(dec, "expected a value");
    }
}

static void push_message(const struct decoder *dec)
{
    lua_Integer line = 1;
    const char *line_start = dec->start;
    for (const char *p = dec->start; p < dec->p; p++) {
        if (*p == '\n') {
            line++;
            line_start = p + 1;
        }
    }
    lua_pushfstring(dec->L, "%s at line %I column %I (byte %I)", dec->reason, line,
                    (lua_Integer)(dec->p - line_start) + 1, (lua_Integer)(dec->p - dec->start) + 1);
}

int json_decode_text(lua_State *L, struct str text)
{
    struct decoder dec = {.L = L, .start = text.len > 0 ? text.ptr : ""};
    dec.p = dec.start;
    dec.end = dec.start + text.len;
    luaL_checkstack(L, JSON_KEYS + 8, NULL);
    int top = lua_gettop(L);
    tree_push_array_mt(L);
    dec.array_mt = lua_gettop(L);
    json_keys_open(&dec.keys, L);
    skip_space(&dec);
    bool ok = decode_value(&dec);
    if (ok) {
        skip_space(&dec);
        if (dec.p < dec.end)
            ok = fail(&dec, "unexpected text after the value");
    }
    if (!ok) {
        lua_settop(L, top);
        push_message(&dec);
        return -1;
    }
    lua_replace(L, dec.array_mt);
    lua_settop(L, dec.array_mt);
    return 0;
}
