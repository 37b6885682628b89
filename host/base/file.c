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

int file_create(const char *path, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd == -1)
        return -errno;
    ssize_t n = write(fd, text.ptr, text.len);
    int rc = n == (ssize_t)text.len ? 0 : -EIO;
    if (close(fd) != 0)
        rc = -errno;
    return rc;
}
