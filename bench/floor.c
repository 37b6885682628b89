/* The floor of `make bench`: one thread, epoll, no parsing beyond the empty line that ends a head,
 * always the same answer. What a server on this machine costs before it does anything.
 *
 * usage: floor PORT BODY */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FD = 4096, MAX_EVENTS = 128, MAX_READ = 16384 };

static char answer[4096];
static size_t answer_len;
static unsigned char matched[MAX_FD]; /* how much of CR LF CR LF the last read ended with */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 512) < 0)
        die("listen");
    return fd;
}

static void accept_all(int epoll, int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        matched[fd] = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void serve(int fd)
{
    static const char end[] = "\r\n\r\n";
    char buf[MAX_READ];
    ssize_t n = read(fd, buf, sizeof buf);

    if (n <= 0) {
        close(fd);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == end[matched[fd]])
            matched[fd]++;
        else
            matched[fd] = buf[i] == '\r';
        if (matched[fd] < 4)
            continue;
        matched[fd] = 0;
        if (write(fd, answer, answer_len) != (ssize_t)answer_len) {
            close(fd);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[MAX_EVENTS];
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0), listener;

    if (argc != 3) {
        fputs("usage: floor PORT BODY\n", stderr);
        return 2;
    }
    answer_len = (size_t)snprintf(answer, sizeof answer,
                                  "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                                  "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                  strlen(argv[2]), argv[2]);
    if (answer_len >= sizeof answer) {
        fputs("floor: the body is too long\n", stderr);
        return 2;
    }
    listener = listen_on(atoi(argv[1]));
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
