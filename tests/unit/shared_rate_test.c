/* Counting requests: exact, also between processes; bounded, and no way to a fresh start. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/rate.h"

static int set_up(void **state)
{
    struct rate_table *table =
        mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(table != MAP_FAILED);
    assert_int_equal(rate_table_init(table), 0);
    *state = table;
    return 0;
}

static int tear_down(void **state)
{
    munmap(*state, sizeof(struct rate_table));
    return 0;
}

static unsigned passes(struct rate_table *table, const char *name, unsigned tries, unsigned limit,
                       uint64_t now_ms)
{
    unsigned count = 0;
    for (unsigned i = 0; i < tries; i++)
        count += rate_take(table, str_from(name), limit, 60000, now_ms).pass;
    return count;
}

static void test_window(void **state)
{
    struct rate_table *table = *state;
    struct rate_verdict v = rate_take(table, STR("a"), 3, 1000, 5000);
    assert_true(v.pass);
    assert_int_equal(v.remaining, 2);
    assert_int_equal(v.reset_ms, 1000);
    v = rate_take(table, STR("a"), 3, 1000, 5400);
    assert_true(v.pass);
    assert_int_equal(v.remaining, 1);
    assert_int_equal(v.reset_ms, 600);
    assert_true(rate_take(table, STR("a"), 3, 1000, 5999).pass);
    v = rate_take(table, STR("a"), 3, 1000, 5999);
    assert_false(v.pass);
    assert_int_equal(v.remaining, 0);
    assert_int_equal(v.reset_ms, 1);
    v = rate_take(table, STR("a"), 3, 1000, 6000); /* what was refused does not count */
    assert_true(v.pass);
    assert_int_equal(v.remaining, 2);
    assert_int_equal(v.reset_ms, 1000);
}

static void test_callers_are_apart(void **state)
{
    struct rate_table *table = *state;
    char name[16];
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "caller %u", i);
        assert_int_equal(passes(table, name, 12, 10, 1000), 10);
    }
}

/* A reload may change the limit while windows are open. */
static void test_other_limit(void **state)
{
    struct rate_table *table = *state;
    assert_int_equal(passes(table, "a", 20, 10, 1000), 10);
    assert_int_equal(passes(table, "a", 20, 15, 1000), 5);
    assert_int_equal(passes(table, "a", 20, 5, 1000), 0);
    struct rate_verdict v = rate_take(table, STR("a"), 5, 1000, 2000); /* a shorter window */
    assert_false(v.pass);
    assert_int_equal(v.reset_ms, 1000);
    assert_true(rate_take(table, STR("a"), 5, 1000, 3000).pass);
}

static void test_two_processes(void **state)
{
    enum { LIMIT = 5000, TRIES = 4 * LIMIT };
    struct rate_table *table = *state;
    pid_t pids[2];
    int fds[2];
    unsigned total = 0;
    assert_int_equal(pipe(fds), 0);
    for (unsigned i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            unsigned count = passes(table, "a", TRIES / 2, LIMIT, 1000);
            _exit(write(fds[1], &count, sizeof(count)) == (ssize_t)sizeof(count) ? 0 : 1);
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        unsigned count;
        assert_int_equal(read(fds[0], &count, sizeof(count)), sizeof(count));
        total += count;
        waitpid(pids[i], NULL, 0);
    }
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(total, LIMIT);
}

static void test_killed_in_between(void **state)
{
    struct rate_table *table = *state;
    assert_int_equal(passes(table, "a", 20, 10, 1000), 10);
    pid_t pid = fork();
    if (pid == 0) {
        for (unsigned i = 0; i < RATE_LOCKS; i++)
            shared_lock_take(&table->locks[i]);
        _exit(0); /* with all locks */
    }
    waitpid(pid, NULL, 0);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(passes(table, "a", 20, 10, 1000), 0);
        assert_int_equal(passes(table, round == 0 ? "b" : "c", 20, 10, 1000), 10);
    }
}

/* Somebody at the limit cannot be given a fresh start by a crowd, in whose place ever he was. */
static void test_crowd(void **state)
{
    enum { VICTIMS = 50, CROWD = 4 * LIMIT_RATE_CALLERS };
    struct rate_table *table = *state;
    char name[32];
    for (unsigned i = 0; i < VICTIMS; i++) {
        snprintf(name, sizeof(name), "victim %u", i);
        assert_int_equal(passes(table, name, 100, 50, 1000), 50);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "crowd %u", i);
        rate_take(table, str_from(name), 50, 60000, 1001);
    }
    for (unsigned i = 0; i < VICTIMS; i++) {
        snprintf(name, sizeof(name), "victim %u", i);
        assert_int_equal(passes(table, name, 100, 50, 1002), 0);
        assert_int_equal(passes(table, name, 100, 50, 61001), 50); /* but when time has passed */
    }
}

/* More callers than there is room for, who take turns: none passes more often than it may. */
static void test_turns(void **state)
{
    enum { CALLERS = 3 * LIMIT_RATE_CALLERS / 2, LIMIT = 5 };
    struct rate_table *table = *state;
    static unsigned char count[CALLERS];
    uint64_t passed = 0;
    char name[32];
    memset(count, 0, sizeof(count));
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < CALLERS; i++) {
            snprintf(name, sizeof(name), "caller %u", i);
            bool pass = rate_take(table, str_from(name), LIMIT, 60000, 1000).pass;
            count[i] = (unsigned char)(count[i] + pass);
            passed += pass;
            assert_true(count[i] <= LIMIT);
        }
    }
    assert_true(passed > CALLERS); /* and the limit is not a wall */
}

/* Windows of different length and many steps of time, beside a model that forgets nobody. */
static void test_model(void **state)
{
    enum { CALLERS = 40, STEPS = 40000 };
    struct rate_table *table = *state;
    struct {
        uint64_t ends_ms;
        unsigned count;
    } model[CALLERS] = {{0, 0}};
    uint64_t now_ms = 1;
    char name[16];
    srand(5);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned c = (unsigned)rand() % CALLERS, limit = 3 + c % 7;
        uint64_t window_ms = 100 + 37 * (uint64_t)c;
        now_ms += (uint64_t)(rand() % 3);
        if (model[c].ends_ms <= now_ms) {
            model[c].ends_ms = now_ms + window_ms;
            model[c].count = 0;
        }
        bool expected = model[c].count < limit;
        model[c].count += expected;
        snprintf(name, sizeof(name), "%u", c);
        struct rate_verdict v = rate_take(table, str_from(name), limit, window_ms, now_ms);
        assert_int_equal(v.pass, expected);
        assert_int_equal(v.remaining, limit - model[c].count);
        assert_int_equal(v.reset_ms, model[c].ends_ms - now_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callers_are_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_in_between, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_crowd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_model, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
