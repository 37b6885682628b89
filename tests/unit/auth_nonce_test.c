#include "auth/nonce.h"

#include "base/limits.h"
#include "unit.h"

#define SECRET STR("0123456789abcdef0123456789abcdef")
#define NOW    1700000000.0

static struct str written(double now, char out[NONCE_BYTES])
{
    assert_true(nonce_write(SECRET, now, out));
    return (struct str){out, NONCE_BYTES};
}

static void they_grow_old(void **state)
{
    (void)state;
    static const struct {
        int steps; /* since it was made */
        enum nonce_age age;
    } cases[] = {{-2, NONCE_NONE}, {-1, NONCE_NEWEST}, {0, NONCE_NEWEST},
                 {1, NONCE_OLDER}, {4, NONCE_OLDER},   {5, NONCE_NONE},
                 {6, NONCE_NONE},  {1000, NONCE_NONE}, {1 << 20, NONCE_NONE}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[NONCE_BYTES];
        struct str nonce = written(NOW - cases[i].steps * LIMIT_NONCE_STEP, text);
        assert_int_equal(nonce_judge(SECRET, NOW, nonce), cases[i].age);
    }
    char one[NONCE_BYTES], same[NONCE_BYTES], next[NONCE_BYTES];
    written(1699999980, one);
    written(1699999980 + LIMIT_NONCE_STEP - 0.001, same);
    written(1699999980 + LIMIT_NONCE_STEP, next);
    assert_memory_equal(one, same, NONCE_BYTES);
    assert_memory_not_equal(one, next, NONCE_BYTES);
}

/* Whatever single character is another one, and whoever has another secret. */
static void nobody_else_makes_them(void **state)
{
    (void)state;
    char text[NONCE_BYTES + 1], copy[NONCE_BYTES + 1];
    struct str nonce = written(NOW, text);
    assert_int_equal(nonce_judge(SECRET, NOW, nonce), NONCE_NEWEST);
    assert_int_equal(nonce_judge(STR("0123456789abcdef0123456789abcdeg"), NOW, nonce), NONCE_NONE);
    assert_int_equal(nonce_judge(STR(""), NOW, nonce), NONCE_NONE);
    for (size_t i = 0; i < NONCE_BYTES; i++) {
        for (int c = '!'; c <= '~'; c++) {
            memcpy(copy, text, NONCE_BYTES);
            copy[i] = (char)c;
            if (copy[i] != text[i])
                assert_int_equal(nonce_judge(SECRET, NOW, (struct str){copy, NONCE_BYTES}),
                                 NONCE_NONE);
        }
    }
    for (size_t len = 0; len < NONCE_BYTES; len++)
        assert_int_equal(nonce_judge(SECRET, NOW, (struct str){text, len}), NONCE_NONE);
    text[NONCE_BYTES] = 'A';
    assert_int_equal(nonce_judge(SECRET, NOW, (struct str){text, NONCE_BYTES + 1}), NONCE_NONE);
    assert_int_equal(nonce_judge(SECRET, NOW, (struct str){NULL, 0}), NONCE_NONE);
    for (size_t i = 0; i < NONCE_BYTES; i++) /* RFC 9449 section 8.1 */
        assert_true(text[i] > ' ' && text[i] <= '~' && text[i] != '"' && text[i] != '\\');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_grow_old),
        cmocka_unit_test(nobody_else_makes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
