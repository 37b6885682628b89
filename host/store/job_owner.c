#include "store/job_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/siphash.h"

enum { NUMBER_AT = 17, DIGITS = 16 };

static const uint64_t NUMBER_MASK = INT64_MAX >> 1; /* an offset in a file, and one behind it */

/* The same for all processes of this machine, since it was started, that know the file. */
static uint64_t machine_of(int fd)
{
    static const uint64_t key[2] = {0x6c7561666e, 0x6d616368696e65};
    char boot[64] = "";
    struct stat st = {0};
    struct {
        char boot[sizeof(boot)];
        uint64_t device, node;
    } all;
    int at = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (at >= 0) {
        ssize_t got = read(at, boot, sizeof(boot) - 1);
        boot[got > 0 ? got : 0] = '\0';
        close(at);
    }
    (void)!fstat(fd, &st);
    memset(&all, 0, sizeof(all));
    memcpy(all.boot, boot, sizeof(boot));
    all.device = st.st_dev;
    all.node = st.st_ino;
    return siphash(key, (struct str){(const char *)&all, sizeof(all)}).low;
}

static struct flock byte_of(uint64_t number)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)number, .l_len = 1};
}

int job_owner_open(struct job_owner *owner, const char *file, struct err *err)
{
    uint64_t random[2];
    *owner = (struct job_owner){.fd = -1};
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set(err, -EIO, "no random bytes");
    uint64_t number = random[0] & NUMBER_MASK;
    if (file != NULL) {
        owner->fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct flock lock = byte_of(number);
        if (owner->fd < 0 || fcntl(owner->fd, F_OFD_SETLK, &lock) != 0) {
            int rc = -errno;
            job_owner_close(owner);
            return err_set(err, rc, "%s: %s", file, strerror(-rc));
        }
        random[1] = machine_of(owner->fd);
    }
    snprintf(owner->text, sizeof(owner->text), "%016llx-%016llx", (unsigned long long)random[1],
             (unsigned long long)number);
    return 0;
}

void job_owner_close(struct job_owner *owner)
{
    if (owner->fd >= 0)
        close(owner->fd);
    owner->fd = -1;
}

bool job_owner_is_gone(const struct job_owner *owner, struct str other)
{
    char digits[DIGITS + 1];
    if (owner->fd < 0 || other.len != JOB_OWNER_BYTES ||
        !str_starts_with(other, job_owner_machine(owner)) || str_eq(other, str_from(owner->text)))
        return false;
    memcpy(digits, other.ptr + NUMBER_AT, DIGITS);
    digits[DIGITS] = '\0';
    struct flock lock = byte_of(strtoull(digits, NULL, 16) & NUMBER_MASK);
    return fcntl(owner->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}
