/* What json.decode and json.encode are made of: plain bytes found and copied, keys that are
 * expected. */
#include "unit.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "lua/json_decode.h"
#include "lua/vm.h"
#include "json/text.h"

static size_t plain_by_hand(struct str s)
{
    size_t i = 0;
    while (i < s.len && (unsigned char)s.ptr[i] >= 0x20 && (unsigned char)s.ptr[i] < 0x80 &&
           s.ptr[i] != '"' && s.ptr[i] != '\\')
        i++;
    return i;
}

/* Both find the end of the plain bytes, and the copy is of those; nothing is written behind. */
static void check_plain(struct str s)
{
    char *out = malloc(s.len + 1);
    assert_non_null(out);
    out[s.len] = '#';
    size_t plain = plain_by_hand(s);
    assert_int_equal(json_text_plain(s), plain);
    assert_int_equal(json_text_copy(out, s), plain);
    assert_memory_equal(out, s.ptr, plain);
    assert_int_equal(out[s.len], '#');
    free(out);
}

/* Each byte that is not plain, in each place of texts of each length. */
static void finds_plain_bytes(void **state)
{
    (void)state;
    static const char letters[] = "plain bytes of ASCII: !#$%&'()[]{}~\x7f 0123456789";
    static const char special[] = {'"', '\\', '\0', '\x01', '\x1f', '\x80', '\xff'};
    for (size_t len = 0; len <= 40; len++) {
        char *text = malloc(len + 1); /* a byte too many: malloc(0) may be NULL */
        assert_non_null(text);
        struct str s = {memcpy(text + 1, letters, len), len};
        check_plain(s);
        assert_int_equal(json_text_plain(s), len);
        for (size_t i = 0; i < len * sizeof(special); i++) {
            size_t at = 1 + i / sizeof(special);
            text[at] = special[i % sizeof(special)];
            check_plain(s);
            text[at] = letters[at - 1];
        }
        free(text);
    }
}

static const struct {
    const char *text; /* of the key within quotes */
    const char *key;
} keys[] = {
    {"a", "a"},
    {"ab", "ab"},
    {"abc", "abc"},
    {"", ""},
    {"b", "b"},
    {"a\\u0062", "ab"},
    {"\\u0061", "a"},
    {"\xc3\xa9", "\xc3\xa9"},
    {"a,b:c", "a,b:c"},
    {"a\\\"b", "a\"b"},
    {"a\\\\", "a\\"},
    {"one name that is longer than forty bytes, so Lua does not intern it",
     "one name that is longer than forty bytes, so Lua does not intern it"},
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]), OBJECTS = 400, MEMBERS = 5 };

/* The members of the table at 2 are those of the one at 3, which loses them. */
static void check_equal(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawget(L, 3);
        assert_true(lua_rawequal(L, -1, -2));
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_pushnil(L);
        lua_rawset(L, 3);
    }
    lua_pushnil(L);
    assert_int_equal(lua_next(L, 3), 0);
}

/* Objects whose keys mostly come in the same order: what each has is what its text says, the last
 * of two. */
static void reads_keys_as_written(void **state)
{
    lua_State *L = *state;
    static unsigned chosen[OBJECTS][MEMBERS];
    struct buf text = BUF_INIT;
    buf_add_char(&text, '[');
    for (unsigned i = 0; i < OBJECTS; i++) {
        for (unsigned m = 0; m < MEMBERS; m++) {
            bool as_before = i > 0 && next_random() % 8 != 0;
            chosen[i][m] = as_before ? chosen[i - 1][m] : next_random() % KEYS;
            buf_printf(&text, "%s\"%s\":%u%s", m == 0 ? "{" : ",", keys[chosen[i][m]].text, i + m,
                       m == MEMBERS - 1 ? "}" : "");
        }
        buf_add_char(&text, i < OBJECTS - 1 ? ',' : ']');
    }
    assert_int_equal(json_decode_text(L, buf_str(&text)), 0);
    for (unsigned i = 0; i < OBJECTS; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        lua_createtable(L, 0, MEMBERS);
        for (unsigned m = 0; m < MEMBERS; m++) {
            lua_pushinteger(L, (lua_Integer)i + m);
            lua_setfield(L, -2, keys[chosen[i][m]].key);
        }
        check_equal(L);
        lua_settop(L, 1);
    }
    buf_free(&text);
}

static int set_up(void **state)
{
    static struct vm vm;
    *state = luaL_newstate();
    if (*state == NULL)
        return -1;
    *(struct vm **)lua_getextraspace(*state) = &vm;
    return 0;
}

static int tear_down(void **state)
{
    lua_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_plain_bytes),
        cmocka_unit_test(reads_keys_as_written),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
