/* process/heart: what time counts of a worker whose loop does not turn. */
#include "process/heart.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "unit.h"

enum { MS = 1000000 };

static const uint64_t unseen = (uint64_t)(LIMIT_WATCHDOG / 4 * 1e9);

static char state_of(pid_t pid)
{
    char path[64], state = '?';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %*s %c", &state), 1);
    fclose(file);
    return state;
}

/* A process of a group of its own that does this, which takes for ever, when it is in that state.
 */
static pid_t begin(void (*what)(void), char state)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setpgid(0, 0);
        what();
        _exit(1);
    }
    setpgid(pid, pid);
    while (state_of(pid) != state)
        usleep(1000);
    return pid;
}

static void end(pid_t pid)
{
    kill(-pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void sleeps(void)
{
    for (;;)
        pause();
}

/* As for a disk, until somebody ends: the kernel keeps who made a child that way until that one has
 * a memory of its own. */
static void waits_in_kernel(void)
{
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL) == 0)
        sleeps();
}

static void burns(void)
{
    for (volatile unsigned i = 0;; i++)
        ;
}

static uint64_t long_ago(void)
{
    return clock_monotonic_ns() - 10 * (uint64_t)1000 * MS;
}

/* So much is counted for 100 ms, and how long those took. */
static uint64_t counted(pid_t pid, uint64_t *took)
{
    struct heart heart = {0};
    uint64_t beat = long_ago(), began = clock_monotonic_ns();
    assert_int_equal(heart_stopped_ns(&heart, pid, beat), unseen);
    usleep(100000);
    uint64_t stopped = heart_stopped_ns(&heart, pid, beat);
    *took = clock_monotonic_ns() - began;
    return stopped - unseen;
}

static void test_sleep_counts(void **state)
{
    (void)state;
    pid_t pid = begin(sleeps, 'S');
    uint64_t took, got = counted(pid, &took);
    end(pid);
    assert_true(got >= 100 * (uint64_t)MS && got <= took);
}

static void test_what_the_machine_takes_does_not(void **state)
{
    (void)state;
    if (slowness() >= 10) /* valgrind has no such children */
        skip();
    pid_t pid = begin(waits_in_kernel, 'D');
    uint64_t took, got = counted(pid, &took);
    end(pid);
    assert_int_equal(got, 0);
}

static void test_own_work_counts(void **state)
{
    (void)state;
    pid_t pid = begin(burns, 'R');
    uint64_t took, got = counted(pid, &took);
    for (int i = 0; got == 0 && i < 50; i++) /* it was given none */
        got = counted(pid, &took);
    end(pid);
    assert_true(got > 0 && got <= took + 20 * MS); /* a tick is 10 ms */
}

static void test_a_new_beat_begins_anew(void **state)
{
    (void)state;
    struct heart heart = {0};
    pid_t pid = begin(sleeps, 'S');
    uint64_t beat = long_ago();
    (void)heart_stopped_ns(&heart, pid, beat);
    usleep(20000);
    assert_true(heart_stopped_ns(&heart, pid, beat) > unseen);
    assert_int_equal(heart_stopped_ns(&heart, pid, beat + 1), unseen);
    uint64_t now = clock_monotonic_ns(), got = heart_stopped_ns(&heart, pid, now);
    if (clock_monotonic_ns() - now < unseen) /* else we have stood still for so long */
        assert_int_equal(got, 0);
    end(pid);
}

static void test_one_that_is_gone_counts(void **state)
{
    (void)state;
    pid_t pid = begin(sleeps, 'S');
    end(pid);
    uint64_t took;
    assert_true(counted(pid, &took) >= 100 * (uint64_t)MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleep_counts),
        cmocka_unit_test(test_what_the_machine_takes_does_not),
        cmocka_unit_test(test_own_work_counts),
        cmocka_unit_test(test_a_new_beat_begins_anew),
        cmocka_unit_test(test_one_that_is_gone_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
