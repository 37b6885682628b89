/* Revocations in the embedded store's file: a log, in the order in which they were written.
 *
 * A record is a number, with its highest byte first, and the STORE_REVOCATION_BYTES of one. What
 * they mean is the caller's business, but for the last four: the second since 1970, its lowest byte
 * first, after which it is of no use. The newest record is never removed, so that numbers go on.
 * A position names the file, too: one of a file that was set aside is the beginning of the next. */
#pragma once

#include "store/file.h"

/* Carries out a STORE_REVOKE inside a write transaction, as change_apply. */
int revoked_add(const struct file *file, MDB_txn *txn, struct store_request *request);

/* Carries out a STORE_REVOKED in a transaction that reads: the request's status and result. */
void revoked_read(const struct file *file, MDB_txn *txn, struct store_request *request);

/* Removes at most `limit` of those that are of no use; *removed counts them. 0 or an error of LMDB.
 */
int revoked_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                   unsigned *removed);
bool revoked_has_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms);
