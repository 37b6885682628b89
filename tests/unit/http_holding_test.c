/* host/http/holding.c: sums, and the order in which clients last moved. */
#include "unit.h"

#include "http/holding.h"

static void expect_order(const struct holdings *all, const struct holding *const *order, size_t n)
{
    const struct list *at = all->list.next;
    for (size_t i = 0; i < n; i++, at = at->next)
        assert_ptr_equal(at, &order[i]->node);
    assert_ptr_equal(at, &all->list);
}

static void test_sums(void **state)
{
    (void)state;
    struct holdings all;
    struct holding a, b;
    holdings_init(&all, 100); /* full from three quarters */
    holding_init(&a);
    holding_init(&b);
    holding_set(&all, &a, 60, 5);
    assert_false(holdings_are_full(&all));
    holding_set(&all, &b, 24, 5);
    assert_int_equal(all.bytes, 84);
    assert_true(holdings_are_full(&all));
    holding_set(&all, &a, 10, 5);
    assert_int_equal(all.bytes, 34);
    assert_false(holdings_are_full(&all));
    holding_set(&all, &a, 0, 5);
    holding_set(&all, &a, 0, 5);
    holding_set(&all, &b, 0, 5);
    assert_int_equal(all.bytes, 0);
    expect_order(&all, NULL, 0);
}

static void test_order(void **state)
{
    (void)state;
    struct holdings all;
    struct holding a, b, c;
    holdings_init(&all, 100);
    holding_init(&a);
    holding_init(&b);
    holding_init(&c);
    holding_set(&all, &a, 1, 5);
    holding_set(&all, &b, 1, 5);
    holding_set(&all, &c, 1, 5);
    expect_order(&all, (const struct holding *const[]){&a, &b, &c}, 3);
    holding_set(&all, &a, 9, 5);
    expect_order(&all, (const struct holding *const[]){&a, &b, &c}, 3);
    holding_moved(&all, &a, 7);
    assert_int_equal(a.moved_at, 7);
    expect_order(&all, (const struct holding *const[]){&b, &c, &a}, 3);
    holding_set(&all, &c, 0, 5);
    holding_moved(&all, &c, 8);
    expect_order(&all, (const struct holding *const[]){&b, &a}, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests_name("http_holding", tests, NULL, NULL);
}
