/* What the kernel takes away from a process. */
#include "process/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- files: Landlock ---- */

enum {
    READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    /* Of these, folders have more than files. */
    FILE_RIGHTS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE,
    WRITE = READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
            LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE,
    EVERYTHING = LANDLOCK_ACCESS_FS_EXECUTE | WRITE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                 LANDLOCK_ACCESS_FS_MAKE_SYM
};

/* For libraries, certificates, names and their servers, time zones, random bytes. */
static const char *const system_paths[] = {"/usr",
                                           "/lib",
                                           "/lib64",
                                           "/etc",
                                           "/dev",
                                           "/run/systemd",
                                           "/run/nscd",
                                           "/run/resolvconf",
                                           "/proc/self",
                                           "/proc/sys",
                                           "/sys/devices/system/cpu",
                                           "/nix/store",
                                           NULL};

static int allow(int rules, const char *path, uint64_t rights, struct err *err)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == EACCES
                   ? 0
                   : err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rights &= FILE_RIGHTS;
    const struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    long rc = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = errno;
    close(fd);
    return rc == 0 ? 0 : err_set(err, -error, "landlock, %s: %s", path, strerror(error));
}

static int allow_all(int rules, const struct confine *confine, struct err *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && system_paths[i] != NULL; i++)
        rc = allow(rules, system_paths[i], READ, err);
    for (unsigned i = 0; rc == 0 && i < confine->readable_count; i++)
        rc = allow(rules, confine->readable[i], READ, err);
    for (unsigned i = 0; rc == 0 && i < confine->writable_count; i++)
        rc = allow(rules, confine->writable[i], WRITE, err);
    return rc;
}

static int confine_files(const struct confine *confine, bool *done, struct err *err)
{
    const struct landlock_ruleset_attr attributes = {.handled_access_fs = EVERYTHING};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
    *done = rules >= 0;
    if (rules < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP
                   ? 0
                   : err_set(err, -errno, "landlock: %s", strerror(errno));
    int rc = allow_all(rules, confine, err);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        rc = err_set(err, -errno, "landlock: %s", strerror(errno));
    close(rules);
    return rc;
}

/* ---- system calls: seccomp ---- */

/* What a worker never does. A list of what it may do would be shorter to explain, but a new version
 * of the C library would break it. */
static const int refused[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(syslog),
    SCMP_SYS(personality),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(capset),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(nfsservctl),
#if !defined(__SANITIZE_ADDRESS__)
    SCMP_SYS(ptrace), /* looking for leaks at the end takes it */
#endif
};

/* Threads yes, processes no. The flags of clone3 lie where no filter can look: without it the C
 * library takes clone. */
static int add_clone(scmp_filter_ctx filter)
{
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
#if !defined(__SANITIZE_ADDRESS__)
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
#endif
    return rc;
}

/* TCP and UDP, and what names are resolved with: no raw packets, no odd protocols. */
static int add_sockets(scmp_filter_ctx filter)
{
    static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    int rc = 0;
    unsigned next = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(families) / sizeof(families[0]); i++) {
        for (; rc == 0 && next < families[i]; next++)
            rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_EQ, next, 0));
        next = families[i] + 1;
    }
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_GE, next, 0));
    static const unsigned internet[] = {AF_INET, AF_INET6};
    for (size_t i = 0; rc == 0 && i < sizeof(internet) / sizeof(internet[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2,
                              SCMP_A0(SCMP_CMP_EQ, internet[i], 0),
                              SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_RAW));
    return rc;
}

static int confine_calls(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < sizeof(refused) / sizeof(refused[0]); i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
        if (rc == -EDOM) /* this architecture has no such call */
            rc = 0;
    }
    if (rc == 0)
        rc = add_clone(filter);
    if (rc == 0)
        rc = add_sockets(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? 0 : err_set(err, rc, "seccomp: %s", strerror(-rc));
}

int confine_process(const struct confine *confine, bool *files, struct err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(err, -errno, "no_new_privs: %s", strerror(errno));
    int rc = confine_files(confine, files, err);
    return rc == 0 ? confine_calls(err) : rc;
}

/* ---- the user ---- */

int confine_to_user(const char *name, struct err *err)
{
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL)
        return err_set(err, -EINVAL, "there is no user '%s'", name);
    if (user->pw_uid == 0)
        return err_set(err, -EINVAL, "--user %s would drop nothing: name another user", name);
    uid_t uid = user->pw_uid;
    gid_t gid = user->pw_gid;
    if (getuid() == uid && geteuid() == uid)
        return 0;
    if (initgroups(name, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
        return err_set(err, -errno, "cannot become user %s: %s; --user is for who starts as root",
                       name, strerror(errno));
    /* It must not be possible to go back. */
    if (setuid(0) == 0 || getuid() != uid || geteuid() != uid || getegid() != gid)
        return err_set(err, -EPERM, "cannot become user %s for good", name);
    return 0;
}
