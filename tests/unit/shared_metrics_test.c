/* base/metrics: pages of several workers, added up. */
#include "shared/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "unit.h"

static struct metrics *table(unsigned pages)
{
    struct metrics *m = calloc(1, metrics_bytes(pages));
    assert_non_null(m);
    assert_int_equal(metrics_init(m, pages), 0);
    return m;
}

static void names_keep_their_place(void **state)
{
    (void)state;
    struct metrics *m = table(1);
    char name[32];
    for (unsigned i = 0; i < LIMIT_METRIC_FUNCTIONS; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        assert_int_equal(metrics_place(m, str_from(name)), i);
    }
    assert_int_equal(metrics_place(m, STR("f7")), 7);
    assert_string_equal(metrics_name(m, 7), "f7");
    assert_int_equal(metrics_place(m, STR("one more")), METRIC_OTHERS);
    assert_string_equal(metrics_name(m, METRIC_OTHERS), "(others)");
    assert_int_equal(metrics_place(m, STR("f511")), 511);
    free(m);
}

static void a_name_that_is_too_long_counts_with_the_others(void **state)
{
    (void)state;
    struct metrics *m = table(1);
    char name[METRIC_NAME_BYTES + 1];
    memset(name, 'x', sizeof(name));
    assert_int_equal(metrics_place(m, (struct str){name, METRIC_NAME_BYTES}), METRIC_OTHERS);
    assert_int_equal(metrics_place(m, (struct str){name, METRIC_NAME_BYTES - 1}), 0);
    free(m);
}

static void pages_are_added_and_generations_are_not(void **state)
{
    (void)state;
    struct metrics *m = table(3);
    unsigned place = metrics_place(m, STR("me"));
    for (unsigned i = 0; i < 3; i++) {
        m->pages[i].requests = 10 + i;
        m->pages[i].gauges.connections = 2;
        m->pages[i].functions[place].errors = i;
        m->pages[i].functions[place].generation = i == 1 ? 5 : 4;
        metrics_add_duration(&m->pages[i].functions[place].durations, 30 * 1000000);
        metrics_count_token(&m->pages[i], i == 0 ? NULL : "jwt_expired");
    }
    metrics_clear_gauges(&m->pages[2]);
    struct worker_metrics *sum = metrics_sum(m);
    assert_non_null(sum);
    assert_int_equal(sum->requests, 33);
    assert_int_equal(sum->gauges.connections, 4);
    assert_int_equal(sum->functions[place].errors, 3);
    assert_int_equal(sum->functions[place].generation, 5);
    assert_int_equal(sum->functions[place].durations.buckets[5], 3);
    assert_int_equal(sum->functions[place].durations.sum_us, 90000);
    assert_int_equal(sum->tokens[4], 2);
    assert_int_equal(sum->tokens[METRIC_TOKENS - 1], 1);
    free(sum);
    free(m);
}

static void durations_fall_into_buckets(void **state)
{
    (void)state;
    struct metric_durations d = {0};
    metrics_add_duration(&d, 0);
    metrics_add_duration(&d, 1000000); /* the bound itself */
    metrics_add_duration(&d, 1000001);
    metrics_add_duration(&d, 60000000000u);
    assert_int_equal(d.buckets[0], 2);
    assert_int_equal(d.buckets[1], 1);
    assert_int_equal(d.buckets[METRIC_BOUNDS], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_keep_their_place),
        cmocka_unit_test(a_name_that_is_too_long_counts_with_the_others),
        cmocka_unit_test(pages_are_added_and_generations_are_not),
        cmocka_unit_test(durations_fall_into_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
