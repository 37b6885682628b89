/* The service manager. */
#include "process/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

enum { FIRST_FD = 3 };

bool notify_wanted(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    return name != NULL && (name[0] == '/' || name[0] == '@');
}

static void send_text(const char *text, size_t len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = getenv("NOTIFY_SOCKET");
    size_t name_len = name != NULL ? strlen(name) : sizeof(address.sun_path);
    if (name_len >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, name, name_len);
    if (name[0] == '@')
        address.sun_path[0] =
            '\0'; /* an abstract name: as long as it is, without a NUL at its end */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* Not waited for: a manager that does not read must not stop us. */
    (void)!sendto(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
                  size);
    close(fd);
}

void notify_send(const char *format, ...)
{
    char text[512];
    va_list args;
    if (!notify_wanted())
        return;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof(text))
        send_text(text, (size_t)len);
}

static bool read_number(const char *name, uint64_t max, uint64_t *out)
{
    const char *text = getenv(name);
    return text != NULL && str_to_u64(str_from(text), max, out) == 0;
}

static bool is_this_process(const char *name)
{
    uint64_t pid;
    return getenv(name) == NULL || (read_number(name, UINT32_MAX, &pid) && (pid_t)pid == getpid());
}

uint64_t notify_watchdog(void)
{
    uint64_t microseconds;
    if (!notify_wanted() || !is_this_process("WATCHDOG_PID") ||
        !read_number("WATCHDOG_USEC", UINT64_MAX / 1000, &microseconds))
        return 0;
    return microseconds * 1000 / 2; /* twice as often as it must be */
}

/* The names are parted by colons, in the order of the descriptors. */
static void name_sockets(struct notify_socket *list, unsigned count)
{
    const char *text = getenv("LISTEN_FDNAMES");
    struct str names = str_from(text != NULL ? text : ""), name;
    for (unsigned i = 0; i < count; i++) {
        bool known = names.len > 0 && str_split_next(&names, ':', &name) && name.len > 0;
        struct str shown = known ? name : STR("unknown");
        snprintf(list[i].name, sizeof(list[i].name), "%.*s", STR_ARG(shown));
    }
}

unsigned notify_sockets(struct notify_socket *out, unsigned max)
{
    uint64_t count = 0;
    if (getenv("LISTEN_PID") == NULL || !is_this_process("LISTEN_PID") ||
        !read_number("LISTEN_FDS", max, &count))
        count = 0;
    for (unsigned i = 0; i < count; i++)
        out[i].fd = FIRST_FD + (int)i;
    name_sockets(out, (unsigned)count);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return (unsigned)count;
}
