/* Sockets that listen. */
#include "process/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

static int split_address(const char *address, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) {
        snprintf(host, size, "127.0.0.1");
        *port = address;
        return 0;
    }
    size_t len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    }
    if (len >= size)
        return -EINVAL;
    snprintf(host, size, "%.*s", (int)len, address);
    *port = colon + 1;
    return 0;
}

static void describe(int fd, const char *scheme, char *url, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char host[64] = "?", port[16] = "?";
    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = address.ss_family == AF_INET6;
    snprintf(url, size, "%s://%s%s%s:%s", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* `v6_only`: an IPv6 address takes no IPv4 connections. */
static int bind_as(const struct addrinfo *info, bool v6_only)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    info->ai_protocol);
    if (fd == -1)
        return -errno;
    const int on = 1, only = v6_only;
    bool set = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    if (info->ai_family == AF_INET6)
        set = set && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) == 0;
    /* Listening here, not only in the workers, makes a port that is taken fail now. */
    if (set && bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, 511) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* `[::]` is every address, of IPv4 too, unless another listener has those. */
static int bind_one(const struct addrinfo *info)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)info->ai_addr;
    bool any = info->ai_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    int fd = bind_as(info, !any);
    return any && fd == -EADDRINUSE ? bind_as(info, true) : fd;
}

int listener_bind(const char *option, const char *address, const char *scheme, struct listener *out,
                  struct err *err)
{
    char host[256];
    const char *port;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    uint64_t number;
    if (split_address(address, host, sizeof(host), &port) != 0 ||
        str_to_u64(str_from(port), 65535, &number) != 0 ||
        getaddrinfo(host, port, &hints, &list) != 0)
        return err_set(err, -EINVAL,
                       "%s '%s' is not an address; write HOST:PORT, such as 127.0.0.1:8888", option,
                       address);
    out->fd = bind_one(list);
    freeaddrinfo(list);
    if (out->fd == -EADDRINUSE)
        return err_set(
            err, out->fd,
            "%s is in use already; stop the other program, or take another port with %s %s:0",
            address, option, host);
    if (out->fd < 0)
        return err_set(err, out->fd, "cannot listen on %s: %s", address, strerror(-out->fd));
    describe(out->fd, scheme, out->url, sizeof(out->url));
    return 0;
}

int listener_adopt(int fd, const char *scheme, struct listener *out, struct err *err)
{
    int listens = 0, domain = 0;
    socklen_t len = sizeof(listens), domain_len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) != 0)
        return err_set(err, -errno, "descriptor %d is no socket: %s", fd, strerror(errno));
    if (listens == 0 || (domain != AF_INET && domain != AF_INET6))
        return err_set(err, -EINVAL, "descriptor %d is no TCP socket that listens", fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return err_set(err, -errno, "descriptor %d: %s", fd, strerror(errno));
    out->fd = fd;
    describe(fd, scheme, out->url, sizeof(out->url));
    return 0;
}

/* The socket is tied to a network interface that there is not: what comes from any other is none of
 * its business, and the kernel answers as it does where nobody listens. Connections that came
 * before have their own. Linux lets everybody do this, once with each socket (since 5.7). */
int listener_end(int fd)
{
    const int nowhere = INT_MAX;
    int now = 0;
    socklen_t len = sizeof(now);
    if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &now, &len) == 0 && now == nowhere)
        return 0;
    int rc = setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere));
    return rc == 0 ? 0 : -errno;
}
