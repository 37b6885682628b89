/* One change of the embedded store's file, inside a write transaction; and reading from it. */
#pragma once

#include "store/file.h"

/* Carries out a SET, DELETE, INCR or CAS: the request's status and result are set. Returns 0, or an
 * error of LMDB, after which the transaction must be aborted. */
int change_apply(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                 struct store_request *request);

/* Removes at most `limit` records that have expired; *removed counts them. 0 or an error of LMDB.
 */
int change_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                  unsigned *removed);
/* Is there a record to remove? */
bool change_has_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms);

/* Carries out a GET or LIST in a transaction that reads: the request's status and result. */
void store_read_change(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                       struct store_request *request);
