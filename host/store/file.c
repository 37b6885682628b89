/* The embedded store's file: opening it, and who has how much in it. */
#include "store/file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "base/limits.h"

enum { VERSION = 1, TABLES = 7, READERS_MAX = 1024 /* processes that have it open */ };

static const struct str facts_name = {"\0facts", 6};

int file_status(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_MAP_FULL:
        return STORE_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return STORE_DAMAGED;
    default:
        return rc > 0 ? -rc : -EIO;
    }
}

uint64_t file_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *store_library_version(void)
{
    static char text[32];
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof(text), "%d.%d.%d", major, minor, patch);
    return text;
}

/* ---- the table of namespaces ---- */

static int get_row(const struct file *file, MDB_txn *txn, struct str name, void *out, size_t size)
{
    MDB_val key = file_val(name), value;
    int rc = mdb_get(txn, file->spaces, &key, &value);
    if (rc != 0)
        return rc;
    if (value.mv_size != size)
        return MDB_CORRUPTED;
    memcpy(out, value.mv_data, size);
    return 0;
}

static int put_row(const struct file *file, MDB_txn *txn, struct str name, const void *row,
                   size_t size)
{
    MDB_val key = file_val(name), value = {size, (void *)(uintptr_t)row};
    return mdb_put(txn, file->spaces, &key, &value, 0);
}

int file_get_facts(const struct file *file, MDB_txn *txn, struct file_facts *facts)
{
    int rc = get_row(file, txn, facts_name, facts, sizeof(*facts));
    return rc == 0 && facts->version != VERSION ? MDB_VERSION_MISMATCH : rc;
}

int file_get_space(const struct file *file, MDB_txn *txn, struct str name, struct space *space)
{
    *space = (struct space){0};
    return get_row(file, txn, name, space, sizeof(*space));
}

int file_make_space(const struct file *file, MDB_txn *txn, struct str name, struct space *space)
{
    struct file_facts facts;
    int rc = file_get_facts(file, txn, &facts);
    if (rc != 0)
        return rc;
    *space = (struct space){.id = ++facts.last_space};
    rc = put_row(file, txn, facts_name, &facts, sizeof(facts));
    return rc == 0 ? put_row(file, txn, name, space, sizeof(*space)) : rc;
}

int file_put_space(const struct file *file, MDB_txn *txn, struct str name,
                   const struct space *before, const struct space *space)
{
    struct file_facts facts;
    int rc = file_get_facts(file, txn, &facts);
    if (rc != 0)
        return rc;
    facts.bytes += space->bytes - before->bytes;
    rc = put_row(file, txn, facts_name, &facts, sizeof(facts));
    return rc == 0 ? put_row(file, txn, name, space, sizeof(*space)) : rc;
}

/* ---- opening ---- */

static int read_or_make_facts(struct file *file, MDB_txn *txn)
{
    struct file_facts facts = {.version = VERSION};
    int rc = file_get_facts(file, txn, &facts);
    if (rc == MDB_NOTFOUND) {
        if (getrandom(facts.seed, sizeof(facts.seed), 0) != (ssize_t)sizeof(facts.seed))
            return EIO;
        rc = put_row(file, txn, facts_name, &facts, sizeof(facts));
    }
    memcpy(file->seed, facts.seed, sizeof(file->seed));
    return rc;
}

static int open_tables(struct file *file)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(file->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, "data", MDB_CREATE, &file->data);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "expiry", MDB_CREATE, &file->expiry);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "spaces", MDB_CREATE, &file->spaces);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "revoked", MDB_CREATE, &file->revoked);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "jobs", MDB_CREATE, &file->jobs);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "job_payloads", MDB_CREATE, &file->job_payloads);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "job_order", MDB_CREATE, &file->job_order);
    if (rc == 0)
        rc = read_or_make_facts(file, txn);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

int file_open(struct file *file, const char *path)
{
    int dead;
    *file = (struct file){0};
    int rc = mdb_env_create(&file->env);
    if (rc != 0)
        return rc;
    rc = mdb_env_set_mapsize(file->env, LIMIT_KV_MAP_BYTES);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(file->env, READERS_MAX);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(file->env, TABLES);
    /* NOTLS: a reader belongs to its transaction, since one thread opens and others write. */
    if (rc == 0)
        rc = mdb_env_open(file->env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
    if (rc == 0) /* places of processes that were killed while they read */
        rc = mdb_reader_check(file->env, &dead);
    if (rc == 0)
        rc = open_tables(file);
    if (rc != 0)
        file_close(file);
    return rc;
}

void file_close(struct file *file)
{
    mdb_env_close(file->env);
    file->env = NULL;
}
