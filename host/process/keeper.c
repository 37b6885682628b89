/* What is served, on its way to the next worker. */
#include "process/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int keeper_open(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0
               ? 0
               : -errno;
}

/* A descriptor, or a negative errno. */
static int write_file(struct str text)
{
    int file = memfd_create("luafn-kept", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int error = file >= 0 ? 0 : errno;
    while (error == 0 && text.len > 0) {
        ssize_t count = write(file, text.ptr, text.len);
        if (count < 0 && errno != EINTR)
            error = errno;
        text = str_skip(text, count > 0 ? (size_t)count : 0);
    }
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (error == 0 && fcntl(file, F_ADD_SEALS, seals) != 0)
        error = errno;
    if (error == 0)
        return file;
    if (file >= 0)
        close(file);
    return -error;
}

/* One byte, and room for one descriptor. */
struct parcel {
    char byte;
    struct iovec part;
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))];
    struct msghdr message; /* of the fields above */
};

static void parcel_init(struct parcel *parcel)
{
    *parcel = (struct parcel){.part = {.iov_base = &parcel->byte, .iov_len = 1},
                              .message = {.msg_iov = &parcel->part,
                                          .msg_iovlen = 1,
                                          .msg_control = parcel->room,
                                          .msg_controllen = sizeof(parcel->room)}};
}

int keeper_give(int fd, struct str text)
{
    int file = write_file(text);
    if (file < 0)
        return file;
    struct parcel parcel;
    parcel_init(&parcel);
    struct cmsghdr *header = CMSG_FIRSTHDR(&parcel.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(file));
    memcpy(CMSG_DATA(header), &file, sizeof(file));
    int rc = sendmsg(fd, &parcel.message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
    close(file);
    return rc;
}

/* False: nothing more has come. *file is -1 where a message had none. */
static bool receive(int fd, int *file)
{
    struct parcel parcel;
    parcel_init(&parcel);
    *file = -1;
    if (recvmsg(fd, &parcel.message, MSG_CMSG_CLOEXEC) <= 0)
        return false;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&parcel.message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(file, CMSG_DATA(header), sizeof(*file));
    return true;
}

void keeper_take(int fd, int *file)
{
    int newer;
    while (receive(fd, &newer)) {
        if (newer < 0)
            continue;
        if (*file >= 0)
            close(*file);
        *file = newer;
    }
}

struct kept *keeper_read(int file)
{
    struct buf text = BUF_INIT;
    ssize_t count = 1;
    while (file >= 0 && count > 0 && buf_reserve(&text, 64 * 1024) == 0) {
        count = pread(file, text.data + text.len, text.cap - text.len, (off_t)text.len);
        text.len += count > 0 ? (size_t)count : 0;
    }
    struct kept *kept = file >= 0 && count == 0 ? kept_read(buf_str(&text)) : NULL;
    buf_free(&text);
    if (file >= 0)
        close(file);
    return kept;
}
