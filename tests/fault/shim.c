/* Makes calls of the C library fail on demand: LD_PRELOAD it, name a control file in FAULT_FILE.
 *
 * The file is a row of 32-bit words (enum word) which the test writes and every process that has
 * the library maps. Kinds of calls are counted down; the call that takes `countdown` to zero
 * fails, alone or with all that follow until the test lifts that, as on a machine that is full.
 * Apart from that, reads and writes can be cut to single bytes, the log's descriptors be a full
 * disk, and clocks be set.
 *
 * Only sockets are meant by reads and writes (and files by single-byte reads): libuv ends the
 * process when its own wake-up descriptors fail, which the kernel never does. Descriptors 0 to 2
 * belong to the log. */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum word {
    PID,
    KINDS,
    COUNTDOWN,
    FOREVER,
    ERROR,
    TRICKLE,
    LOG_FULL,
    STRUCK,
    SEEN,
    CLOCK,
    BOOT,
    WORDS
};
enum kind {
    ALLOC = 1,
    READ = 2,
    WRITE = 4,
    ACCEPT = 8,
    EPOLL = 16,
    OPEN = 32,
    CONNECT = 64,
    SOCKET = 128,
    MAP = 256,
    FORK = 512
};
enum trickle { TRICKLE_READS = 1, TRICKLE_WRITES = 2 };

static _Atomic uint32_t nowhere[WORDS];
static _Atomic uint32_t *_Atomic control = nowhere;

/* ---- faults ---- */

void shim_end(void)
{
    control = nowhere;
}

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("FAULT_FILE");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = MAP_FAILED;
    if (fd >= 0) {
        map = mmap(NULL, sizeof(nowhere), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    if (map != MAP_FAILED)
        control = map;
}

static bool fails(uint32_t kind)
{
    if ((control[KINDS] & kind) == 0)
        return false;
    if (control[PID] != 0 && control[PID] != (uint32_t)getpid())
        return false;
    uint32_t seen = ++control[SEEN];
    if (seen != control[COUNTDOWN] && (seen < control[COUNTDOWN] || !control[FOREVER]))
        return false;
    control[STRUCK]++;
    errno = kind == ALLOC || kind == MAP ? ENOMEM : (int)control[ERROR];
    return true;
}

static mode_t mode_of(int fd)
{
    struct stat info;
    int kept = errno;
    mode_t mode = fd > 2 && fstat(fd, &info) == 0 ? info.st_mode : 0;
    errno = kept;
    return mode;
}

static bool socket_fails(int fd, uint32_t kind)
{
    return (control[KINDS] & kind) != 0 && S_ISSOCK(mode_of(fd)) && fails(kind);
}

/* The real function, found once; `name` is also its name here. */
#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

/* ---- memory: not beside a sanitizer, which has a malloc of its own ---- */
#ifndef FAULT_CALLS_ONLY

/* What dlsym itself asks for before the real functions are known; never given back. */
static _Alignas(max_align_t) char early[16 * 1024];
static size_t early_used;
static _Thread_local bool finding;

static bool is_early(const void *old)
{
    return (const char *)old >= early && (const char *)old < early + sizeof(early);
}

static void *early_alloc(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof(early) - early_used)
        return NULL;
    early_used += size;
    return early + early_used - size;
}

static void *find(const char *name)
{
    finding = true;
    void *found = dlsym(RTLD_NEXT, name);
    finding = false;
    return found;
}

void *malloc(size_t size)
{
    static void *(*real)(size_t);
    if (finding)
        return early_alloc(size);
    if (real == NULL)
        *(void **)&real = find("malloc");
    return fails(ALLOC) ? NULL : real(size);
}

void *calloc(size_t count, size_t size)
{
    static void *(*real)(size_t, size_t);
    if (finding)
        return early_alloc(count * size);
    if (real == NULL)
        *(void **)&real = find("calloc");
    return fails(ALLOC) ? NULL : real(count, size);
}

void *realloc(void *old, size_t size)
{
    static void *(*real)(void *, size_t);
    if (finding || is_early(old)) {
        void *copy = finding ? early_alloc(size) : malloc(size);
        if (copy != NULL && is_early(old)) {
            size_t left = (size_t)(early + sizeof(early) - (char *)old);
            memcpy(copy, old, size < left ? size : left);
        }
        return copy;
    }
    if (real == NULL)
        *(void **)&real = find("realloc");
    return fails(ALLOC) ? NULL : real(old, size);
}

void free(void *old)
{
    static void (*real)(void *);
    if (finding || is_early(old))
        return;
    if (real == NULL)
        *(void **)&real = find("free");
    real(old);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    REAL(posix_memalign);
    return fails(ALLOC) ? ENOMEM : real(out, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    REAL(aligned_alloc);
    return fails(ALLOC) ? NULL : real(alignment, size);
}

#endif

/* ---- sockets and files ---- */

static size_t cut_read(int fd, size_t size)
{
    if ((control[TRICKLE] & TRICKLE_READS) == 0 || size < 2)
        return size;
    mode_t mode = mode_of(fd);
    return S_ISSOCK(mode) || S_ISREG(mode) ? 1 : size;
}

static bool cuts_writes(int fd)
{
    return (control[TRICKLE] & TRICKLE_WRITES) != 0 && (fd <= 2 || S_ISSOCK(mode_of(fd)));
}

ssize_t read(int fd, void *to, size_t size)
{
    REAL(read);
    return socket_fails(fd, READ) ? -1 : real(fd, to, cut_read(fd, size));
}

ssize_t recv(int fd, void *to, size_t size, int flags)
{
    REAL(recv);
    return socket_fails(fd, READ) ? -1 : real(fd, to, cut_read(fd, size), flags);
}

/* A log is written to by write(2), or, where it is a socket, by send(2). */
static bool log_is_full(int fd)
{
    if ((fd != 1 && fd != 2) || (control[LOG_FULL] & (uint32_t)fd) == 0)
        return false;
    control[STRUCK]++;
    errno = ENOSPC;
    return true;
}

ssize_t write(int fd, const void *from, size_t size)
{
    REAL(write);
    if (log_is_full(fd) || socket_fails(fd, WRITE))
        return -1;
    return real(fd, from, size > 1 && cuts_writes(fd) ? 1 : size);
}

ssize_t send(int fd, const void *from, size_t size, int flags)
{
    REAL(send);
    if (log_is_full(fd) || socket_fails(fd, WRITE))
        return -1;
    return real(fd, from, size > 1 && cuts_writes(fd) ? 1 : size, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    if (socket_fails(fd, WRITE))
        return -1;
    for (int i = 0; i < count && cuts_writes(fd); i++) {
        if (parts[i].iov_len > 0)
            return write(fd, parts[i].iov_base, 1);
    }
    return real(fd, parts, count);
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
    REAL(accept4);
    return fails(ACCEPT) ? -1 : real(fd, address, len, flags);
}

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    return fails(SOCKET) ? -1 : real(domain, type, protocol);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap);
    return fails(MAP) ? MAP_FAILED : real(at, size, protection, flags, fd, offset);
}

int fcntl(int fd, int command, ...)
{
    REAL(fcntl);
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    bool copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
    return copies && fails(SOCKET) ? -1 : real(fd, command, argument);
}

pid_t fork(void)
{
    REAL(fork);
    return fails(FORK) ? -1 : real();
}

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
    REAL(connect);
    return fails(CONNECT) ? -1 : real(fd, address, len);
}

int epoll_ctl(int fd, int operation, int target, struct epoll_event *event)
{
    REAL(epoll_ctl);
    return fails(EPOLL) ? -1 : real(fd, operation, target, event);
}

static mode_t mode_argument(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return fails(OPEN) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return fails(OPEN) ? -1 : real(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    REAL(openat);
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return fails(OPEN) ? -1 : real(folder, path, flags, mode);
}

/* ---- clocks: by how many seconds the wall's has been set (signed), and the one since boot ---- */

int clock_gettime(clockid_t id, struct timespec *out)
{
    REAL(clock_gettime);
    int result = real(id, out);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        out->tv_sec += (int32_t)control[CLOCK];
    if (result == 0 && id == CLOCK_BOOTTIME)
        out->tv_sec += (int32_t)control[BOOT];
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    REAL(gettimeofday);
    int result = real(out, zone);
    out->tv_sec += (int32_t)control[CLOCK];
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
