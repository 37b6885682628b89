/* How the queue lies in the file, whose tables are in jobs.h: rows, the order they are found in,
 * and the keys that jobs have taken. Functions that return an int return 0 or an error of LMDB, and
 * may be called inside a transaction only. */
#pragma once

#include "base/limits.h"
#include "store/file.h"
#include "store/job.h"
#include "store/job_owner.h"

enum {
    JOBS_VERSION = 1,
    JOBS_FUNCTION_MAX = LIMIT_KV_SPACE_NAME,
    JOBS_ORDER_MAX = 1 + JOBS_FUNCTION_MAX + 1 + 8 + JOB_ID_BYTES,
    JOBS_FOUND_MAX = 64
};

/* The beginning of a record in `jobs`; the texts follow in this order. */
struct jobs_head {
    uint32_t version;
    uint8_t state, has_owner, unused[2];
    uint32_t attempt, lost;
    uint64_t due_ms, payload_bytes;
    uint16_t function_len, key_len, reason_len, unused2;
    char owner[JOB_OWNER_BYTES + 1];
};

struct jobs_row {
    char id[JOB_ID_BYTES];
    struct jobs_head head;
    char function[JOBS_FUNCTION_MAX], key[LIMIT_KV_KEY_BYTES], reason[LIMIT_QUEUE_REASON];
};

struct jobs_counts {
    uint64_t bytes, waiting, running, dead;
};

/* A request that is carried out. */
struct jobs_work {
    const struct file *file;
    MDB_txn *txn;
    uint64_t now_ms;
    struct store_request *request;
    struct jobs_counts counts; /* kept up by what changes rows; the caller writes them */
};

/* A key of job_order, or the beginning of some. */
struct jobs_order {
    size_t len;
    char bytes[JOBS_ORDER_MAX];
};

struct jobs_order jobs_order_of(char letter);
/* Of all jobs of a function in that state. */
struct jobs_order jobs_order_of_function(char letter, struct str function);
int jobs_put_order(const struct jobs_work *w, const struct jobs_order *key, const void *value,
                   size_t size);

int jobs_read_counts(const struct file *file, MDB_txn *txn, struct jobs_counts *counts);

/* ---- rows ---- */

/* MDB_NOTFOUND: there is none; MDB_VERSION_MISMATCH: it is none of ours. */
int jobs_read_row(const struct file *file, MDB_txn *txn, struct str id, struct jobs_row *row);
/* Of a job that is in no state yet. */
int jobs_write_row(struct jobs_work *w, const struct jobs_row *row);
int jobs_move_row(struct jobs_work *w, struct jobs_row *row, enum job_state state, uint64_t due_ms);
int jobs_make_dead(struct jobs_work *w, struct jobs_row *row, struct str reason);
int jobs_make_foreign_dead(struct jobs_work *w, struct jobs_row *row);
/* With its payload. */
int jobs_remove_row(struct jobs_work *w, const struct jobs_row *row);

/* ---- walking ---- */

struct jobs_search {
    struct jobs_order prefix;
    uint64_t due_ms; /* of those that wait, up to this */
    unsigned most;
    const struct job_owner
        *seeker; /* of those that run, whose owner it knows to be gone; or NULL */
};

/* Entries, each with an id at its end; of more than JOBS_FOUND_MAX there is the count alone. */
struct jobs_found {
    unsigned count;
    struct jobs_order entries[JOBS_FOUND_MAX];
};

struct jobs_search jobs_search_waiting(struct str function, uint64_t due_ms, unsigned most);
/* Those that run, whose owner the seeker knows to be gone. */
struct jobs_search jobs_search_lost(const struct job_owner *seeker);
int jobs_find(const struct file *file, MDB_txn *txn, const struct jobs_search *search,
              struct jobs_found *found);
/* The row of that entry. `*foreign`: the record is of another version, or of nobody, and the row is
 * what the entry says of it. */
int jobs_read_entry(const struct jobs_work *w, const struct jobs_order *at, struct jobs_row *row,
                    bool *foreign);
/* The function of the first job that waits, of functions that come behind that one. `name` has room
 * for JOBS_FUNCTION_MAX bytes. MDB_NOTFOUND at the end. */
int jobs_next_function(const struct file *file, MDB_txn *txn, char *name, size_t *len);

/* ---- keys ---- */

/* Takes the job's key; *taken: somebody had it. */
int jobs_take_key(struct jobs_work *w, const struct jobs_row *row, bool *taken);
