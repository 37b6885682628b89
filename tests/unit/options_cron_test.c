/* Cron expressions: what is due when, and what is refused. */
#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "options/cron.h"

static int64_t at(const char *text)
{
    struct tm tm = {0};
    assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                            &tm.tm_hour, &tm.tm_min, &tm.tm_sec),
                     6);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return timegm(&tm);
}

static void test_next(void **state)
{
    static const struct {
        const char *expression, *after, *next;
    } cases[] = {
        {"* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00"},
        {"* * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00"},
        {"* * * * *", "2026-12-31 23:59:30", "2027-01-01 00:00:00"},
        {"*/5 * * * *", "2026-01-01 00:00:00", "2026-01-01 00:05:00"},
        {"*/5 * * * *", "2026-01-01 00:04:59", "2026-01-01 00:05:00"},
        {"*/5 * * * *", "2026-01-01 00:55:00", "2026-01-01 01:00:00"},
        {"1-9/4 * * * *", "2026-01-01 00:05:00", "2026-01-01 00:09:00"},
        {"1-9/4 * * * *", "2026-01-01 00:09:00", "2026-01-01 01:01:00"},
        {"0,30 9-17 * * 1-5", "2026-01-02 17:30:00", "2026-01-05 09:00:00"},
        {"0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"},
        {"0 0 29 feb *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"},
        {"0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00"},
        {"0 0 * * sun", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"0 0 * * 0", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"0 0 * * 7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"0 0 * * SAT-SUN", "2026-01-03 00:00:00", "2026-01-04 00:00:00"},
        {"0 0 * JAN,jul *", "2026-02-01 00:00:00", "2026-07-01 00:00:00"},
        /* Day and weekday: either, unless one begins with a star. */
        {"0 0 13 * fri", "2026-01-02 12:00:00", "2026-01-09 00:00:00"},
        {"0 0 13 * fri", "2026-01-09 12:00:00", "2026-01-13 00:00:00"},
        {"0 0 */2 * fri", "2026-01-02 12:00:00", "2026-01-09 00:00:00"},
        {"@hourly", "2026-01-01 00:00:00", "2026-01-01 01:00:00"},
        {"@daily", "2026-01-01 00:00:00", "2026-01-02 00:00:00"},
        {"@weekly", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"@monthly", "2026-01-01 00:00:00", "2026-02-01 00:00:00"},
        {"@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
        {"*/20 * * * * *", "2026-01-01 00:00:20", "2026-01-01 00:00:40"},
        {"* * * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00"},
        {"  0   12  *  *  *  ", "2026-01-01 00:00:00", "2026-01-01 12:00:00"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cron cron;
        struct err err;
        if (cron_parse(str_from(cases[i].expression), &cron, &err) != 0)
            fail_msg("%s: %s", cases[i].expression, err.text);
        int64_t got = cron_next(&cron, at(cases[i].after));
        if (got != at(cases[i].next))
            fail_msg("%s after %s: %lld, not %s", cases[i].expression, cases[i].after,
                     (long long)got, cases[i].next);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *expression, *text, *good;
    } cases[] = {
        {"", "has 0 fields; write five", "* * * * *"},
        {"* * * *", "has 4 fields; write five", "* * * * *"},
        {"*", "has 1 field; write five", "* * * * *"},
        {"* * * * * * *", "has 7 fields; write five", "* * * * * *"},
        {"60 * * * *", "'60' is no minute: write 0 to 59", "59 * * * *"},
        {"* 24 * * *", "'24' is no hour: write 0 to 23", "* 23 * * *"},
        {"* * 0 * *", "'0' is no day: write 1 to 31", "* * 1 * *"},
        {"* * * 13 *", "'13' is no month: write 1 to 12, or a name such as feb", "* * * 12 *"},
        {"* * * * 8", "'8' is no weekday: write 0 to 7, or a name such as mon", "* * * * 7"},
        {"60 * * * * *", "'60' is no second", "59 * * * * *"},
        {"x * * * *", "'x' is no minute", "5 * * * *"},
        {"-1 * * * *", "'' is no minute", "1 * * * *"},
        {"1, * * * *", "'' is no minute", "1,2 * * * *"},
        {"5-1 * * * *", "'5-1' runs backwards", "1-5 * * * *"},
        {"*/0 * * * *", "the step of the minute '*/0' is not 1 to 59", "*/1 * * * *"},
        {"*/x * * * *", "the step of the minute '*/x'", "*/2 * * * *"},
        {"5/15 * * * *", "has a step without a range: write 5-59/15 or */15", "5-59/15 * * * *"},
        {"@reboot", "'@reboot' is not one of @hourly", "@hourly"},
        {"@annually", "'@annually' is not one of", "@yearly"},
        {"0 0 30 2 *", "names a day that never comes", "0 0 30 3 *"},
        {"0 0 31 apr,jun *", "names a day that never comes", "0 0 31 may *"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cron cron;
        struct err err = {.text = ""};
        assert_int_not_equal(cron_parse(str_from(cases[i].expression), &cron, &err), 0);
        if (strstr(err.text, cases[i].text) == NULL)
            fail_msg("%s: %s", cases[i].expression, err.text);
        assert_int_equal(cron_parse(str_from(cases[i].good), &cron, &err), 0);
    }
}

/* A day has as many due times as its expression says, in rising order. */
static void test_count(void **state)
{
    static const struct {
        const char *expression;
        unsigned count;
    } cases[] = {{"* * * * *", 1440},  {"*/7 * * * *", 216},  {"0 */6 * * *", 4},
                 {"@hourly", 24},      {"0 0 1 1 *", 1},      {"30 8-17 * * *", 10},
                 {"0-9 12 * * *", 10}, {"* * 12 * * *", 3600}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cron cron;
        assert_int_equal(cron_parse(str_from(cases[i].expression), &cron, NULL), 0);
        int64_t end = at("2026-01-01 23:59:59");
        unsigned count = 0;
        for (int64_t t = at("2025-12-31 23:59:59");;) {
            int64_t next = cron_next(&cron, t);
            assert_true(next > t);
            if (next > end)
                break;
            t = next;
            count++;
        }
        assert_int_equal(count, cases[i].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
