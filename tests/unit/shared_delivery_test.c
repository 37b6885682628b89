/* Deliveries that run, that count, that are forgotten; and what happens when there is no room. */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "shared/delivery.h"

enum { LEASE = 1000, KEEP = 5000, RACERS = 4, RACES = 2000 };

static struct delivery_table *new_table(void)
{
    struct delivery_table *table = calloc(1, sizeof(*table));
    assert_non_null(table);
    assert_int_equal(delivery_table_init(table), 0);
    return table;
}

static void it_runs_once_and_then_counts(void **state)
{
    (void)state;
    struct delivery_table *table = new_table();
    struct delivery_run run, other;
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 100, &run), DELIVERY_NEW);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 100, &other), DELIVERY_RUNNING);
    assert_int_equal(delivery_begin(table, STR("b"), LEASE, 100, &other), DELIVERY_NEW);
    delivery_end(table, &run, KEEP, 200);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 201, &other), DELIVERY_DONE);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 5199, &other), DELIVERY_DONE);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 5200, &other), DELIVERY_NEW);
    free(table);
}

static void after_a_failure_it_runs_again(void **state)
{
    (void)state;
    struct delivery_table *table = new_table();
    struct delivery_run run;
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(delivery_begin(table, STR("a"), LEASE, 100 + i, &run), DELIVERY_NEW);
        delivery_end(table, &run, 0, 100 + i);
    }
    free(table);
}

static void a_lease_ends_unless_it_is_renewed(void **state)
{
    (void)state;
    struct delivery_table *table = new_table();
    struct delivery_run run, other;
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 100, &run), DELIVERY_NEW);
    delivery_renew(table, &run, LEASE, 1000);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 1999, &other), DELIVERY_RUNNING);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 2000, &other), DELIVERY_NEW);
    delivery_renew(table, &run, LEASE, 2500); /* another has it */
    delivery_end(table, &run, 0, 2500);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 2999, &run), DELIVERY_RUNNING);
    delivery_end(table, &other, KEEP, 2999);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 3000, &run), DELIVERY_DONE);
    free(table);
}

/* Its worker stood still for longer than the lease, and nobody came meanwhile. */
static void a_late_end_counts(void **state)
{
    (void)state;
    struct delivery_table *table = new_table();
    struct delivery_run run, other;
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 100, &run), DELIVERY_NEW);
    delivery_renew(table, &run, LEASE, 9000);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 9500, &other), DELIVERY_RUNNING);
    delivery_end(table, &run, KEEP, 20000);
    assert_int_equal(delivery_begin(table, STR("a"), LEASE, 20001, &other), DELIVERY_DONE);
    free(table);
}

static void nothing_is_driven_out(void **state)
{
    (void)state;
    struct delivery_table *table = new_table();
    struct delivery_run run, first;
    char name[32];
    unsigned full = 0, begun = 0;
    assert_int_equal(delivery_begin(table, STR("first"), LEASE, 100, &first), DELIVERY_NEW);
    delivery_end(table, &first, KEEP, 100);
    while (full < 100 && begun < 2 * LIMIT_DELIVERIES) {
        snprintf(name, sizeof(name), "%u", begun + full);
        enum delivery_result result = delivery_begin(table, str_from(name), LEASE, 100, &run);
        assert_true(result == DELIVERY_NEW || result == DELIVERY_FULL);
        full += result == DELIVERY_FULL;
        begun += result == DELIVERY_NEW;
    }
    assert_int_equal(full, 100);
    assert_true(begun > LIMIT_DELIVERIES / 4);
    assert_int_equal(delivery_begin(table, STR("first"), LEASE, 100, &run), DELIVERY_DONE);
    assert_int_equal(delivery_begin(table, STR("0"), LEASE, 100, &run), DELIVERY_RUNNING);
    assert_int_equal(delivery_begin(table, str_from(name), LEASE, 1100, &run), DELIVERY_NEW);
    free(table);
}

static atomic_uint won[RACES];

static void *race(void *arg)
{
    for (unsigned i = 0; i < RACES; i++) {
        char name[16];
        struct delivery_run run;
        snprintf(name, sizeof(name), "%u", i);
        if (delivery_begin(arg, str_from(name), LEASE, 100, &run) != DELIVERY_NEW)
            continue;
        atomic_fetch_add(&won[i], 1);
        delivery_end(arg, &run, KEEP, 100);
    }
    return NULL;
}

static void one_wins(void **state)
{
    (void)state;
    struct delivery_table *table = new_table();
    pthread_t threads[RACERS];
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, table), 0);
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < RACES; i++)
        assert_int_equal(atomic_load(&won[i]), 1);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs_once_and_then_counts),
        cmocka_unit_test(after_a_failure_it_runs_again),
        cmocka_unit_test(a_lease_ends_unless_it_is_renewed),
        cmocka_unit_test(a_late_end_counts),
        cmocka_unit_test(nothing_is_driven_out),
        cmocka_unit_test(one_wins),
    };
    return cmocka_run_group_tests_name("shared_delivery", tests, NULL, NULL);
}
