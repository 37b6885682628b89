/* Is the embedded store's file good?
 *
 * LMDB trusts its file: where a page is damaged, reading may end in a fault of memory. So a child
 * process reads all of it, and how that ends is the answer. Besides what LMDB sees by itself, the
 * keys of each table must ascend (which also ends a walk in circles), the counts be right, and the
 * checksum of every record. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/file.h"

enum { CHILD_GOOD = 0, CHILD_DAMAGED = 10, CHILD_CANNOT = 11, FREE_PAGES_TABLE = 0 };

/* ---- in the child ---- */

static bool ascends(struct str before, struct str key)
{
    size_t shared = before.len < key.len ? before.len : key.len;
    int order = memcmp(before.ptr, key.ptr, shared);
    return order < 0 || (order == 0 && before.len < key.len);
}

static bool look_at_record(const struct file *file, struct str key, struct str value)
{
    struct record record;
    return record_read(key, value, file->seed, &record) == 0;
}

static int walk_table(const struct file *file, MDB_txn *txn, MDB_dbi table, bool records)
{
    MDB_cursor *cursor;
    MDB_stat stat;
    MDB_val key, value;
    struct record_key before = {0};
    size_t count = 0;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (key.mv_size > sizeof(before.bytes))
            return MDB_CORRUPTED;
        if (count > 0 &&
            !ascends((struct str){(const char *)before.bytes, before.len}, file_str(key)))
            return MDB_CORRUPTED;
        memcpy(before.bytes, key.mv_data, key.mv_size);
        before.len = key.mv_size;
        if (records && !look_at_record(file, file_str(key), file_str(value)))
            return MDB_CORRUPTED;
        count++;
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND)
        rc = mdb_stat(txn, table, &stat);
    return rc == 0 && stat.ms_entries != count ? MDB_CORRUPTED : rc;
}

/* The lists of free pages: a page that is not one would be written over. */
static int walk_free_pages(const struct file *file, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_envinfo info;
    MDB_val key, value;
    int rc = mdb_env_info(file->env, &info);
    if (rc == 0)
        rc = mdb_cursor_open(txn, FREE_PAGES_TABLE, &cursor);
    if (rc != 0)
        return rc;
    size_t last_txn = 0;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t id, count, page;
        if (key.mv_size != sizeof(id) || value.mv_size < sizeof(count))
            return MDB_CORRUPTED;
        memcpy(&id, key.mv_data, sizeof(id));
        memcpy(&count, value.mv_data, sizeof(count));
        if (id <= last_txn || count > value.mv_size / sizeof(page) - 1)
            return MDB_CORRUPTED;
        last_txn = id;
        for (size_t i = 1; i <= count; i++) {
            memcpy(&page, (const char *)value.mv_data + i * sizeof(page), sizeof(page));
            if (page < 2 || page > info.me_last_pgno)
                return MDB_CORRUPTED;
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static void on_assert(MDB_env *env, const char *text)
{
    (void)env;
    (void)text;
    _exit(CHILD_DAMAGED);
}

static int walk_file(const char *path)
{
    static struct file file;
    MDB_txn *txn;
    int rc = file_open(&file, path);
    if (rc != 0)
        return rc;
    mdb_env_set_assert(file.env, on_assert);
    rc = mdb_txn_begin(file.env, NULL, MDB_RDONLY, &txn);
    if (rc == 0)
        rc = walk_free_pages(&file, txn);
    if (rc == 0)
        rc = walk_table(&file, txn, file.data, true);
    if (rc == 0)
        rc = walk_table(&file, txn, file.expiry, false);
    if (rc == 0)
        rc = walk_table(&file, txn, file.spaces, false);
    if (rc == 0)
        rc = walk_table(&file, txn, file.revoked, false);
    if (rc != 0)
        return rc; /* closing nothing: what is damaged is left alone */
    mdb_txn_abort(txn);
    file_close(&file);
    return 0;
}

static _Noreturn void run_child(const char *path)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        signal(faults[i], SIG_DFL);
    switch (walk_file(path)) {
    case 0:
        _exit(CHILD_GOOD);
    case ENOMEM:
    case EACCES:
    case EISDIR:
    case EPERM:
    case EROFS:
    case EAGAIN:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
        _exit(CHILD_CANNOT);
    default:
        _exit(CHILD_DAMAGED);
    }
}

/* ---- in the parent ---- */

static int set_aside(const char *path, struct err *err)
{
    char name[4096], time_text[32], lock[4096];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(time_text, sizeof(time_text), "%Y%m%dT%H%M%SZ", &utc);
    snprintf(name, sizeof(name), "%s.corrupt-%s", path, time_text);
    snprintf(lock, sizeof(lock), "%s-lock", path);
    if (rename(path, name) != 0)
        return err_set(err, -errno, "the file of kv is damaged and cannot be renamed: %s: %s", path,
                       strerror(errno));
    unlink(lock);
    log_message(LOG_ERROR, "the file of kv is damaged: it was set aside as %s, and kv is empty",
                name);
    return 0;
}

int store_check_begin(const char *path, pid_t *pid, struct err *err)
{
    struct stat st;
    *pid = 0;
    if (stat(path, &st) != 0 || st.st_size == 0)
        return 0;
    fflush(NULL);
    *pid = fork();
    if (*pid == 0)
        run_child(path);
    return *pid != -1
               ? 0
               : err_set(err, -errno, "the file of kv cannot be checked: %s", strerror(errno));
}

int store_check_end(const char *path, int status, struct err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_GOOD)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_CANNOT)
        return err_set(err, -EIO, "the file of kv cannot be opened: %s", path);
    if (WIFSIGNALED(status) &&
        (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT))
        return err_set(err, -EINTR, "the check of kv's file was ended from outside: %s", path);
    return set_aside(path, err);
}

int store_check_wait(const char *path, pid_t pid, struct err *err)
{
    int status;
    if (pid == 0)
        return 0;
    while (waitpid(pid, &status, 0) == -1) {
        if (errno != EINTR)
            return err_set(err, -errno, "the file of kv cannot be checked: %s", strerror(errno));
    }
    return store_check_end(path, status, err);
}
