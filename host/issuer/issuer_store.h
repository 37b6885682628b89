/* The disk copy of an issuer's last good key set, shared by all workers of the host.
 *
 * A file holds whom it is for, when it was fetched, and the set's text; a lock file beside it tells
 * the one worker that fetches from the others that wait for what it brings. All calls are
 * synchronous: files of a few kilobytes, read and written about once in LIMIT_KEYS_TTL, cost less
 * than handing them to a thread. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct issuer_store {
    char *path;      /* owned; NULL: nothing is kept */
    char *lock_path; /* owned */
    char *identity;  /* owned: issuer and configured jwks_uri; fetchers that differ share nothing */
    int lock_fd;     /* -1: not locked */
    bool warned;     /* of a file that cannot be used */
};

/* `folder` NULL: a store that keeps nothing; else it is made where it is missing. 0 or -ENOMEM. */
int issuer_store_init(struct issuer_store *store, const char *folder, struct str issuer,
                      struct str jwks_uri) __attribute__((warn_unused_result));
void issuer_store_free(struct issuer_store *store);

/* What a copy is, also elsewhere: a text that says for whom it is, and when it was fetched. */
void issuer_store_write(const char *identity, struct str jwks, double fetched_at, struct buf *out);
/* 0, with the set's text appended to `jwks`; or -EBADMSG: it is none, or for somebody else. */
int issuer_store_read(const char *identity, struct str text, struct buf *jwks, double *fetched_at)
    __attribute__((warn_unused_result));

/* 0, the set's text appended to `jwks`, and when it was fetched (seconds since 1970); or a negative
 * errno: -ENOENT none is kept, -EBADMSG the file is damaged (logged once). */
int issuer_store_load(struct issuer_store *store, struct buf *jwks, double *fetched_at)
    __attribute__((warn_unused_result));

/* Replaces the copy in one step. Failures are logged once and otherwise harmless. */
void issuer_store_save(struct issuer_store *store, struct str jwks, double fetched_at);

/* Tries to become the one that fetches. True as well where no lock can be had at all. */
bool issuer_store_lock(struct issuer_store *store);
void issuer_store_unlock(struct issuer_store *store);
