/* Arenas: what they hand out, and what they hold between two uses. */
#include "unit.h"

#include "base/arena.h"

static void test_a_chunk_is_kept(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(arena.total, 0);
    assert_non_null(arena_alloc(&arena, 1));
    size_t least = arena.total;
    assert_true(least <= 1024);
    arena_reset(&arena);
    assert_int_equal(arena.total, least);
    assert_non_null(arena_alloc(&arena, least));
    assert_int_equal(arena.total, least);
    arena_free(&arena);
    assert_int_equal(arena.total, 0);
}

/* What once took several chunks takes one the next time. */
static void test_several_become_one(void **state)
{
    (void)state;
    enum { PIECES = 50, BYTES = 112 };
    struct arena arena;
    size_t before = 0;
    arena_init(&arena);
    for (int round = 0; round < 3; round++) {
        unsigned chunks = 0;
        for (int i = 0; i < PIECES; i++) {
            size_t total = arena.total;
            char *p = arena_alloc(&arena, BYTES);
            assert_non_null(p);
            memset(p, i, BYTES);
            chunks += arena.total != total;
        }
        assert_int_equal(chunks, round == 0 ? 4 : round == 1 ? 1 : 0);
        assert_true(arena.total >= PIECES * BYTES && arena.total < 2 * PIECES * BYTES);
        assert_true(round == 0 || arena.total == before);
        before = arena.total;
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static void test_cleanups(void **state)
{
    (void)state;
    struct arena arena;
    int counted = 0;
    arena_init(&arena);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(arena_defer(&arena, count, &counted), 0);
        assert_non_null(arena_zalloc(&arena, 100));
    }
    arena_reset(&arena);
    assert_int_equal(counted, 100);
    assert_int_equal(arena_defer(&arena, count, &counted), 0);
    arena_free(&arena);
    assert_int_equal(counted, 101);
}

static void test_large_ones(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    char *p = arena_zalloc(&arena, 3000000);
    assert_non_null(p);
    assert_int_equal(p[2999999], 0);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    struct str text = arena_printf(&arena, "%d-%s", 7, "x");
    assert_string_equal(text.ptr, "7-x");
    arena_reset(&arena);
    assert_int_equal(arena.total, 0);
    assert_non_null(arena_alloc(&arena, 1));
    assert_int_equal(arena.total, ARENA_KEPT);
    arena_reset(&arena);
    assert_int_equal(arena.total, ARENA_KEPT);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chunk_is_kept),
        cmocka_unit_test(test_several_become_one),
        cmocka_unit_test(test_cleanups),
        cmocka_unit_test(test_large_ones),
    };
    return cmocka_run_group_tests_name("base_arena", tests, NULL, NULL);
}
