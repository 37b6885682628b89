/* Numbers of versions: the same in every worker, never one that was there before. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "shared/generations.h"

static int set_up(void **state)
{
    struct generation_table *table = calloc(1, sizeof(*table));
    assert_non_null(table);
    assert_int_equal(generations_init(table), 0);
    *state = table;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

enum { A = 101, B, C };

static uint32_t take(struct generation_table *table, uint64_t content, uint32_t current)
{
    return generations_number(table, STR("f"), content, current);
}

static void test_workers_agree(void **state)
{
    assert_int_equal(take(*state, A, 0), 1);
    assert_int_equal(take(*state, A, 0), 1); /* the second worker */
    assert_int_equal(take(*state, B, 1), 2);
    assert_int_equal(take(*state, B, 1), 2);
    assert_int_equal(take(*state, B, 0), 2); /* one that replaces a dead one */
}

static void test_content_that_comes_back_is_new(void **state)
{
    assert_int_equal(take(*state, A, 0), 1);
    assert_int_equal(take(*state, B, 1), 2);
    assert_int_equal(take(*state, A, 2), 3);
    assert_int_equal(take(*state, A, 2), 3); /* the second worker */
    assert_int_equal(take(*state, A, 3), 4); /* loaded again by wish */
    assert_int_equal(take(*state, A, 3), 4);
}

static void test_a_worker_that_lags(void **state)
{
    assert_int_equal(take(*state, A, 0), 1);
    assert_int_equal(take(*state, B, 1), 2);
    assert_int_equal(take(*state, C, 2), 3);
    assert_int_equal(take(*state, B, 1), 2);
    assert_int_equal(take(*state, C, 2), 3);
}

static void test_names_are_apart(void **state)
{
    assert_int_equal(generations_number(*state, STR("f"), A, 0), 1);
    assert_int_equal(generations_number(*state, STR("f"), B, 1), 2);
    assert_int_equal(generations_number(*state, STR("g"), B, 0), 1);
}

static void test_old_numbers_are_forgotten(void **state)
{
    for (unsigned i = 0; i <= GENERATIONS_KEPT; i++)
        assert_int_equal(take(*state, 1000 + i, i), i + 1);
    assert_int_equal(take(*state, 1001, 0), 2);                    /* still kept */
    assert_int_equal(take(*state, 1000, 0), GENERATIONS_KEPT + 2); /* long gone: new */
}

static void test_a_full_table_counts_on(void **state)
{
    char name[32];
    for (unsigned i = 0; i < LIMIT_GENERATION_ROWS; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        assert_int_equal(generations_number(*state, str_from(name), A, 0), 1);
    }
    assert_int_equal(generations_number(*state, STR("late"), A, 0), 1);
    assert_int_equal(generations_number(*state, STR("late"), B, 1), 2);
    assert_int_equal(generations_number(*state, STR("f7"), B, 1), 2);
    assert_int_equal(generations_number(NULL, STR("f7"), B, 5), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_workers_agree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_content_that_comes_back_is_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_worker_that_lags, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_are_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_numbers_are_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_table_counts_on, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
