/* host/listener: a queue that comes to its end without a connection lost. */
#include "process/listener.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

static struct listener bound(void)
{
    struct listener listener = {.fd = -1};
    struct err err;
    assert_int_equal(listener_bind("--listen", "127.0.0.1:0", "http", &listener, &err), 0);
    return listener;
}

/* Begins to connect, without waiting for it. */
static int begin(const struct listener *listener)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&address, &len), 0);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, len) != 0)
        assert_int_equal(errno, EINPROGRESS);
    return fd;
}

/* 0: connected; an errno; -1: neither within the time. */
static int outcome(int fd, int milliseconds)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);
    if (poll(&wanted, 1, milliseconds) == 0)
        return -1;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    return error;
}

static void assert_talks(int client, int server)
{
    char byte = 0;
    assert_int_equal(send(client, "?", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, 5000), 1);
    assert_int_equal(recv(server, &byte, 1, 0), 1);
    assert_int_equal(byte, '?');
}

/* Who was let in is in the queue and is taken, and talks as ever; who comes later is not let in,
 * and hears at the end that nobody listens. */
static void ends(void **state)
{
    (void)state;
    struct listener listener = bound();
    int early = begin(&listener), late;
    assert_int_equal(outcome(early, 5000), 0);
    listener_end(listener.fd);
    late = begin(&listener);
    assert_int_equal(outcome(late, 100), -1);
    int taken = accept(listener.fd, NULL, NULL);
    assert_true(taken >= 0);
    assert_int_equal(accept(listener.fd, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    close(listener.fd);
    assert_talks(early, taken);
    assert_int_equal(outcome(late, 10000), ECONNREFUSED);
    close(late);
    close(early);
    close(taken);
}

/* The twin: without the end of it who comes later is let in, and reset by what closes the queue. */
static void resets_without_an_end(void **state)
{
    (void)state;
    struct listener listener = bound();
    int late = begin(&listener);
    assert_int_equal(outcome(late, 5000), 0);
    close(listener.fd);
    assert_int_equal(poll(&(struct pollfd){.fd = late, .events = POLLIN}, 1, 5000), 1);
    assert_int_equal(outcome(late, 0), ECONNRESET);
    close(late);
}

/* Connections from before know nothing of it, in either direction. */
static void leaves_connections_alone(void **state)
{
    (void)state;
    struct listener listener = bound();
    int client = begin(&listener);
    assert_int_equal(outcome(client, 5000), 0);
    int server = accept(listener.fd, NULL, NULL);
    listener_end(listener.fd);
    assert_talks(client, server);
    assert_talks(server, client);
    close(client);
    close(server);
    close(listener.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends),
        cmocka_unit_test(resets_without_an_end),
        cmocka_unit_test(leaves_connections_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
