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

/* Connects: the socket, or a negative errno. */
static int connected(const struct listener *listener)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&address, &len), 0);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, len) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static void assert_talks(int client, int server)
{
    char byte = 0;
    assert_int_equal(send(client, "?", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, 5000), 1);
    assert_int_equal(recv(server, &byte, 1, 0), 1);
    assert_int_equal(byte, '?');
}

/* Who was let in is in the queue and is taken, and talks as ever; who comes later hears that nobody
 * listens. */
static void ends(void **state)
{
    (void)state;
    struct listener listener = bound();
    int early = connected(&listener);
    assert_true(early >= 0);
    assert_int_equal(listener_end(listener.fd), 0);
    assert_int_equal(connected(&listener), -ECONNREFUSED);
    assert_int_equal(listener_end(listener.fd), 0); /* each of several workers does it */
    int taken = accept(listener.fd, NULL, NULL);
    assert_true(taken >= 0);
    assert_int_equal(accept(listener.fd, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    close(listener.fd);
    assert_talks(early, taken);
    close(early);
    close(taken);
}

/* The twin: without the end of it who comes later is let in, and reset by what closes the queue. */
static void resets_without_an_end(void **state)
{
    (void)state;
    struct listener listener = bound();
    int late = connected(&listener);
    char byte;
    assert_true(late >= 0);
    close(listener.fd);
    assert_int_equal(recv(late, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(late);
}

/* Connections from before know nothing of it, in either direction. */
static void leaves_connections_alone(void **state)
{
    (void)state;
    struct listener listener = bound();
    int client = connected(&listener);
    assert_true(client >= 0);
    int server = accept(listener.fd, NULL, NULL);
    assert_int_equal(listener_end(listener.fd), 0);
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
