/* Small files, whole. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

int file_read_rest(int fd, size_t limit, struct buf *out)
{
    for (;;) {
        if (out->len > limit)
            return -EFBIG;
        if (buf_reserve(out, 16 * 1024) != 0)
            return -ENOMEM;
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len);
        if (n == 0)
            return 0;
        if (n > 0)
            out->len += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
}

int file_read_all(const char *path, int flags, size_t limit, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd == -1)
        return -errno;
    int rc = file_read_rest(fd, limit, out);
    close(fd);
    return rc;
}

int file_create(const char *path, struct str text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd == -1)
        return -errno;
    int rc = 0;
    while (text.len > 0 && rc == 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n >= 0)
            text = str_skip(text, (size_t)n);
        else if (errno != EINTR)
            rc = -errno;
    }
    if (close(fd) != 0 && rc == 0)
        rc = -errno;
    return rc;
}
