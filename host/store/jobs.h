/* The queue in the embedded store's file: three tables.
 *
 *   jobs          id -> what is known of a job, without its payload
 *   job_payloads  id -> the payload
 *   job_order     what is looked for, each a letter and:
 *                 w  FUNCTION 0 due id    waits
 *                 r  FUNCTION 0 id        runs
 *                 d  id                   is a dead letter
 *                 k  hash -> until        of a key that is taken
 *                 u  until hash           the same, in the order in which they end
 *                 c  -> counts
 *
 * Numbers that are sorted by are big-endian. Who runs a job is known by job_owner.h: when that one
 * is gone, whoever asks next finds the job waiting again. */
#pragma once

#include "store/file.h"

/* Carries out a STORE_JOB_* but LIST inside a write transaction, as change_apply. */
int jobs_apply(const struct file *file, MDB_txn *txn, uint64_t now_ms,
               struct store_request *request);

/* Carries out a STORE_JOB_LIST in a transaction that reads: the request's status and result. */
void jobs_read(const struct file *file, MDB_txn *txn, struct store_request *request);

/* Would a STORE_JOB_TAKE change anything? Fills the request's counts. */
bool jobs_have_work(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                    struct store_request *request);

/* Forgets at most `limit` keys that are not taken any more; *removed counts them. */
int jobs_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                unsigned *removed);
bool jobs_have_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms);
