/* The key-value store behind `kv`: one interface, with room for stores on other machines.
 *
 * A request is plain data. `store_submit` hands it over; `done` gives it back, with the result
 * filled in: before store_submit returns when nothing has to be waited for (reads of the embedded
 * store), else from the loop. Writes are durable when `done` is called. What the bytes of a value
 * mean is the caller's business, but for counters: those are JSON integers.
 *
 * The embedded store (embedded.c) is an LMDB file that all workers share. The other (redis.c) is a
 * server that many machines share; it also counts for rate limits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

enum store_kind {
    STORE_GET,
    STORE_LIST,
    STORE_SET,
    STORE_DELETE,
    STORE_INCR,
    STORE_CAS,
    STORE_COUNT,    /* a request of a rate limit; only where store_is_remote */
    STORE_ONCE,     /* notes a name that may be used once; only where store_is_remote */
    STORE_SECRET,   /* what all machines have alike; only where store_is_remote */
    STORE_REVOKE,   /* adds a revocation to those that are kept (revoked.h) */
    STORE_REVOKED,  /* reads them, in the order in which they were added */
    STORE_PUBLISH,  /* `value` to all who hear the channel `key`; only where store_is_remote */
    STORE_DUE,      /* takes a due time of a schedule; only where store_is_remote */
    STORE_DUE_END,  /* the run that was taken has ended; the same */
    STORE_KEYS,     /* reads a key set, or takes the right to fetch one; the same */
    STORE_KEYS_PUT, /* puts one there, and gives that right back; the same */
    /* The queue (job.h); from here on: */
    STORE_JOB_ADD,
    STORE_JOB_TAKE,
    STORE_JOB_END,
    STORE_JOB_LIST,
    STORE_JOB_RETRY, /* a dead letter waits again, as new */
    STORE_JOB_DROP   /* removes a job that does not run */
};

enum { STORE_REVOCATION_BYTES = 16 };

/* STORE_DUE, `limit`: */
enum {
    STORE_DUE_RUNS = 1,  /* what its owner took before still runs */
    STORE_DUE_AGAIN = 2, /* the reply to the same request was lost */
    STORE_DUE_BACK = 4   /* the server's clock was set back: `by` is before what was taken */
};
/* ... and `verdict`: */
enum store_due {
    STORE_DUE_SEEN, /* nothing was taken */
    STORE_DUE_MADE, /* the same: nobody has asked for long, and it begins anew */
    STORE_DUE_TAKEN,
    STORE_DUE_SKIPPED, /* it is used up: the run before goes on */
    STORE_DUE_HELD     /* the run before was late, or may be gone: ask again soon */
};

enum store_type { STORE_ABSENT, STORE_TEXT, STORE_JSON };

struct store_value {
    enum store_type type; /* STORE_ABSENT: no value, `bytes` is empty */
    struct str bytes;
};

/* Every slice is the requester's, and so is the request itself; both must live until `done`. */
struct store_request {
    enum store_kind kind;
    /* Namespace: 1 to LIMIT_KV_SPACE_NAME bytes; none from STORE_COUNT on. JOB_ADD: the function */
    struct str space;
    /* 1 to LIMIT_KV_KEY_BYTES bytes; STORE_LIST: prefix, may be empty; STORE_COUNT: the caller;
     * STORE_ONCE, STORE_SECRET, DUE, KEYS: any name; JOB_ADD: taken once in LIMIT_QUEUE_KEY, empty:
     * none
     */
    struct str key;
    /* STORE_SET; STORE_CAS (STORE_ABSENT: deletes). JSON is compared by its bytes: the caller sends
     * one form of each value. STORE_REVOKE: STORE_REVOCATION_BYTES. STORE_SECRET: what
     * it is to be where there is none yet. JOB_ADD: the payload. JOB_TAKE: a list of struct
     * job_want. JOB_END: the reason */
    struct store_value value;
    struct store_value expected; /* STORE_CAS; STORE_ABSENT: the key must not be there */
    /* JOB_*, but TAKE: JOB_ID_BYTES. RETRY, DROP: empty: all that are dead. KEYS: who asks */
    struct str id;
    struct job_owner *owner; /* JOB_ADD with `limit`, JOB_TAKE, JOB_END, DUE, DUE_END: who asks */
    /* STORE_INCR. JOB_ADD with `limit`: while fewer of the function run, it does at once, as the
     * owner's. JOB_END: an enum job_end. JOB_TAKE: ms after which a job that no function of the
     * list is for is a dead letter. DUE: the time to take, seconds since 1970; 0: none */
    int64_t by;
    /* 0: for ever. STORE_INCR: of a counter that it makes. STORE_COUNT: the window. STORE_REVOKE:
     * how long it is kept. STORE_REVOKED: 0, or there is one request
     * at a time, which is given back when there is one to read, or maybe after so long. JOB_ADD,
     * JOB_END: until it may run. JOB_TAKE: how long a worker of a remote store is believed to live
     */
    uint64_t ttl_ms;
    /* JOB_TAKE of an owner that is unsure: the ids of the jobs that it knows of.
     * STORE_LIST: begin behind this key; STORE_REVOKED: behind this `position`. Empty: at the
     * start */
    struct str after;
    unsigned limit; /* STORE_LIST, STORE_REVOKED, JOB_TAKE, JOB_LIST: at most. STORE_COUNT: requests
                       in a window. JOB_ADD: 0, or how many of the function may run and wait */

    /* the result */
    int status; /* 0 or negative; store_error_text says it in words */
    /* DELETE: it was there; CAS: it was as expected; COUNT: it may pass; ONCE: it is new; JOB_ADD:
     * the key was free; JOB_END: it was the owner's still; DUE_END: the same */
    bool changed;
    enum store_due verdict; /* DUE */
    /* DUE: the newest time that was taken; in the request what is known of that, 0: nothing. INCR:
     * the new value. COUNT: requests that may still follow. JOB_ADD: it runs. JOB_RETRY, JOB_DROP:
     * how many. JOB_TAKE: the jobs that wait, with those that are not due; -1: not looked at */
    int64_t number;
    int64_t dead;          /* JOB_TAKE, with `number`: dead letters */
    uint64_t reset_ms;     /* COUNT: until the window ends. DUE: the server's time, ms since 1970 */
    enum store_type found; /* GET: of the value in `out` */
    struct buf out; /* owned by the requester. GET, SECRET: the value. LIST: store_next_key takes it
                       apart. REVOKED: one behind the other. JOB_TAKE, JOB_LIST: job_next does */
    bool more; /* LIST, REVOKED, JOB_LIST, RETRY, DROP: there may be more behind the last one looked
                  at, which is the */
    struct buf position; /* ... one in here, a text; owned by the requester; as it was: none */

    void (*done)(struct store_request *request);
    void *arg;        /* the requester's */
    struct list node; /* the store's */
};

struct store;

struct store_backend {
    bool is_remote;
    void (*submit)(struct store *store, struct store_request *request);
    void (*sweep)(struct store *store);
    int (*hear)(struct store *store, struct str name, bool yes);
    bool (*is_lost)(struct store *store); /* NULL: never */
    void (*close)(struct store *store);
    void (*free)(struct store *store);
};

/* Who is told of what comes on channels. All from the loop, and none from within store_hear. */
struct store_listener {
    void (*message)(void *arg, struct str name, struct str text);
    /* From now on the channel is heard: status 0; or why not. */
    void (*heard)(void *arg, struct str name, int status);
    /* Nothing is heard any more: all that is wanted is to be said again. False: not all could be,
     * and it comes once more. */
    bool (*lost)(void *arg);
    void *arg;
};

/* The beginning of every backend's struct. */
struct store {
    const struct store_backend *backend; /* static */
    uint64_t failures;                   /* requests that a server did not serve */
    struct store_listener listener;      /* set before store_hear */
};

/* Statuses of the store's own, beside negative errno values. */
enum {
    STORE_TOO_LARGE = -10001, /* a value over LIMIT_KV_VALUE_BYTES */
    STORE_FULL = -10002,      /* a limit of the namespace or of the whole store */
    STORE_NO_NUMBER = -10003, /* STORE_INCR of something else than an integer */
    STORE_OVERFLOW = -10004,  /* STORE_INCR past 64 bits */
    STORE_DAMAGED = -10005,   /* the file contradicts itself */
    /* of a store on another machine */
    STORE_UNREACHABLE = -10006,   /* nothing was done */
    STORE_LOST = -10007,          /* nobody knows whether it was done */
    STORE_REFUSED = -10008,       /* the server does not do it; the log says why */
    STORE_FOREIGN = -10009,       /* what is there is no value of ours */
    STORE_JOB_TOO_LARGE = -10010, /* over LIMIT_QUEUE_JOB_BYTES */
    STORE_QUEUE_FULL = -10011,    /* LIMIT_QUEUE_JOBS, LIMIT_QUEUE_BYTES */
    STORE_NO_SLOT = -10012        /* JOB_ADD: `limit` */
};
const char *store_error_text(int status);

/* Of LMDB: "0.9.24"; of hiredis, as it was compiled against: "0.14.1". */
const char *store_library_version(void);
const char *store_client_version(void);

/* Is the embedded store's file good? A child process looks at it; `pid` 0: there is none to look
 * at. Must come before the first store_open of the machine's processes, from a process without
 * threads. */
int store_check_begin(const char *file, pid_t *pid, struct err *err)
    __attribute__((warn_unused_result));
/* With the child's status as of waitpid. A file that is not good is renamed to FILE.corrupt-TIME,
 * and the log says so. 0, or a negative errno with the reason. */
int store_check_end(const char *file, int status, struct err *err)
    __attribute__((warn_unused_result));
/* The same for who waits until the child has ended. */
int store_check_wait(const char *file, pid_t pid, struct err *err)
    __attribute__((warn_unused_result));

/* The embedded store. Once a process. NULL with the reason. */
struct store *store_open(uv_loop_t *loop, const char *file, struct err *err);

/* A store on a server that speaks Redis' protocol; redis_url.h. It connects when it is first asked.
 * The address is borrowed until store_free. NULL when out of memory. */
struct redis_address;
struct store *store_connect(uv_loop_t *loop, const struct redis_address *address);

/* Do reads have to be waited for, and does it count for rate limits? */
static inline bool store_is_remote(const struct store *store)
{
    return store->backend->is_remote;
}

/* Takes over the request until `done`. */
static inline void store_submit(struct store *store, struct store_request *request)
{
    store->backend->submit(store, request);
}

/* From now on the channel is listened to, or not any more. Only where store_is_remote. 0, or why
 * not; that it is comes by listener.heard. */
static inline int store_hear(struct store *store, struct str name, bool yes)
{
    return store->backend->hear(store, name, yes);
}

/* Is the file that it has open not the one any more that others open, as that was set aside, or is
 * it damaged? Then this process should make room for one that begins anew. */
static inline bool store_is_lost(struct store *store)
{
    return store->backend->is_lost != NULL && store->backend->is_lost(store);
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

/* For stores: puts a key there. */
void store_add_key(struct buf *out, struct str key);
