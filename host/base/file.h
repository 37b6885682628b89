/* Small files, whole. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

/* Is there something of that name, if only a link that leads nowhere? */
bool file_exists(const char *path);

/* Appends what is left of `fd`. 0, -EFBIG once `out` has more than `limit` bytes, -ENOMEM, or what
 * the system says; `out` has what was read so far. */
int file_read_rest(int fd, size_t limit, struct buf *out) __attribute__((warn_unused_result));

/* Opens that file (`flags`: O_NOFOLLOW and the like) and appends what is in it, in the same way. */
int file_read_all(const char *path, int flags, size_t limit, struct buf *out)
    __attribute__((warn_unused_result));

/* Writes a new file, never through a link; -EEXIST where there is one. 0 or a negative errno. */
int file_create(const char *path, struct str text, mode_t mode) __attribute__((warn_unused_result));
