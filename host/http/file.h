/* Files whose bytes are an answer's body.
 *
 * A large file is sent in pieces, as its reader takes them, and stays open for as long as that
 * lasts. Who sends the same file shares its descriptor, so that many slow readers of one file, or
 * one client that asks for it again and again, take one; and so many may be open that enough are
 * left for connections. One thread alone takes and releases files; any may read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/str.h"

/* The bytes of a file at one time: other bytes have another identity. Without padding. */
struct file_id {
    uint64_t device, inode, size;
    int64_t modified, modified_ns, changed, changed_ns;
};

struct file;

/* A file, or a part of it, as a response's body. In the exchange's arena. */
struct file_body {
    struct file_id id;
    bool settled;      /* it was not just written: the identity holds */
    struct str type;   /* media type; static */
    struct file *file; /* reference; NULL: nothing is read, as for HEAD */
    uint64_t offset;   /* of what is to be sent next, */
    uint64_t left;     /* and so much */
};

struct file_id file_id_of(const struct stat *st);
bool file_id_eq(const struct file_id *a, const struct file_id *b);

/* May the file not change any more without another identity? Not so while its last change is as
 * fresh as the clocks of file systems are coarse. */
bool file_is_settled(const struct file_id *id);

/* A reference. Takes `fd` over, and closes it when that file is open already. NULL with errno
 * EMFILE where too many are, or ENOMEM. */
struct file *file_take(int fd, const struct file_id *id);
void file_hold(struct file *file);
/* A void pointer, so that an arena can defer it. */
void file_release(void *file);

/* Reads `len` bytes; 0, or a negative errno: -ENODATA where the file has become shorter. */
int file_read_fd(int fd, char *out, size_t len, uint64_t offset)
    __attribute__((warn_unused_result));
int file_read(const struct file *file, char *out, size_t len, uint64_t offset)
    __attribute__((warn_unused_result));

/* The next `len` bytes of a body, at most what is left. As file_read. */
int file_body_read(struct file_body *body, char *out, size_t len)
    __attribute__((warn_unused_result));
