/* Writing lines without waiting. */
#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 20 }; /* for a reader that is only slow; none for one that has just failed */

struct sink {
    int fd;
    bool is_pipe; /* takes up to PIPE_BUF bytes whole or not at all */
    bool is_socket;
    bool is_stalled; /* the last write found no room */
    bool is_cut;     /* it ended within a line */
};

static struct sink sinks[2] = {{.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};

static void sink_open(struct sink *sink, int fd)
{
    struct stat about;
    char path[32];
    if (fstat(fd, &about) != 0)
        return;
    sink->is_pipe = S_ISFIFO(about.st_mode);
    sink->is_socket = S_ISSOCK(about.st_mode);
    /* A file that is opened once more would be written from its start. */
    if (!sink->is_pipe && !isatty(fd))
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0)
        sink->fd = own;
}

void log_sink_open(void)
{
    sink_open(&sinks[0], STDOUT_FILENO);
    sink_open(&sinks[1], STDERR_FILENO);
}

static ssize_t write_once(const struct sink *sink, struct str bytes)
{
    if (sink->is_socket)
        return send(sink->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write(sink->fd, bytes.ptr, bytes.len);
}

/* After EAGAIN: is there room before patience ends? */
static bool has_room(const struct sink *sink)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
    return !sink->is_stalled && poll(&ready, 1, PATIENCE_MS) == 1;
}

/* False: not all of it went out. */
static bool write_all(struct sink *sink, struct str bytes)
{
    size_t whole = bytes.len;
    while (bytes.len > 0) {
        ssize_t n = write_once(sink, bytes);
        if (n > 0)
            bytes = str_skip(bytes, (size_t)n);
        else if (!(n == -1 && (errno == EINTR || (errno == EAGAIN && has_room(sink)))))
            break;
    }
    sink->is_stalled = bytes.len > 0;
    sink->is_cut |= bytes.len > 0 && bytes.len < whole;
    return bytes.len == 0;
}

/* As many whole lines as go out at once; at least one. */
static struct str take_lines(const struct sink *sink, struct str *lines)
{
    struct str part = *lines;
    if (sink->is_pipe && part.len > PIPE_BUF) {
        const char *end = memrchr(part.ptr, '\n', PIPE_BUF);
        if (end == NULL)
            end = memchr(part.ptr, '\n', part.len);
        if (end != NULL)
            part.len = (size_t)(end - part.ptr) + 1;
    }
    *lines = str_skip(*lines, part.len);
    return part;
}

uint64_t log_sink_write(int fd, struct str lines)
{
    struct sink *sink = &sinks[fd == STDERR_FILENO];
    if (sink->is_cut && !write_all(sink, STR("\n")))
        return str_count(lines, '\n');
    sink->is_cut = false;
    while (lines.len > 0) {
        struct str part = take_lines(sink, &lines);
        if (!write_all(sink, part))
            return str_count(part, '\n') + str_count(lines, '\n');
    }
    return 0;
}
