/* A text: json.decode and jansson read the same or refuse both, and what json.encode writes of it
 * reads the same again. Some refusals are one's own: integers that 64 bits do not hold are floats
 * here, and names may have a NUL; more than 64 levels are too many. And the tables whose members
 * are made when they are read take and refuse the same, and go through the same reads and writes as
 * the plain ones. */
#include <string.h>

#include "json/strict.h"
#include "bindings/json.h"
#include "fuzz.h"
#include "json_same.h"
#include "lua/json_decode.h"
#include "lua/json_lazy.h"
#include "lua/vm.h"

/* Decodes it and pushes the value, or the message and gives false. */
static bool decode(lua_State *L, struct str text)
{
    lua_settop(L, 0);
    return json_decode_text(L, text) == 0;
}

/* With sorted keys: the text does not depend on how a table came to be. */
static struct str encode(lua_State *L)
{
    const struct json_style style = {.sort_keys = true};
    struct buf *out = json_scratch();
    require(json_encode_styled(L, 1, &style, out) == 0, "what was decoded can be encoded");
    return (struct str){lua_pushlstring(L, out->data, out->len), out->len};
}

static void check_text(lua_State *L, const json_t *tree)
{
    struct str text = encode(L);
    lua_replace(L, 1); /* keeps the text */
    json_t *again = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (tree != NULL)
        require(again != NULL && json_same(tree, again), "the same value as a tree");
    json_decref(again);
    lua_State *other = lua_newthread(L);
    require(decode(other, text), "it can be read");
    require(str_eq(encode(other), text), "the same text again");
}

/* ---- members made when they are read ---- */

enum { STEPS = 24 };

/* Pushes the key of the table at `index` that the number chooses; nil: it has none. */
static void push_some_key(lua_State *L, int index, unsigned number)
{
    unsigned count = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        count++;
    lua_pushnil(L);
    for (unsigned at = count > 0 ? number % count + 1 : 0; at > 0; at--) {
        lua_next(L, index);
        lua_pop(L, 1);
    }
}

/* Both tables, the lazy one on top of the plain one, lose or get the member, or give way to what
 * they have there. Key and value of a list come at its end, so that it stays one. [-0, +0] */
static void take_step(lua_State *L, unsigned number)
{
    int plain = lua_gettop(L) - 1, lazy = plain + 1;
    push_some_key(L, plain, number >> 8);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    if (lua_isinteger(L, -1) && number % 4 < 2) {
        lua_pushinteger(L, (lua_Integer)lua_rawlen(L, plain) + (number % 4 == 0));
        lua_replace(L, -2);
    }
    for (int index = plain; index <= lazy; index++) {
        lua_pushvalue(L, lazy + 1);
        if (number % 4 == 0)
            lua_pushinteger(L, 7);
        else if (number % 4 == 1)
            lua_pushnil(L);
        if (number % 4 < 2)
            lua_settable(L, index);
        else
            lua_gettable(L, index);
    }
    if (number % 4 >= 2) {
        require(lua_type(L, -1) == lua_type(L, -2), "the same type");
        require(lua_istable(L, -1) || lua_rawequal(L, -1, -2), "the same value");
        if (lua_istable(L, -1) && number % 8 >= 4) {
            lua_replace(L, lazy);
            lua_replace(L, plain);
        }
    }
    lua_settop(L, lazy);
}

static void check_same_text(lua_State *L, int plain, int lazy)
{
    const struct json_style sorted = {.sort_keys = true};
    struct buf *out = json_scratch();
    require(json_encode_value(L, lazy, out) == 0, "it can be written");
    lua_pushlstring(L, out->data, out->len);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    require(json_decode_text(L, (struct str){text, len}) == 0, "and read");
    int again = lua_gettop(L);
    out = json_scratch();
    require(json_encode_styled(L, plain, &sorted, out) == 0, "the plain one too");
    lua_pushlstring(L, out->data, out->len);
    out = json_scratch();
    require(json_encode_styled(L, again, &sorted, out) == 0, "and the other again");
    text = lua_tolstring(L, -1, &len);
    require(str_eq(buf_str(out), (struct str){text, len}), "the same text");
}

static void check_lazy(lua_State *L, struct str text)
{
    lua_settop(L, 0);
    lua_pushlstring(L, text.ptr, text.len);
    int plain = json_decode_text(L, text);
    require(json_lazy_decode(L, 1) == plain, "taken or refused by both");
    unsigned number = (unsigned)str_hash(text);
    if (plain != 0) {
        require(lua_rawequal(L, 2, 3), "for the same reason");
        return;
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    for (int i = 0; i < STEPS && lua_istable(L, -1); i++) {
        number = number * 1103515245u + 12345u;
        take_step(L, number >> 4);
    }
    lua_settop(L, 3);
    check_same_text(L, 2, 3);
}

/* jansson's, of what is JSON. */
static bool is_own_refusal(const json_error_t *error)
{
    return strstr(error->text, "too big") != NULL ||
           strstr(error->text, "NUL byte in object") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vm *vm;
    if (vm == NULL)
        vm = vm_new(0, NULL);
    require(vm != NULL, "memory");
    lua_State *L = vm->L;
    struct str text = whole_input(data, size);
    json_error_t error = {.text = ""};
    json_t *tree = strict_json_watched(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (decode(L, text)) {
        require(tree != NULL || is_own_refusal(&error), "not one that jansson refuses");
        check_text(L, tree);
    } else {
        require(tree == NULL || strstr(lua_tostring(L, -1), "64 levels") != NULL,
                "not one that jansson takes");
    }
    check_lazy(L, text);
    lua_settop(L, 0);
    json_decref(tree);
    return 0;
}
