/* Open files that are shared, how many there may be, and what is read of them; dates of files. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "http/date.h"
#include "http/file.h"

/* A file of a few bytes without a name. */
static int make_file(struct file_id *id)
{
    char path[] = "/tmp/luafn_file_XXXXXX";
    struct stat st;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_int_equal(fstat(fd, &st), 0);
    *id = file_id_of(&st);
    return fd;
}

static void test_sharing(void **state)
{
    (void)state;
    struct file_id id, other;
    int fd = make_file(&id), again = dup(fd), third = dup(fd);
    struct file *first = file_take(fd, &id);
    assert_non_null(first);
    assert_ptr_equal(file_take(again, &id), first);
    assert_int_equal(fcntl(again, F_GETFD), -1); /* one is enough */
    other = id;
    other.changed_ns++;
    struct file *changed = file_take(third, &other);
    assert_non_null(changed);
    assert_ptr_not_equal(changed, first);
    file_release(changed);
    file_release(first);
    assert_int_not_equal(fcntl(fd, F_GETFD), -1);
    file_release(first);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* An eighth of what the process may open; see main. */
static void test_bound(void **state)
{
    (void)state;
    enum { MOST = 16 };
    struct file *files[MOST];
    struct file_id ids[MOST + 1];
    for (unsigned i = 0; i < MOST; i++) {
        int fd = make_file(&ids[i]);
        files[i] = file_take(fd, &ids[i]);
        assert_non_null(files[i]);
    }
    int fd = make_file(&ids[MOST]);
    errno = 0;
    assert_null(file_take(fd, &ids[MOST]));
    assert_int_equal(errno, EMFILE);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    fd = open("/dev/null", O_RDONLY);
    assert_ptr_equal(file_take(fd, &ids[0]), files[0]); /* one that is open is no other */
    file_release(files[0]);
    file_release(files[0]);
    fd = make_file(&ids[MOST]);
    files[0] = file_take(fd, &ids[MOST]);
    assert_non_null(files[0]);
    for (unsigned i = 0; i < MOST; i++)
        file_release(files[i]);
}

static void test_reading(void **state)
{
    (void)state;
    struct file_id id;
    char out[16] = "";
    int fd = make_file(&id);
    struct file_body body = {.file = file_take(fd, &id), .offset = 2, .left = 8};
    assert_int_equal(file_body_read(&body, out, 3), 0);
    assert_memory_equal(out, "234", 3);
    assert_int_equal(file_body_read(&body, out, 5), 0);
    assert_memory_equal(out, "56789", 5);
    assert_int_equal(body.left, 0);
    assert_int_equal(ftruncate(fd, 4), 0);
    assert_int_equal(file_read(body.file, out, 4, 0), 0);
    assert_int_equal(file_read(body.file, out, 5, 0), -ENODATA);
    file_release(body.file);
}

static void test_settled(void **state)
{
    (void)state;
    struct file_id id;
    close(make_file(&id));
    assert_false(file_is_settled(&id));
    id.modified -= LIMIT_FILE_UNSETTLED + 1;
    assert_true(file_is_settled(&id));
    id.modified += 3600; /* of the future */
    assert_false(file_is_settled(&id));
}

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t when;
    } cases[] = {
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
        {"Wed, 31 Dec 2008 23:59:59 GMT", 1230767999},
        {"Thu, 01 Mar 2012 00:00:00 GMT", 1330560000},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
    };
    static const char *const bad[] = {
        "",
        "Thu",
        "Thu, ",
        "Thu, 01 Jan 1970 00:00:00",
        "Thu, 01 Jan 1970 00:00:00 UTC",
        "Thu, 01 Jan 1970 00:00:00 GMT ",
        "Thu, 1 Jan 1970 00:00:00 GMT",
        "Thu, 00 Jan 1970 00:00:00 GMT",
        "Thu, 32 Jan 1970 00:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Thu, 01 jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:60:00 GMT",
        "Thursday, 01-Jan-1970 00:00:00 GMT",
        "Thu Jan 01 1970 00:00:00",
        "1970-01-01T00:00:00Z",
        ",,,,,,,",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[DATE_LEN + 1] = "";
        date_format(text, cases[i].when);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(date_parse(str_from(text)), cases[i].when);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (date_parse(str_from(bad[i])) != -1)
            fail_msg("'%s' was read", bad[i]);
    }
    assert_int_equal(date_parse(STR("Sunday, 06-Nov-94 08:49:37 GMT")), 784111777);
    assert_int_equal(date_parse(STR("Friday, 31-Dec-99 23:59:59 GMT")), 946684799);
    assert_int_equal(date_parse(STR("Sun Nov  6 08:49:37 1994")), 784111777);
    assert_int_equal(date_parse(STR("Wed Nov 16 08:49:37 1994")), 784975777);
}

int main(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return 1;
    files.rlim_cur = 16 * 8;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sharing), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_reading), cmocka_unit_test(test_settled),
        cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
