/* Open files, shared: see file.h. */
#include "http/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/list.h"

enum { SHELVES = 64 };

struct file {
    struct list node; /* on its shelf */
    unsigned refs;
    int fd;
    struct file_id id;
};

/* All open ones, by inode. */
static struct list shelves[SHELVES];
static unsigned open_count, open_max;

struct file_id file_id_of(const struct stat *st)
{
    return (struct file_id){.device = st->st_dev,
                            .inode = st->st_ino,
                            .size = (uint64_t)st->st_size,
                            .modified = st->st_mtim.tv_sec,
                            .modified_ns = st->st_mtim.tv_nsec,
                            .changed = st->st_ctim.tv_sec,
                            .changed_ns = st->st_ctim.tv_nsec};
}

bool file_id_eq(const struct file_id *a, const struct file_id *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool file_is_settled(const struct file_id *id)
{
    return id->modified + LIMIT_FILE_UNSETTLED <= (int64_t)time(NULL);
}

/* A share of what the process may open. */
static unsigned most(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > 8 * LIMIT_FILES_OPEN)
        return LIMIT_FILES_OPEN;
    return (unsigned)files.rlim_cur / 8;
}

static struct list *shelf_of(const struct file_id *id)
{
    if (open_max == 0) {
        open_max = most();
        for (unsigned i = 0; i < SHELVES; i++)
            list_init(&shelves[i]);
    }
    return &shelves[id->inode % SHELVES];
}

static struct file *find(struct list *shelf, const struct file_id *id)
{
    list_each(node, shelf)
    {
        struct file *file = container_of(node, struct file, node);
        if (file_id_eq(&file->id, id))
            return file;
    }
    return NULL;
}

struct file *file_take(int fd, const struct file_id *id)
{
    struct list *shelf = shelf_of(id);
    struct file *file = find(shelf, id);
    if (file != NULL) {
        close(fd);
        file->refs++;
        return file;
    }
    file = open_count < open_max ? malloc(sizeof(*file)) : NULL;
    if (file == NULL) {
        close(fd);
        errno = open_count < open_max ? ENOMEM : EMFILE;
        return NULL;
    }
    *file = (struct file){.refs = 1, .fd = fd, .id = *id};
    list_push(shelf, &file->node);
    open_count++;
    return file;
}

void file_hold(struct file *file)
{
    file->refs++;
}

void file_release(void *arg)
{
    struct file *file = arg;
    if (--file->refs > 0)
        return;
    list_remove(&file->node);
    close(file->fd);
    free(file);
    open_count--;
}

/* ---- reading ---- */

int file_read_fd(int fd, char *out, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, out + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        done += (size_t)n;
    }
    return 0;
}

int file_read(const struct file *file, char *out, size_t len, uint64_t offset)
{
    return file_read_fd(file->fd, out, len, offset);
}

int file_body_read(struct file_body *body, char *out, size_t len)
{
    int rc = file_read(body->file, out, len, body->offset);
    if (rc != 0)
        return rc;
    body->offset += len;
    body->left -= len;
    return 0;
}
