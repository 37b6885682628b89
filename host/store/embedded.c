/* The embedded store: reads on the loop, from mapped memory; writes in batches on a thread.
 *
 * What one turn of the loop asks for, and what comes in while a batch is being written, goes into
 * the next batch: one transaction and one wait for the disk for all of it. LMDB lets one writer in
 * at a time, so batches of several workers follow one another. Nothing on the loop waits for the
 * disk or for a lock. What was written is given back a slice a turn: whoever asked goes on at once,
 * and a thousand scripts in a row would keep all others waiting. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/limits.h"
#include "base/log.h"
#include "store/change.h"
#include "store/jobs.h"
#include "store/revoked.h"

struct embedded {
    struct store store;
    struct file file;
    MDB_txn *reader; /* renewed for each read */
    uv_loop_t *loop;
    uv_prepare_t turn; /* runs while `queue` is not empty: the turn has ended */
    struct list queue; /* requests that write, in order */
    bool sweep_due;
    bool closing;
    bool damage_logged;
    /* the batch under way; the thread's while `working` */
    bool working;
    uv_work_t work;
    struct list batch;
    bool sweep;
    unsigned swept;
    bool rings;                     /* there are revocations in it */
    struct list written;            /* of the batch before, to be given back */
    uv_idle_t slice;                /* runs while `written` is not empty */
    struct store_request *follower; /* waits for the next revocation; NULL: nobody does */
    uv_fs_event_t bell;             /* of other processes that have added one */
    bool listens;                   /* to it */
    char bell_path[PATH_MAX];       /* of LMDB's own lock file: nothing else touches its times */
};

static void on_turn(uv_prepare_t *turn);
static struct embedded *embedded_of(struct store *store)
{
    return container_of(store, struct embedded, store);
}

static void give_back(struct embedded *e, struct store_request *request)
{
    if (request->status == STORE_DAMAGED && !e->damage_logged) {
        e->damage_logged = true;
        log_message(LOG_ERROR, "the file of kv is damaged");
    }
    request->done(request);
}

/* ---- on the thread ---- */

static void set_status(struct list *batch, int status)
{
    list_each(node, batch) container_of(node, struct store_request, node)->status = status;
}

static int apply(struct embedded *e, MDB_txn *txn, uint64_t now_ms, struct store_request *request)
{
    if (request->kind == STORE_REVOKE)
        return revoked_add(&e->file, txn, request);
    return request->kind >= STORE_JOB_ADD ? jobs_apply(&e->file, txn, now_ms, request)
                                          : change_apply(&e->file, txn, now_ms, request);
}

/* Writes the requests from `first` to before `end` in one transaction. 0, or an error of LMDB:
 * nothing is written then. */
static int write_range(struct embedded *e, struct list *first, const struct list *end)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->file.env, NULL, 0, &txn);
    uint64_t now_ms = file_now_ms();
    if (rc != 0)
        return rc;
    for (struct list *node = first; rc == 0 && node != end; node = node->next) {
        struct store_request *request = container_of(node, struct store_request, node);
        e->rings = e->rings || request->kind == STORE_REVOKE;
        rc = apply(e, txn, now_ms, request);
    }
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* LMDB calls a write that was cut short EIO, whatever cut it. */
static int write_status(const struct embedded *e, int rc)
{
    mdb_filehandle_t fd;
    struct statvfs disk;
    bool full = rc == EIO && mdb_env_get_fd(e->file.env, &fd) == 0 && fstatvfs(fd, &disk) == 0 &&
                disk.f_bavail == 0;
    return full ? -ENOSPC : file_status(rc);
}

static void write_batch(struct embedded *e)
{
    int rc = write_range(e, e->batch.next, &e->batch);
    if (rc == 0)
        return;
    if (e->batch.next->next == &e->batch || rc != MDB_MAP_FULL) {
        set_status(&e->batch, write_status(e, rc));
        return;
    }
    /* One that does not fit must not take the others along. */
    list_each(node, &e->batch)
    {
        rc = write_range(e, node, node->next);
        if (rc != 0)
            container_of(node, struct store_request, node)->status = write_status(e, rc);
    }
}

static void sweep_batch(struct embedded *e)
{
    MDB_txn *txn;
    unsigned revoked = 0, keys = 0;
    e->swept = 0;
    if (mdb_txn_begin(e->file.env, NULL, 0, &txn) != 0)
        return;
    int rc = change_expire(&e->file, txn, file_now_ms(), LIMIT_KV_BATCH, &e->swept);
    if (rc == 0)
        rc = revoked_expire(&e->file, txn, file_now_ms(), LIMIT_KV_BATCH, &revoked);
    if (rc == 0)
        rc = jobs_expire(&e->file, txn, file_now_ms(), LIMIT_KV_BATCH, &keys);
    if (revoked > e->swept)
        e->swept = revoked;
    if (keys > e->swept)
        e->swept = keys;
    if (rc != 0) {
        e->swept = 0;
        mdb_txn_abort(txn);
    } else if (mdb_txn_commit(txn) != 0) {
        e->swept = 0;
    }
}

static void on_work(uv_work_t *work)
{
    struct embedded *e = container_of(work, struct embedded, work);
    e->rings = false;
    if (!list_is_empty(&e->batch))
        write_batch(e);
    if (e->rings)
        (void)!utimensat(AT_FDCWD, e->bell_path, NULL, 0); /* unheard: they look now and then */
    if (e->sweep)
        sweep_batch(e);
}

/* ---- on the loop ---- */

static void wake(struct embedded *e)
{
    if (!e->working && !e->closing)
        uv_prepare_start(&e->turn, on_turn);
}

static void give_one(struct embedded *e)
{
    struct store_request *request = container_of(e->written.next, struct store_request, node);
    list_remove(&request->node);
    give_back(e, request);
}

/* A callback may close the store: that gives back all that is left. */
static void on_slice(uv_idle_t *slice)
{
    struct embedded *e = container_of(slice, struct embedded, slice);
    uint64_t end = uv_hrtime() + LIMIT_KV_SLICE_NS;
    while (!list_is_empty(&e->written) && uv_hrtime() < end)
        give_one(e);
    if (list_is_empty(&e->written))
        uv_idle_stop(slice);
}

static void on_worked(uv_work_t *work, int status)
{
    struct embedded *e = container_of(work, struct embedded, work);
    (void)status; /* never cancelled */
    e->working = false;
    e->sweep_due |= e->sweep && e->swept == LIMIT_KV_BATCH;
    if (e->sweep_due || !list_is_empty(&e->queue))
        wake(e);
    list_append(&e->written, &e->batch);
    while (e->closing && !list_is_empty(&e->written))
        give_one(e);
    if (!list_is_empty(&e->written)) {
        uv_idle_start(&e->slice, on_slice);
        on_slice(&e->slice);
    }
}

static void fill_batch(struct embedded *e)
{
    size_t bytes = 0;
    for (unsigned n = 0; n < LIMIT_KV_BATCH && !list_is_empty(&e->queue); n++) {
        struct store_request *request = container_of(e->queue.next, struct store_request, node);
        bytes += request->value.bytes.len;
        if (n > 0 && bytes > LIMIT_KV_BATCH_BYTES)
            return;
        list_remove(&request->node);
        list_push(&e->batch, &request->node);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    struct embedded *e = container_of(turn, struct embedded, turn);
    uv_prepare_stop(turn);
    fill_batch(e);
    e->sweep = e->sweep_due;
    e->sweep_due = false;
    e->working = true;
    uv_queue_work(e->loop, &e->work, on_work, on_worked);
}

static int begin_read(struct embedded *e)
{
    int rc = e->reader == NULL ? mdb_txn_begin(e->file.env, NULL, MDB_RDONLY, &e->reader)
                               : mdb_txn_renew(e->reader);
    return file_status(rc);
}

/* ---- who waits for revocations ---- */

static void read_revoked(struct embedded *e, struct store_request *request)
{
    request->status = begin_read(e);
    if (request->status != 0)
        return;
    revoked_read(&e->file, e->reader, request);
    mdb_txn_reset(e->reader);
}

/* Is there one to read by now? */
static void look(struct embedded *e)
{
    struct store_request *request = e->follower;
    if (request == NULL)
        return;
    read_revoked(e, request);
    if (request->status == 0 && request->out.len == 0)
        return;
    e->follower = NULL;
    give_back(e, request);
}

static void on_bell(uv_fs_event_t *bell, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    look(container_of(bell, struct embedded, bell));
}

/* Without the bell there is sweep's look. It rings for what is added from now on, so one comes
 * after. */
static void follow(struct embedded *e, struct store_request *request)
{
    e->follower = request;
    if (!e->listens)
        e->listens = uv_fs_event_start(&e->bell, on_bell, e->bell_path, 0) == 0;
    look(e);
}

/* Carries out what only reads. False: the request writes. */
static bool read_now(struct embedded *e, struct store_request *request)
{
    bool reads = request->kind == STORE_GET || request->kind == STORE_LIST ||
                 request->kind == STORE_JOB_LIST;
    if (!reads && request->kind != STORE_JOB_TAKE)
        return false;
    request->status = begin_read(e);
    if (request->status != 0)
        return true;
    if (request->kind == STORE_JOB_TAKE) /* most have nothing to take */
        reads = !jobs_have_work(&e->file, e->reader, file_now_ms(), request);
    else if (request->kind == STORE_JOB_LIST)
        jobs_read(&e->file, e->reader, request);
    else
        store_read_change(&e->file, e->reader, file_now_ms(), request);
    mdb_txn_reset(e->reader);
    return reads || request->status != 0;
}

static void submit(struct store *store, struct store_request *request)
{
    struct embedded *e = embedded_of(store);
    list_init(&request->node);
    if (e->closing) {
        request->status = -ECANCELED;
        request->done(request);
    } else if (request->kind == STORE_REVOKED && request->ttl_ms > 0) {
        follow(e, request);
    } else if (request->kind == STORE_REVOKED) {
        read_revoked(e, request);
        give_back(e, request);
    } else if (read_now(e, request)) {
        give_back(e, request);
    } else {
        list_push(&e->queue, &request->node);
        wake(e);
    }
}

static void sweep(struct store *store)
{
    struct embedded *e = embedded_of(store);
    if (!e->closing)
        look(e);
    if (e->closing || e->sweep_due || begin_read(e) != 0)
        return;
    e->sweep_due = change_has_expired(&e->file, e->reader, file_now_ms()) ||
                   revoked_has_expired(&e->file, e->reader, file_now_ms()) ||
                   jobs_have_expired(&e->file, e->reader, file_now_ms());
    mdb_txn_reset(e->reader);
    if (e->sweep_due)
        wake(e);
}

static bool is_lost(struct store *store)
{
    struct embedded *e = embedded_of(store);
    const char *path;
    int fd;
    struct stat ours, there;
    if (e->damage_logged)
        return true;
    return mdb_env_get_path(e->file.env, &path) == 0 && mdb_env_get_fd(e->file.env, &fd) == 0 &&
           fstat(fd, &ours) == 0 && stat(path, &there) == 0 &&
           (ours.st_ino != there.st_ino || ours.st_dev != there.st_dev);
}

/* ---- opening and closing ---- */

static void close_store(struct store *store)
{
    struct embedded *e = embedded_of(store);
    if (e->closing)
        return;
    e->closing = true;
    uv_close((uv_handle_t *)&e->turn, NULL);
    uv_close((uv_handle_t *)&e->slice, NULL);
    uv_close((uv_handle_t *)&e->bell, NULL);
    if (e->follower != NULL) {
        e->follower->status = -ECANCELED;
        e->follower->done(e->follower);
    }
    while (!list_is_empty(&e->written))
        give_one(e);
    while (!list_is_empty(&e->queue)) {
        struct store_request *request = container_of(e->queue.next, struct store_request, node);
        list_remove(&request->node);
        request->status = -ECANCELED;
        request->done(request);
    }
}

static void free_store(struct store *store)
{
    struct embedded *e = embedded_of(store);
    if (e->reader != NULL)
        mdb_txn_abort(e->reader);
    file_close(&e->file);
    free(e);
}

static const struct store_backend embedded = {
    .is_remote = false,
    .submit = submit,
    .sweep = sweep,
    .is_lost = is_lost,
    .close = close_store,
    .free = free_store,
};

struct store *store_open(uv_loop_t *loop, const char *file, struct err *err)
{
    struct embedded *e = calloc(1, sizeof(*e));
    int rc = e != NULL ? file_open(&e->file, file) : ENOMEM;
    if (rc != 0) {
        free(e);
        err_set(err, -EIO, "the file of kv cannot be opened: %s: %s", file, mdb_strerror(rc));
        return NULL;
    }
    e->store.backend = &embedded;
    e->loop = loop;
    list_init(&e->queue);
    list_init(&e->batch);
    list_init(&e->written);
    uv_idle_init(loop, &e->slice);
    uv_prepare_init(loop, &e->turn);
    uv_fs_event_init(loop, &e->bell);
    snprintf(e->bell_path, sizeof(e->bell_path), "%s-lock", file);
    return &e->store;
}
