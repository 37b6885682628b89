/* The embedded store's file: an LMDB environment with seven tables.
 *
 *   data    stored key -> record (record.h)
 *   expiry  time of the end, hash of the stored key -> stored key
 *   spaces  name of a namespace -> struct space; and the file's own facts
 *   revoked number in order -> a revocation (revoked.h)
 *   jobs, job_payloads, job_order: the queue (jobs.c) */
#pragma once

#include <lmdb.h>

#include "store/record.h"

struct file {
    MDB_env *env;
    MDB_dbi data, expiry, spaces, revoked, jobs, job_payloads, job_order;
    uint64_t seed[2]; /* of the hashes; drawn when the file is made */
};

/* What a namespace holds. */
struct space {
    uint64_t keys, bytes; /* bytes: with keys and LIMIT_KV_OVERHEAD a key */
    uint32_t id;          /* 0: there is none of that name yet */
    uint32_t unused;
};

/* The file's own facts, under a name that no namespace has. */
struct file_facts {
    uint32_t version;
    uint32_t last_space; /* id */
    uint64_t bytes;      /* of all namespaces */
    uint64_t seed[2];
};

/* Opens the file, makes it when there is none. A process must not open a file twice. 0, or an error
 * of LMDB. */
int file_open(struct file *file, const char *path) __attribute__((warn_unused_result));
void file_close(struct file *file);

/* A status of store.h for an error of LMDB. */
int file_status(int rc);

/* 0, MDB_NOTFOUND (*space is cleared), or another error of LMDB. */
int file_get_space(const struct file *file, MDB_txn *txn, struct str name, struct space *space);
/* Gives a new namespace its number. 0 or an error of LMDB. */
int file_make_space(const struct file *file, MDB_txn *txn, struct str name, struct space *space);
/* Writes the namespace's new use back, which was `before`, and the file's. */
int file_put_space(const struct file *file, MDB_txn *txn, struct str name,
                   const struct space *before, const struct space *space);
int file_get_facts(const struct file *file, MDB_txn *txn, struct file_facts *facts);

static inline struct str file_str(MDB_val value)
{
    return (struct str){value.mv_data, value.mv_size};
}

static inline MDB_val file_val(struct str s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.ptr};
}

static inline MDB_val file_key(const struct record_key *key)
{
    return (MDB_val){key->len, (void *)(uintptr_t)key->bytes};
}

/* The wall clock. */
uint64_t file_now_ms(void);
