/* Reading from the embedded store's file. */
#include <errno.h>

#include "base/limits.h"
#include "store/change.h"

static int get(const struct file *file, MDB_txn *txn, uint64_t now_ms, uint32_t space,
               struct store_request *request)
{
    struct record_key key = {.len = 0};
    struct record record;
    record_key_make(&key, file->seed, space, request->key);
    MDB_val k = file_key(&key), v;
    int rc = mdb_get(txn, file->data, &k, &v);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : file_status(rc);
    rc = record_read(file_str(k), file_str(v), file->seed, &record);
    if (rc != 0 || !record_is_live(&record, now_ms))
        return rc;
    buf_add_str(&request->out, record.bytes);
    request->found = record.type;
    return buf_failed(&request->out) ? -ENOMEM : 0;
}

/* ---- lists ---- */

struct walk {
    struct store_request *request;
    MDB_cursor *cursor;
    MDB_val k, v;
    struct record_key prefix; /* of stored keys that may be in it */
    unsigned found;
};

static struct str key_str(const struct record_key *key)
{
    return (struct str){(const char *)key->bytes, key->len};
}

/* Stands on the first key to look at. 0, MDB_NOTFOUND, or another error of LMDB. */
static int walk_begin(struct walk *w, const struct file *file, uint32_t space)
{
    const struct store_request *r = w->request;
    struct record_key after = {.len = 0};
    struct str shared = r->key;
    if (shared.len > RECORD_KEY_SHARED)
        shared.len = RECORD_KEY_SHARED;
    record_key_make(&w->prefix, file->seed, space, shared);
    w->k = file_key(&w->prefix);
    if (r->after.len > 0)
        record_key_make(&after, file->seed, space, r->after);
    if (str_is_before(key_str(&after), key_str(&w->prefix)))
        return mdb_cursor_get(w->cursor, &w->k, &w->v, MDB_SET_RANGE);
    w->k = file_key(&after);
    int rc = mdb_cursor_get(w->cursor, &w->k, &w->v, MDB_SET_RANGE);
    if (rc == 0 && str_eq(file_str(w->k), key_str(&after)))
        rc = mdb_cursor_get(w->cursor, &w->k, &w->v, MDB_NEXT);
    return rc;
}

/* Looks at one key. False at the end of the prefix. */
static bool walk_look(struct walk *w, uint64_t now_ms)
{
    struct store_request *r = w->request;
    struct record record;
    if (!str_starts_with(file_str(w->k), key_str(&w->prefix)))
        return false;
    r->status = record_peek(file_str(w->k), file_str(w->v), &record);
    if (r->status != 0)
        return false;
    struct str key = record_key_text(file_str(w->k), &record);
    buf_clear(&r->position);
    buf_add_str(&r->position, key);
    if (record_is_live(&record, now_ms) && str_starts_with(key, r->key)) {
        store_add_key(&r->out, key);
        w->found++;
    }
    return true;
}

static int list(const struct file *file, MDB_txn *txn, uint64_t now_ms, uint32_t space,
                struct store_request *request)
{
    struct walk w = {.request = request};
    int rc = mdb_cursor_open(txn, file->data, &w.cursor);
    if (rc != 0)
        return file_status(rc);
    rc = walk_begin(&w, file, space);
    /* Keys that have expired, or only share a beginning, take time too. */
    for (unsigned steps = 0; rc == 0 && walk_look(&w, now_ms); steps++) {
        rc = mdb_cursor_get(w.cursor, &w.k, &w.v, MDB_NEXT);
        request->more = rc == 0 && str_starts_with(file_str(w.k), key_str(&w.prefix));
        if (w.found >= request->limit || steps >= LIMIT_KV_LIST_STEPS)
            break;
    }
    mdb_cursor_close(w.cursor);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return file_status(rc);
    if (buf_failed(&request->out) || buf_failed(&request->position))
        return -ENOMEM;
    return request->status;
}

void store_read_change(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                       struct store_request *request)
{
    struct space space;
    request->status = 0;
    request->found = STORE_ABSENT;
    request->more = false;
    int rc = file_get_space(file, txn, request->space, &space);
    if (rc != 0) {
        request->status = rc == MDB_NOTFOUND ? 0 : file_status(rc);
        return;
    }
    request->status = request->kind == STORE_GET ? get(file, txn, now_ms, space.id, request)
                                                 : list(file, txn, now_ms, space.id, request);
}
