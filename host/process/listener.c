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
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

enum { BACKLOG = 511 };

#define UNIX_PREFIX "unix:"

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
    if (address.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&address;
        bool named = un->sun_path[0] != '\0'; /* else it has no file, as unix(7) says */
        snprintf(url, size, UNIX_PREFIX "%s%.107s", named ? "" : "@", un->sun_path + !named);
        return;
    }
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
    if (set && bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
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

/* ---- unix sockets ---- */

static ino_t file_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

/* A file that nobody listens at. Anything but a refusal says that somebody does, or that we may not
 * know. */
static bool is_stale(const struct sockaddr_un *name)
{
    if (file_of(name->sun_path) == 0)
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)name, sizeof(*name)) != 0 &&
                   errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

static int bind_file(int fd, const struct sockaddr_un *name)
{
    mode_t before = umask(0117); /* so that it is never open to others, nor shut to its group */
    int error = bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 ? 0 : errno;
    if (error == EADDRINUSE && is_stale(name) && unlink(name->sun_path) == 0)
        error = bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 ? 0 : errno;
    umask(before);
    return error == 0 && listen(fd, BACKLOG) != 0 ? errno : error;
}

/* Two that begin at the same time must not both find a stale file: the second would remove the
 * first one's. So each looks while it has the folder's lock; where there are none, without. */
static int lock_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)len,
             slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        (void)flock(fd, LOCK_EX);
    return fd;
}

/* A descriptor or a negative errno. */
static int bind_unix(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof(name.sun_path))
        return -EINVAL;
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int lock = lock_folder(path);
    int error = bind_file(fd, &name);
    if (lock >= 0)
        close(lock);
    if (error == 0)
        return fd;
    close(fd);
    return -error;
}

bool listener_names_file(const char *address)
{
    return strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
}

int listener_bind_file(const char *option, const char *address, struct listener *out,
                       struct err *err)
{
    const char *path = address + strlen(UNIX_PREFIX);
    out->fd = bind_unix(path);
    if (out->fd == -EINVAL)
        return err_set(err, -EINVAL,
                       "%s '%s' names no file of 1 to %zu bytes, as %s unix:/run/luafn.sock",
                       option, address, sizeof(((struct sockaddr_un *)0)->sun_path) - 1, option);
    if (out->fd == -EADDRINUSE)
        return err_set(err, out->fd,
                       "%s: another program listens there, or it is no socket; stop it, or name "
                       "another file",
                       address);
    if (out->fd < 0)
        return err_set(err, out->fd, "cannot listen on %s: %s", address, strerror(-out->fd));
    snprintf(out->url, sizeof(out->url), "%s", address);
    out->file = file_of(path);
    return 0;
}

void listener_remove(const struct listener *listener)
{
    const char *path = listener->url + strlen(UNIX_PREFIX);
    if (listener->file != 0 && file_of(path) == listener->file)
        unlink(path);
}

int listener_give(const struct listener *listener, uid_t user, gid_t group)
{
    return listener->file == 0 || lchown(listener->url + strlen(UNIX_PREFIX), user, group) == 0
               ? 0
               : -errno;
}

/* ---- of others, and the end ---- */

int listener_adopt(int fd, const char *scheme, struct listener *out, struct err *err)
{
    int listens = 0, domain = 0, type = 0;
    socklen_t len = sizeof(listens), domain_len = sizeof(domain), type_len = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) != 0)
        return err_set(err, -errno, "descriptor %d is no socket: %s", fd, strerror(errno));
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 || listens == 0 ||
        type != SOCK_STREAM || (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX))
        return err_set(err, -EINVAL, "descriptor %d is no TCP or unix socket that listens", fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return err_set(err, -errno, "descriptor %d: %s", fd, strerror(errno));
    out->fd = fd;
    describe(fd, scheme, out->url, sizeof(out->url));
    out->file = listener_names_file(out->url) ? file_of(out->url + strlen(UNIX_PREFIX)) : 0;
    return 0;
}

/* The socket is tied to a network interface that there is not: what comes from any other is none of
 * its business, and the kernel answers as it does where nobody listens. Connections that came
 * before have their own. Linux lets everybody do this, once with each socket (since 5.7). */
int listener_end(int fd)
{
    const int nowhere = INT_MAX;
    int now = 0, domain = 0;
    socklen_t len = sizeof(now), domain_len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &now, &len) == 0 && now == nowhere)
        return 0;
    int rc = setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere));
    return rc == 0 ? 0 : -errno;
}
