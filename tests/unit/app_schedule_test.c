/* The board of scheduled runs: every due time once, whoever asks, whoever dies. */
#include "unit.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/schedule.h"

enum { START = 1767225600 /* 2026-01-01 00:00:00 UTC */ };

static const struct str NAME = {"job", 3};

static struct cron parse(const char *expression)
{
    struct cron cron;
    assert_int_equal(cron_parse(str_from(expression), &cron, NULL), 0);
    return cron;
}

static enum schedule_verdict take(struct schedule_board *board, const char *expression, int64_t now,
                                  struct schedule_turn *turn)
{
    struct cron cron = parse(expression);
    return schedule_take(board, NAME, str_from(expression), &cron, now, turn);
}

static int set_up(void **state)
{
    *state = board_new();
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    board_free(*state);
    return 0;
}

/* Ten minutes at 60 runs a minute, by several workers whose clocks differ by a little and of which
 * one sleeps now and then: each second is run once. */
static void test_each_once(void **state)
{
    enum { WORKERS = 4, SECONDS = 600 };
    struct schedule_board *board = *state;
    unsigned runs[SECONDS + 1] = {0};
    struct schedule_turn turn;
    assert_int_equal(take(board, "* * * * * *", START, &turn), SCHEDULE_WAIT);
    for (int64_t now = START; now <= START + SECONDS; now++) {
        for (unsigned w = 0; w < WORKERS; w++) {
            unsigned first = (unsigned)(now * 7 + w) % WORKERS;
            if (first == 0 && now % 30 > 25)
                continue; /* asleep */
            if (now % 10 < 8 && now != START + SECONDS)
                continue; /* everybody is: for less than LIMIT_SCHEDULE_LATE */
            while (take(board, "* * * * * *", now, &turn) == SCHEDULE_RUN) {
                assert_false(turn.missed);
                assert_in_range(turn.due, START + 1, START + SECONDS);
                runs[turn.due - START]++;
                schedule_release(turn.slot);
            }
        }
    }
    for (unsigned i = 1; i <= SECONDS; i++)
        assert_int_equal(runs[i], 1);
}

/* The same by processes that race for it. */
static void test_each_once_among_processes(void **state)
{
    enum { WORKERS = 4, SECONDS = 600 };
    struct schedule_board *board = *state;
    struct schedule_turn turn;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(take(board, "* * * * * *", START, &turn), SCHEDULE_WAIT);
    for (unsigned w = 0; w < WORKERS; w++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid > 0)
            continue;
        for (int64_t now = START; now <= START + SECONDS; now++) {
            enum schedule_verdict verdict;
            while ((verdict = take(board, "* * * * * *", now, &turn)) != SCHEDULE_WAIT) {
                if (write(pipes[1], &turn.due, sizeof(turn.due)) != sizeof(turn.due))
                    _exit(1);
                if (verdict == SCHEDULE_RUN)
                    schedule_release(turn.slot);
            }
        }
        _exit(0);
    }
    close(pipes[1]);
    unsigned runs[SECONDS + 1] = {0};
    int64_t due;
    while (read(pipes[0], &due, sizeof(due)) == (ssize_t)sizeof(due))
        runs[due - START]++;
    close(pipes[0]);
    for (unsigned w = 0; w < WORKERS; w++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    for (unsigned i = 1; i <= SECONDS; i++)
        assert_int_equal(runs[i], 1);
}

static void test_begins_after_it_was_first_seen(void **state)
{
    struct schedule_turn turn;
    assert_int_equal(take(*state, "@hourly", START + 1800, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(*state, "@hourly", START + 3599, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(*state, "@hourly", START + 3600, &turn), SCHEDULE_RUN);
    assert_int_equal(turn.due, START + 3600);
    schedule_release(turn.slot);
    assert_int_equal(take(*state, "@hourly", START + 3600, &turn), SCHEDULE_WAIT);
    /* Another expression is another schedule. */
    assert_int_equal(take(*state, "* * * * *", START + 3600, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(*state, "* * * * *", START + 3660, &turn), SCHEDULE_RUN);
    schedule_release(turn.slot);
}

/* A host that slept runs the newest of what it slept through. */
static void test_late(void **state)
{
    static const struct {
        const char *expression;
        int64_t asleep, due;
        bool missed;
    } cases[] = {
        {"* * * * *", 60, 60, false},
        {"* * * * *", 61 + LIMIT_SCHEDULE_LATE, 120, true},
        {"* * * * *", 86400 + 30, 86400, true},
        {"@daily", 86400 + 7200, 86400, false},
        {"@daily", 3 * 86400 + 7200, 3 * 86400, true},
        {"* * * * * *", 40 * 86400, 40 * 86400, true},
        {"0 12 * * *", 86400 * 30 + 60, 86400 * 29 + 43200, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct schedule_board *board = board_new();
        struct schedule_turn turn;
        (void)state;
        assert_non_null(board);
        assert_int_equal(take(board, cases[i].expression, START, &turn), SCHEDULE_WAIT);
        assert_int_equal(take(board, cases[i].expression, START + cases[i].asleep, &turn),
                         SCHEDULE_RUN);
        if (turn.due - START != cases[i].due || turn.missed != cases[i].missed)
            fail_msg("%s: %lld", cases[i].expression, (long long)(turn.due - START));
        schedule_release(turn.slot);
        board_free(board);
    }
}

static void test_clock_that_jumps_back(void **state)
{
    struct schedule_turn turn;
    assert_int_equal(take(*state, "* * * * *", START, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(*state, "* * * * *", START + 60, &turn), SCHEDULE_RUN);
    schedule_release(turn.slot);
    for (int64_t now = START - 60; now < START + 120; now++)
        assert_int_equal(take(*state, "* * * * *", now, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(*state, "* * * * *", START + 120, &turn), SCHEDULE_RUN);
    schedule_release(turn.slot);
}

/* By more than a while: an hour, and to 1970, and an hour just after the day's only run. */
static void test_clock_that_is_set_back(void **state)
{
    static const struct {
        const char *expression;
        int64_t ran, back;
        bool anew;
    } cases[] = {
        {"* * * * *", 7200, 3600, true},
        {"* * * * *", 7200, LIMIT_SCHEDULE_BACK, false},
        {"* * * * * *", 7200, LIMIT_SCHEDULE_BACK + 1, true},
        {"*/30 * * * *", 7200, 3600, true},
        {"@hourly", 7200, 3600, false},
        {"@daily", 86400, 3600, false},
        {"@daily", 86400, 3 * 86400, true},
        {"@daily", 86400, START, true},
        {"@hourly", 7200, START, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct schedule_board *board = board_new();
        const char *expression = cases[i].expression;
        struct schedule_turn turn;
        int64_t now = START + cases[i].ran;
        assert_non_null(board);
        assert_int_equal(take(board, expression, now - 1, &turn), SCHEDULE_WAIT);
        assert_int_equal(take(board, expression, now, &turn), SCHEDULE_RUN);
        schedule_release(turn.slot);
        struct cron cron = parse(expression);
        now -= cases[i].back;
        int64_t due = cron_next(&cron, cases[i].anew ? now : START + cases[i].ran);
        enum schedule_verdict verdict = take(board, expression, now, &turn);
        if (verdict != (cases[i].anew ? SCHEDULE_SET_BACK : SCHEDULE_WAIT))
            fail_msg("%s, set back by %lld: %d", expression, (long long)cases[i].back, verdict);
        assert_int_equal(take(board, expression, now, &turn), SCHEDULE_WAIT); /* one is told */
        assert_int_equal(take(board, expression, due - 1, &turn), SCHEDULE_WAIT);
        assert_int_equal(take(board, expression, due, &turn), SCHEDULE_RUN);
        assert_int_equal(turn.due, due);
        assert_false(turn.missed);
        schedule_release(turn.slot);
        board_free(board);
    }
}

static void test_overlap(void **state)
{
    struct schedule_turn turn, other;
    assert_int_equal(take(*state, "* * * * *", START, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(*state, "* * * * *", START + 60, &turn), SCHEDULE_RUN);
    assert_int_equal(take(*state, "* * * * *", START + 120, &other), SCHEDULE_OVERLAP);
    assert_int_equal(other.due, START + 120);
    assert_int_equal(take(*state, "* * * * *", START + 120, &other), SCHEDULE_WAIT);
    schedule_release(turn.slot);
    assert_int_equal(take(*state, "* * * * *", START + 180, &turn), SCHEDULE_RUN);
    schedule_release(turn.slot);
}

/* What a dead worker ran does not hold up the next run. */
static void test_runner_that_died(void **state)
{
    struct schedule_board *board = *state;
    struct schedule_turn turn;
    assert_int_equal(take(board, "* * * * *", START, &turn), SCHEDULE_WAIT);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(take(board, "* * * * *", START + 60, &turn) == SCHEDULE_RUN ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* Another process that has its number by now changes nothing. */
    assert_int_equal(take(board, "* * * * *", START + 60, &turn), SCHEDULE_WAIT);
    assert_int_equal(take(board, "* * * * *", START + 120, &turn), SCHEDULE_RUN);
    schedule_release(turn.slot);
}

static void test_full(void **state)
{
    struct schedule_board *board = *state;
    struct cron cron = parse("@hourly");
    struct schedule_turn turn;
    for (unsigned i = 0; i < LIMIT_SCHEDULES; i++) {
        char name[32];
        snprintf(name, sizeof(name), "job%u", i);
        assert_int_equal(schedule_take(board, str_from(name), STR("@hourly"), &cron, START, &turn),
                         SCHEDULE_WAIT);
    }
    assert_int_equal(schedule_take(board, STR("more"), STR("@hourly"), &cron, START, &turn),
                     SCHEDULE_FULL);
    assert_int_equal(schedule_take(board, STR("job0"), STR("@hourly"), &cron, START + 3600, &turn),
                     SCHEDULE_RUN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_once_among_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_begins_after_it_was_first_seen, set_up, tear_down),
        cmocka_unit_test(test_late),
        cmocka_unit_test_setup_teardown(test_clock_that_jumps_back, set_up, tear_down),
        cmocka_unit_test(test_clock_that_is_set_back),
        cmocka_unit_test_setup_teardown(test_overlap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runner_that_died, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
