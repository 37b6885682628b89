/* host/confine: what is refused afterwards, and what still works. Each case in a process of its
 * own. */
#include "process/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

static char folder[64];
static bool has_landlock;
static bool has_seccomp; /* not under valgrind, which itself needs what a filter refuses */

static void path_of(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", folder, name);
}

/* Runs `check` in a confined child; its number is 0 or the line that is wrong. */
static int confined(int (*check)(void))
{
    char readable[96], writable[96];
    int status = -1;
    path_of("read", readable, sizeof(readable));
    path_of("write", writable, sizeof(writable));
    const struct confine confine = {{readable}, 1, {writable}, 1};
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        bool files;
        if (confine_process(&confine, &files, &err) != 0 || files != has_landlock)
            _exit(255);
        _exit(check() & 0xff);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 254;
}

#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

static int try_open(const char *name, int flags)
{
    char path[128];
    path_of(name, path, sizeof(path));
    int fd = open(path, flags, 0600);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : error;
}

static int files(void)
{
    char path[128], to[128];
    WANT(try_open("read/file", O_RDONLY) == 0);
    WANT(try_open("read/file", O_WRONLY) == EACCES);
    WANT(try_open("read/new", O_WRONLY | O_CREAT) == EACCES);
    WANT(try_open("other/file", O_RDONLY) == EACCES);
    WANT(try_open("read/link", O_RDONLY) == EACCES); /* leads to other/file */
    WANT(try_open("write/file", O_RDWR) == 0);
    WANT(try_open("write/new", O_RDWR | O_CREAT) == 0);
    path_of("write/new", path, sizeof(path));
    path_of("write/renamed", to, sizeof(to));
    WANT(rename(path, to) == 0 && unlink(to) == 0);
    path_of("write/socket", path, sizeof(path));
    WANT(mknod(path, S_IFIFO | 0600, 0) == -1);
    WANT(open("/etc/passwd", O_RDONLY) >= 0);
    WANT(open("/etc/passwd", O_WRONLY) == -1 && errno == EACCES);
    WANT(open("/root", O_RDONLY | O_DIRECTORY) == -1 && errno == EACCES);
    return 0;
}

static void *in_thread(void *arg)
{
    *(int *)arg = 1;
    return NULL;
}

static int processes(void)
{
    char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    WANT(execv("/bin/true", argv) == -1 && (errno == EPERM || errno == EACCES));
    WANT(syscall(SYS_unshare, CLONE_NEWUSER) == -1 && errno == EPERM);
    WANT(syscall(SYS_setuid, 0) == -1 && errno == EPERM);
    WANT(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == EPERM);
#if !defined(__SANITIZE_ADDRESS__)
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    WANT(pid == -1 && errno == EPERM);
#endif
    pthread_t thread;
    int ran = 0;
    WANT(pthread_create(&thread, NULL, in_thread, &ran) == 0);
    WANT(pthread_join(thread, NULL) == 0 && ran == 1);
    return 0;
}

static int sockets(void)
{
    static const int good[] = {AF_UNIX, AF_INET, AF_INET6};
    for (size_t i = 0; i < 3; i++)
        WANT(socket(good[i], SOCK_STREAM, 0) >= 0 || errno == EAFNOSUPPORT);
    WANT(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0);
    WANT(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0); /* getaddrinfo asks for addresses */
    WANT(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EAFNOSUPPORT);
    WANT(socket(AF_VSOCK, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT);
    WANT(socket(AF_INET, SOCK_RAW, 1) == -1 && errno == EPERM);
    WANT(socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK, 58) == -1 && errno == EPERM);
    return 0;
}

static void confined_files(void **state)
{
    (void)state;
    if (!has_landlock)
        skip();
    assert_int_equal(confined(files), 0);
}

static void confined_processes(void **state)
{
    (void)state;
    if (!has_seccomp)
        skip();
    assert_int_equal(confined(processes), 0);
}

static void confined_sockets(void **state)
{
    (void)state;
    if (!has_seccomp)
        skip();
    assert_int_equal(confined(sockets), 0);
}

static void users_that_drop_nothing_are_refused(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(confine_to_user("root", &err), -EINVAL);
    assert_int_equal(confine_to_user("no-such-user-here", &err), -EINVAL);
}

static int become_nobody(void)
{
    struct err err;
    WANT(confine_to_user("nobody", &err) == 0);
    WANT(getuid() != 0 && geteuid() != 0 && getgid() != 0);
    WANT(setuid(0) == -1 && seteuid(0) == -1 && setgid(0) == -1);
    WANT(open("/etc/shadow", O_RDONLY) == -1);
    WANT(confine_to_user("nobody", &err) == 0); /* as an upgraded program does */
    WANT(confine_to_user("daemon", &err) != 0);
    return 0;
}

static void a_user_is_for_good(void **state)
{
    (void)state;
    int status = -1;
    if (geteuid() != 0)
        skip();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(become_nobody() & 0xff);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int make_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"read", "write", "other"};
    char path[128], target[128];
    strcpy(folder, "/var/tmp/luafn-confine-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    for (size_t i = 0; i < 3; i++) {
        path_of(names[i], path, sizeof(path));
        if (mkdir(path, 0755) != 0)
            return -1;
        strcat(path, "/file");
        close(open(path, O_CREAT | O_WRONLY, 0644));
    }
    path_of("other/file", target, sizeof(target));
    path_of("read/link", path, sizeof(path));
    has_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
    uint32_t action = SECCOMP_RET_ERRNO;
    has_seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    return symlink(target, path);
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confined_files),     cmocka_unit_test(confined_processes),
        cmocka_unit_test(confined_sockets),   cmocka_unit_test(users_that_drop_nothing_are_refused),
        cmocka_unit_test(a_user_is_for_good),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
