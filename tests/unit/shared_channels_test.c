/* The ring of messages: in order, whole around its end, over processes; who falls behind is told.
 */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/channels.h"

static struct str text_of(char *out, size_t size, unsigned number, size_t len)
{
    memset(out, 'a' + (int)(number % 26), len);
    int digits = snprintf(out, size, "%u ", number);
    out[digits] = 'x';
    return (struct str){out, len};
}

/* Reads all that is there; the numbers must go on from *next. */
static void read_on(uint64_t *position, unsigned *next)
{
    struct buf buf = BUF_INIT;
    bool missed;
    while (channels_read(position, &buf, &missed)) {
        struct str rest = buf_str(&buf), name, text;
        assert_false(missed);
        while (channels_take(&rest, &name, &text)) {
            char expected[LIMIT_CHANNEL_TEXT];
            assert_true(str_eq(name, STR("room")));
            assert_true(str_eq(text, text_of(expected, sizeof(expected), *next, text.len)));
            ++*next;
        }
        assert_int_equal(rest.len, 0);
        buf_clear(&buf);
    }
    buf_free(&buf);
}

static void in_order_and_whole(void **state)
{
    (void)state;
    static char text[LIMIT_CHANNEL_TEXT];
    uint64_t position;
    unsigned next = 0, made = 0;
    assert_int_equal(channels_position(&position), 0);
    for (unsigned round = 0; round < 200; round++) { /* several times around */
        uint32_t bell = channels_bell();
        for (unsigned i = next_random() % 8; i > 0; i--) {
            size_t len = 20 + next_random() % (LIMIT_CHANNEL_TEXT - 20);
            assert_int_equal(
                channels_publish(STR("room"), text_of(text, sizeof(text), made++, len)), 0);
            assert_true(channels_bell() != bell);
        }
        read_on(&position, &next);
        assert_int_equal(next, made);
    }
}

static void who_falls_behind_is_told(void **state)
{
    (void)state;
    static char text[LIMIT_CHANNEL_TEXT];
    uint64_t position, end;
    struct buf buf = BUF_INIT;
    bool missed;
    assert_int_equal(channels_position(&position), 0);
    for (unsigned i = 0; i < LIMIT_CHANNEL_RING / LIMIT_CHANNEL_TEXT + 1; i++)
        assert_int_equal(
            channels_publish(STR("room"), text_of(text, sizeof(text), i, sizeof(text))), 0);
    assert_true(channels_read(&position, &buf, &missed));
    assert_true(missed);
    assert_int_equal(buf.len, 0);
    assert_int_equal(channels_position(&end), 0);
    assert_int_equal(position, end);
    assert_int_equal(channels_publish(STR("room"), STR("on")), 0);
    assert_true(channels_read(&position, &buf, &missed));
    assert_false(missed);
    assert_false(channels_read(&position, &buf, &missed));
    buf_free(&buf);
}

static void what_is_too_long(void **state)
{
    (void)state;
    static char text[LIMIT_CHANNEL_TEXT + 1];
    struct str most = {text, LIMIT_CHANNEL_TEXT}, more = {text, LIMIT_CHANNEL_TEXT + 1};
    struct str name = {text, LIMIT_CHANNEL_NAME}, long_name = {text, LIMIT_CHANNEL_NAME + 1};
    assert_int_equal(channels_publish(name, most), 0);
    assert_int_equal(channels_publish(name, more), -EMSGSIZE);
    assert_int_equal(channels_publish(long_name, STR("x")), -EMSGSIZE);
}

/* Some are killed while they publish: the others' messages are whole, and nobody hangs. */
static void processes_that_die(void **state)
{
    (void)state;
    enum { CHILDREN = 4 };
    pid_t pids[CHILDREN];
    uint64_t position;
    struct buf buf = BUF_INIT;
    bool missed;
    unsigned whole = 0;
    assert_int_equal(channels_position(&position), 0);
    for (unsigned i = 0; i < CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            for (;;)
                if (channels_publish(STR("child"), STR("a whole message")) != 0)
                    _exit(1);
    }
    while (whole < 5000) {
        channels_wait(channels_bell() - 1); /* returns: it is another one by now */
        (void)channels_read(&position, &buf, &missed);
        struct str rest = buf_str(&buf), name, text;
        while (channels_take(&rest, &name, &text)) {
            assert_true(str_eq(name, STR("child")) && str_eq(text, STR("a whole message")));
            whole++;
        }
        buf_clear(&buf);
        if (whole > 2500 && pids[1] > 0) {
            for (unsigned i = 1; i < CHILDREN; i++) {
                kill(pids[i], SIGKILL);
                assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
                pids[i] = 0;
            }
        }
    }
    kill(pids[0], SIGKILL);
    assert_int_equal(waitpid(pids[0], NULL, 0), pids[0]);
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_whole),
        cmocka_unit_test(who_falls_behind_is_told),
        cmocka_unit_test(what_is_too_long),
        cmocka_unit_test(processes_that_die),
    };
    uint64_t begin;
    if (channels_position(&begin) != 0) /* the ring, before there are children */
        return 1;
    return cmocka_run_group_tests_name("shared_channels", tests, NULL, NULL);
}
