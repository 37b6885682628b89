/* The key-value store behind `kv`: one interface, with room for stores on other machines.
 *
 * A request is plain data. `store_submit` hands it over; `done` gives it back, with the result
 * filled in: before store_submit returns when nothing has to be waited for (reads of the embedded
 * store), else from the loop. Writes are durable when `done` is called. What the bytes of a value
 * mean is the caller's business, but for counters: those are JSON integers.
 *
 * The embedded store (embedded.c) is an LMDB file that all workers share. A store elsewhere would
 * be one more `struct store_backend`: nobody above this interface would notice. */
#ifndef LUAFN_STORE_STORE_H
#define LUAFN_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

enum store_kind { STORE_GET, STORE_LIST, STORE_SET, STORE_DELETE, STORE_INCR, STORE_CAS };

enum store_type { STORE_ABSENT, STORE_TEXT, STORE_JSON };

struct store_value {
    enum store_type type; /* STORE_ABSENT: no value, `bytes` is empty */
    struct str bytes;
};

/* Every slice is the requester's, and so is the request itself; both must live until `done`. */
struct store_request {
    enum store_kind kind;
    struct str space; /* namespace: 1 to LIMIT_KV_SPACE_NAME bytes */
    struct str key;   /* 1 to LIMIT_KV_KEY_BYTES bytes; STORE_LIST: prefix, may be empty */
    /* STORE_SET; STORE_CAS (STORE_ABSENT: deletes). JSON is compared by its bytes: the caller sends
     * one form of each value. */
    struct store_value value;
    struct store_value expected; /* STORE_CAS; STORE_ABSENT: the key must not be there */
    int64_t by;                  /* STORE_INCR */
    uint64_t ttl_ms;             /* 0: for ever. STORE_INCR: of a counter that it makes */
    struct str after;            /* STORE_LIST: begin behind this key; empty: at the start */
    unsigned limit;              /* STORE_LIST: keys at most */

    /* the result */
    int status;            /* 0 or negative; store_error_text says it in words */
    bool changed;          /* DELETE: it was there; CAS: it was as expected */
    int64_t number;        /* INCR: the new value */
    enum store_type found; /* GET: of the value in `out` */
    struct buf
        out;   /* owned by the requester. GET: the value. LIST: store_next_key takes it apart */
    bool more; /* LIST: there may be more keys behind the last one looked at, which is the */
    struct buf position; /* ... one in here; owned by the requester */

    void (*done)(struct store_request *request);
    struct list node; /* the store's */
};

struct store;

struct store_backend {
    const char *name; /* "embedded" */
    void (*submit)(struct store *store, struct store_request *request);
    void (*sweep)(struct store *store);
    void (*close)(struct store *store);
    void (*free)(struct store *store);
};

/* The beginning of every backend's struct. */
struct store {
    const struct store_backend *backend; /* static */
};

/* Statuses of the store's own, beside negative errno values. */
enum {
    STORE_TOO_LARGE = -10001, /* a value over LIMIT_KV_VALUE_BYTES */
    STORE_FULL = -10002,      /* a limit of the namespace or of the whole store */
    STORE_NO_NUMBER = -10003, /* STORE_INCR of something else than an integer */
    STORE_OVERFLOW = -10004,  /* STORE_INCR past 64 bits */
    STORE_DAMAGED = -10005    /* the file contradicts itself */
};
const char *store_error_text(int status);

/* Of LMDB: "0.9.24". */
const char *store_library_version(void);

/* Is the embedded store's file good? One that is not is renamed to FILE.corrupt-TIME, and the log
 * says so; no file is good. Must come before the first store_open of the machine's processes, from
 * a process without threads. 0, or a negative errno with the reason. */
int store_check(const char *file, struct err *err) __attribute__((warn_unused_result));

/* The embedded store. Once a process. NULL with the reason. */
struct store *store_open(uv_loop_t *loop, const char *file, struct err *err);

/* Takes over the request until `done`. */
static inline void store_submit(struct store *store, struct store_request *request)
{
    store->backend->submit(store, request);
}

/* Removes what has expired, in the background; to be called now and then. */
static inline void store_sweep(struct store *store)
{
    store->backend->sweep(store);
}

/* No more requests. Those that wait are given back with -ECANCELED, those under way from the loop.
 */
static inline void store_close(struct store *store)
{
    store->backend->close(store);
}

/* After store_close, when the loop is empty. NULL is fine. */
static inline void store_free(struct store *store)
{
    if (store != NULL)
        store->backend->free(store);
}

/* Takes the next key off a LIST's `out`; false at the end. */
bool store_next_key(struct str *rest, struct str *key);

#endif
