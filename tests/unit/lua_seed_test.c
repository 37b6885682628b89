/* The seed of a state's tables: set, told, and what `pairs` makes of it. */
#include "unit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lua/seed.h"

static void *on_alloc(void *arg, void *block, size_t old_size, size_t size)
{
    (void)arg, (void)old_size;
    if (size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, size);
}

/* The order of a hundred names, in short texts and long ones, into `out`. */
static unsigned order_of(unsigned wanted, char *out, size_t size)
{
    unsigned seed;
    seed_set(wanted);
    lua_State *L = seed_newstate(on_alloc, NULL, &seed);
    assert_non_null(L);
    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, "local t, out = {}, {}\n"
                                      "for i = 1, 100 do t[('name'):rep(i % 20) .. i] = i end\n"
                                      "for k, v in pairs(t) do out[#out + 1] = v end\n"
                                      "return table.concat(out, ' ')"),
                     LUA_OK);
    assert_true(strlen(lua_tostring(L, -1)) < size);
    strcpy(out, lua_tostring(L, -1));
    lua_close(L);
    return seed;
}

static void test_order(void **state)
{
    (void)state;
    char first[1024], second[1024], other[1024];
    assert_int_equal(order_of(12345, first, sizeof(first)), 12345);
    assert_int_equal(order_of(12345, second, sizeof(second)), 12345);
    assert_int_equal(order_of(54321, other, sizeof(other)), 54321);
    assert_string_equal(first, second);
    assert_string_not_equal(first, other);
}

static void test_random(void **state)
{
    (void)state;
    char first[1024], second[1024];
    unsigned one = order_of(0, first, sizeof(first)), two = order_of(0, second, sizeof(second));
    assert_int_not_equal(one, 0);
    assert_int_not_equal(one, two);
    assert_string_not_equal(first, second);
    char again[1024];
    order_of(one, again, sizeof(again));
    assert_string_equal(first, again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
