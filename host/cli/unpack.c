/* The program with a deployment in its own file.
 *
 * The folder is locked (shared) by all processes that use it, for as long as they live: whoever can
 * lock it alone knows that it was left behind. systemd-tmpfiles leaves such folders alone, too. */
#include "cli/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/place.h"
#include "cli/pack_archive.h"

#define PREFIX "luafn-packed-"

enum { DESCRIPTORS = 16, FOLDER_TRIES = 8 };

static struct {
    char folder[PATH_MAX - LIMIT_PACK_NAME - 1]; /* empty: nothing is unpacked */
    char config[PATH_MAX], place[PATH_MAX];
    int lock;    /* a descriptor */
    pid_t owner; /* who removes it; workers are its children */
} packed;

bool unpack_is_needed(void)
{
    static int known = -1;
    uint64_t program_len;
    struct stat st;
    if (known >= 0)
        return known != 0;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    known =
        fd >= 0 && fstat(fd, &st) == 0 &&
        (pack_archive_program(fd, &program_len, NULL) != 0 || program_len < (uint64_t)st.st_size);
    if (fd >= 0)
        close(fd);
    return known != 0;
}

/* ---- the folder ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

static void remove_folder(const char *path)
{
    (void)nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}

static void on_exit_remove(void)
{
    if (packed.folder[0] != '\0' && getpid() == packed.owner)
        remove_folder(packed.folder);
}

static const char *parent_folder(void)
{
    const char *parent = getenv("TMPDIR");
    return parent != NULL && parent[0] == '/' ? parent : "/tmp";
}

/* Those of ours that nobody has locked. */
static void remove_left(const char *parent)
{
    DIR *dir = opendir(parent);
    struct stat st;
    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 ||
            snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name) >= (int)sizeof(path))
            continue;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
            flock(fd, LOCK_EX | LOCK_NB) == 0)
            remove_folder(path);
        if (fd >= 0)
            close(fd);
    }
    if (dir != NULL)
        closedir(dir);
}

/* Locked, by a descriptor that stays open. Between the folder's making and its lock another start
 * may take it for left behind: then another is made. */
static int make_folder(const char *parent, struct err *err)
{
    for (unsigned i = 0; i < FOLDER_TRIES; i++) {
        struct stat st;
        if (snprintf(packed.folder, sizeof(packed.folder), "%s/" PREFIX "XXXXXX", parent) >=
            (int)sizeof(packed.folder))
            break;
        if (mkdtemp(packed.folder) == NULL) {
            int error = errno;
            packed.folder[0] = '\0';
            return err_set(err, -error,
                           "%s: %s; TMPDIR names the folder in which the deployment is unpacked",
                           parent, strerror(error));
        }
        packed.lock = open(packed.folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (packed.lock >= 0 && flock(packed.lock, LOCK_SH) == 0 && fstat(packed.lock, &st) == 0 &&
            st.st_nlink > 0)
            return 0;
        if (packed.lock >= 0)
            close(packed.lock);
    }
    packed.folder[0] = '\0';
    return err_set(err, -EIO, "%s: no folder can be made in it", parent);
}

/* ---- what goes into it ---- */

static int make_folders(char *path, size_t from)
{
    int rc = 0;
    for (char *slash = strchr(path + from, '/'); rc == 0 && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
        *slash = '/';
    }
    return rc;
}

static int unpack_file(const struct pack_file *file, struct err *err)
{
    char path[PATH_MAX];
    size_t from = strlen(packed.folder) + 1;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)file->changed}};
    snprintf(path, sizeof(path), "%s/%.*s", packed.folder, STR_ARG(file->name));
    int rc = make_folders(path, from);
    if (rc == 0)
        rc = file_create(path, file->bytes, 0600);
    if (rc == 0 && utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) != 0)
        rc = -errno;
    return rc == 0 ? 0 : err_set(err, rc, "%s cannot be written: %s", path, strerror(-rc));
}

static int unpack(const struct pack_archive *archive, struct err *err)
{
    const char *parent = parent_folder();
    if (getcwd(packed.place, sizeof(packed.place)) == NULL)
        return err_set(err, -errno, "the current folder: %s", strerror(errno));
    remove_left(parent);
    int rc = make_folder(parent, err);
    if (rc != 0)
        return rc;
    packed.owner = getpid();
    if (atexit(on_exit_remove) != 0)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; rc == 0 && i < archive->file_count; i++)
        rc = unpack_file(&archive->files[i], err);
    snprintf(packed.config, sizeof(packed.config), "%s/%.*s", packed.folder,
             STR_ARG(archive->config));
    place_set(str_from(packed.place));
    return rc;
}

int unpack_open(const char **config_file, struct err *err)
{
    struct pack_archive archive;
    struct err reason;
    *config_file = packed.config;
    if (packed.config[0] != '\0')
        return 0;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "this file cannot be read: %s", strerror(errno));
    int rc = pack_archive_open(fd, &archive, &reason);
    close(fd);
    if (rc != 0)
        return err_set(err, rc, "this file is not served: %s", reason.text);
    rc = unpack(&archive, err);
    pack_archive_free(&archive);
    return rc;
}

/* ---- another user ---- */

static struct {
    uid_t uid;
    gid_t gid;
    int rc;
} giving;

static int give_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    if (giving.rc == 0 && lchown(path, giving.uid, giving.gid) != 0)
        giving.rc = -errno;
    return 0;
}

int unpack_give(uid_t uid, gid_t gid)
{
    giving.uid = uid;
    giving.gid = gid;
    giving.rc = 0;
    if (packed.folder[0] != '\0' && nftw(packed.folder, give_one, DESCRIPTORS, FTW_PHYS) != 0 &&
        giving.rc == 0)
        giving.rc = -errno;
    return giving.rc;
}
