/* A text: json.decode and jansson read the same or refuse both, and what json.encode writes of it
 * reads the same again. Some refusals are one's own: integers that 64 bits do not hold are floats
 * here, and names may have a NUL; more than 64 levels are too many. */
#include <string.h>

#include "json/strict.h"
#include "bindings/json.h"
#include "fuzz.h"
#include "json_same.h"
#include "lua/json_decode.h"
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
    lua_settop(L, 0);
    json_decref(tree);
    return 0;
}
