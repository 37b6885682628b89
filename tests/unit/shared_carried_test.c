/* Tables in shared memory, and which of them another program goes on with. */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/carried.h"

static struct carried opened(int fd, unsigned workers)
{
    struct carried carried;
    assert_int_equal(carried_open(&carried, fd, workers), 0);
    return carried;
}

/* As an upgrade hands it over. */
static int handed_over(const struct carried *carried)
{
    int fd = fcntl(carried->fd, F_DUPFD_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

/* Uses each table. */
static void use(const struct carried *carried)
{
    replay_share(carried->proofs);
    assert_int_equal(replay_admit(STR("who"), STR("id"), 1000, 2000, NULL), REPLAY_NEW);
    assert_true(rate_take(carried->rates, STR("a"), 1, 60000, 1000).pass);
    struct delivery_run run;
    assert_int_equal(delivery_begin(carried->deliveries, STR("d"), 60000, 1000, &run),
                     DELIVERY_NEW);
    assert_int_equal(generations_number(carried->generations, STR("f"), 77, 4), 5);
    atomic_store(&carried->suspensions->list[3].active, 1);
    atomic_store(&carried->board->slots[9].last, 12);
    carried->metrics->restarts = 2;
    atomic_store(&carried->workers->slots[0].ready, 1);
}

static void assert_carried_over(const struct carried *carried)
{
    replay_share(carried->proofs);
    assert_int_equal(replay_admit(STR("who"), STR("id"), 1000, 2000, NULL), REPLAY_SEEN);
    assert_int_equal(replay_admit(STR("who"), STR("other"), 1000, 2000, NULL), REPLAY_NEW);
    assert_false(rate_take(carried->rates, STR("a"), 1, 60000, 1000).pass);
    struct delivery_run run;
    assert_int_equal(delivery_begin(carried->deliveries, STR("d"), 60000, 1000, &run),
                     DELIVERY_RUNNING);
    assert_int_equal(generations_number(carried->generations, STR("f"), 77, 0), 5);
    assert_int_equal(atomic_load(&carried->suspensions->list[3].active), 1);
    assert_int_equal(atomic_load(&carried->board->slots[9].last), 12);
    assert_int_equal(atomic_load(&carried->workers->slots[0].ready), 0); /* each has its own */
}

static void test_all_is_carried_over(void **state)
{
    (void)state;
    struct carried before = opened(-1, 2);
    use(&before);
    carried_settle(&before);
    struct carried after = opened(handed_over(&before), 2);
    assert_carried_over(&after);
    assert_int_equal(after.metrics->restarts, 2);
    assert_int_equal(before.first_page, 0);
    assert_int_equal(after.first_page, 2);
    assert_int_equal(after.bytes, before.bytes);
    carried_close(&before);
    carried_close(&after);
}

/* Only what another number of workers changes begins anew; the old program goes on with its own. */
static void test_other_workers(void **state)
{
    (void)state;
    struct carried before = opened(-1, 2);
    use(&before);
    struct carried after = opened(handed_over(&before), 3);
    assert_carried_over(&after);
    assert_int_equal(after.metrics->restarts, 0);
    assert_int_equal(after.metrics->workers, 3);
    before.metrics->restarts++;
    assert_int_equal(before.metrics->restarts, 3);
    assert_int_equal(after.metrics->restarts, 0);
    struct carried third = opened(handed_over(&after), 3);
    assert_int_equal(third.bytes, after.bytes); /* another look adds nothing */
    carried_close(&before);
    carried_close(&after);
    carried_close(&third);
}

/* A table of another version stays where it is, for who knows it. */
static void test_other_version(void **state)
{
    (void)state;
    struct carried before = opened(-1, 1);
    use(&before);
    char *entry = memmem(before.directory, 4096, "rates", 6);
    assert_non_null(entry);
    entry[16]++;
    struct carried after = opened(handed_over(&before), 1);
    assert_true(rate_take(after.rates, STR("a"), 1, 60000, 1000).pass);
    assert_false(rate_take(before.rates, STR("a"), 1, 60000, 1000).pass);
    replay_share(after.proofs);
    assert_int_equal(replay_admit(STR("who"), STR("id"), 1000, 2000, NULL), REPLAY_SEEN);
    carried_close(&before);
    carried_close(&after);
}

/* One that did not come to serve takes no turn of the metrics' pages. */
static void test_turns(void **state)
{
    (void)state;
    struct carried first = opened(-1, 1);
    carried_settle(&first);
    struct carried failed = opened(handed_over(&first), 1);
    assert_int_equal(failed.first_page, 1);
    carried_close(&failed);
    struct carried second = opened(handed_over(&first), 1);
    assert_int_equal(second.first_page, 1);
    carried_settle(&second);
    struct carried third = opened(handed_over(&second), 1);
    assert_int_equal(third.first_page, 0);
    carried_close(&first);
    carried_close(&second);
    carried_close(&third);
}

/* What is no such file is left, and all begins anew. */
static void test_foreign_files(void **state)
{
    (void)state;
    int pipes[2], empty = memfd_create("empty", MFD_CLOEXEC);
    int other = memfd_create("other", MFD_CLOEXEC);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ftruncate(other, 1 << 20), 0);
    const int files[] = {empty, other, pipes[0], pipes[1], 10000};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct carried carried = opened(files[i], 1);
        use(&carried);
        assert_true(fcntl(carried.fd, F_GETFD) >= 0);
        carried_close(&carried);
    }
}

/* Many versions one after the other: where the directory is full all begins anew. */
static void test_full_directory(void **state)
{
    (void)state;
    struct carried carried = opened(-1, 1);
    for (unsigned workers = 2; workers < 60; workers++) {
        struct carried next = opened(handed_over(&carried), workers);
        assert_int_equal(next.metrics->workers, workers);
        carried_close(&carried);
        carried = next;
    }
    carried_close(&carried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_carried_over), cmocka_unit_test(test_other_workers),
        cmocka_unit_test(test_other_version),       cmocka_unit_test(test_turns),
        cmocka_unit_test(test_foreign_files),       cmocka_unit_test(test_full_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
