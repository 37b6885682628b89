/* Blocks of bytes, as the processor reads them. */
#include "unit.h"

#include "json/block.h"

static bool is_special(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\' || (unsigned char)c >= 0x80;
}

/* Each byte in each place, behind another special one or none. */
static void finds_the_first_special_byte(void **state)
{
    (void)state;
    char block[BLOCK];
    for (size_t i = 0; i < BLOCK * 256u; i++) {
        size_t at = i / 256;
        memset(block, ' ', BLOCK);
        block[at] = (char)(i % 256);
        uint64_t marks = block_special(block);
        assert_int_equal(marks != 0, is_special(block[at]));
        if (marks == 0)
            continue;
        assert_int_equal(block_first(marks), at);
        for (size_t behind = at + 1; behind < BLOCK; behind++) {
            block[behind] = '"';
            assert_int_equal(block_first(block_special(block)), at);
        }
    }
}

static void tells_whether_the_first_bytes_are_the_same(void **state)
{
    (void)state;
    static const char one[] = "\"name\":\xff\x01.16 byte";
    char other[BLOCK];
    for (size_t at = 0; at < BLOCK; at++) {
        memcpy(other, one, BLOCK);
        for (size_t len = 1; len <= BLOCK; len++)
            assert_true((block_differences(one, other) & block_marks_of(len)) == 0);
        other[at] ^= 1;
        for (size_t len = 1; len <= BLOCK; len++)
            assert_int_equal((block_differences(one, other) & block_marks_of(len)) == 0, len <= at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_first_special_byte),
        cmocka_unit_test(tells_whether_the_first_bytes_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
