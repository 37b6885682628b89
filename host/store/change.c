/* Changes of the embedded store's file, inside a write transaction. */
#include "store/change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/siphash.h"

enum { EXPIRY_TIME_BYTES = 8 };

/* What a change works on. */
struct change {
    const struct file *file;
    MDB_txn *txn;
    uint64_t now_ms;
    struct store_request *request;
    struct space before, space;
    struct record_key key;
    bool stored;          /* `record` is in the file, live or expired */
    struct record record; /* points into the file until the next write */
    size_t record_bytes;
};

/* ---- the table of ends ---- */

struct expiry_key {
    unsigned char time[EXPIRY_TIME_BYTES]; /* big-endian, so that they sort */
    struct siphash hash;
};

static struct expiry_key expiry_key(const struct file *file, uint64_t expires_ms,
                                    struct str stored_key)
{
    struct expiry_key key = {.hash = siphash(file->seed, stored_key)};
    for (unsigned i = 0; i < EXPIRY_TIME_BYTES; i++)
        key.time[i] = (unsigned char)(expires_ms >> (8 * (EXPIRY_TIME_BYTES - 1 - i)));
    return key;
}

static uint64_t expiry_time(const struct expiry_key *key)
{
    uint64_t time = 0;
    for (unsigned i = 0; i < EXPIRY_TIME_BYTES; i++)
        time = time << 8 | key->time[i];
    return time;
}

static int drop_expiry(const struct file *file, MDB_txn *txn, uint64_t expires_ms,
                       struct str stored_key)
{
    if (expires_ms == 0)
        return 0;
    struct expiry_key key = expiry_key(file, expires_ms, stored_key);
    MDB_val k = {sizeof(key), &key};
    int rc = mdb_del(txn, file->expiry, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int note_expiry(const struct file *file, MDB_txn *txn, uint64_t expires_ms,
                       struct str stored_key)
{
    if (expires_ms == 0)
        return 0;
    struct expiry_key key = expiry_key(file, expires_ms, stored_key);
    MDB_val k = {sizeof(key), &key}, v = file_val(stored_key);
    return mdb_put(txn, file->expiry, &k, &v, 0);
}

/* ---- one record ---- */

static struct str stored_key(const struct change *c)
{
    return (struct str){(const char *)c->key.bytes, c->key.len};
}

static uint64_t cost(size_t stored_key_bytes, size_t record_bytes)
{
    return stored_key_bytes + record_bytes + LIMIT_KV_OVERHEAD;
}

/* Reads what is there. A status of the store goes into the request. */
static int find(struct change *c)
{
    int rc = file_get_space(c->file, c->txn, c->request->space, &c->before);
    c->space = c->before;
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    record_key_make(&c->key, c->file->seed, c->space.id, c->request->key);
    MDB_val key = file_key(&c->key), value;
    rc = mdb_get(c->txn, c->file->data, &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    c->stored = true;
    c->record_bytes = value.mv_size;
    c->request->status = record_read(stored_key(c), file_str(value), c->file->seed, &c->record);
    return 0;
}

static bool is_there(const struct change *c)
{
    return c->stored && record_is_live(&c->record, c->now_ms);
}

static int put_space(struct change *c)
{
    return file_put_space(c->file, c->txn, c->request->space, &c->before, &c->space);
}

static int remove_record(struct change *c)
{
    if (!c->stored)
        return 0;
    MDB_val key = file_key(&c->key);
    int rc = drop_expiry(c->file, c->txn, c->record.expires_ms, stored_key(c));
    if (rc == 0)
        rc = mdb_del(c->txn, c->file->data, &key, NULL);
    c->space.keys--;
    c->space.bytes -= cost(c->key.len, c->record_bytes);
    return rc == 0 ? put_space(c) : rc;
}

/* Is there room for a record of so many bytes? The request's status says why not. */
static int check_room(struct change *c, size_t bytes)
{
    uint64_t before = c->stored ? cost(c->key.len, c->record_bytes) : 0;
    uint64_t after = cost(c->key.len, bytes);
    struct file_facts facts;
    int rc = file_get_facts(c->file, c->txn, &facts);
    if (rc != 0)
        return rc;
    c->space.keys += !c->stored;
    c->space.bytes += after - before;
    bool grows = after > before;
    if (c->space.keys > LIMIT_KV_SPACE_KEYS ||
        (grows && (c->space.bytes > LIMIT_KV_SPACE_BYTES ||
                   facts.bytes + (after - before) > LIMIT_KV_BYTES)))
        c->request->status = STORE_FULL;
    return 0;
}

static int put_record(struct change *c, struct store_value value, uint64_t expires_ms)
{
    struct str name = c->request->key;
    size_t bytes = record_size(name, value.bytes.len);
    int rc = 0;
    if (value.bytes.len > LIMIT_KV_VALUE_BYTES) {
        c->request->status = STORE_TOO_LARGE;
        return 0;
    }
    if (c->space.id == 0) {
        rc = file_make_space(c->file, c->txn, c->request->space, &c->space);
        c->before = c->space;
        record_key_make(&c->key, c->file->seed, c->space.id, name);
    }
    if (rc == 0)
        rc = check_room(c, bytes);
    if (rc != 0 || c->request->status != 0)
        return rc;
    MDB_val key = file_key(&c->key), room = {bytes, NULL};
    if (c->stored)
        rc = drop_expiry(c->file, c->txn, c->record.expires_ms, stored_key(c));
    if (rc == 0)
        rc = mdb_put(c->txn, c->file->data, &key, &room, MDB_RESERVE);
    if (rc != 0)
        return rc;
    record_write(room.mv_data, c->file->seed, &c->key, name, value, expires_ms);
    rc = note_expiry(c->file, c->txn, expires_ms, stored_key(c));
    return rc == 0 ? put_space(c) : rc;
}

/* ---- what requests ask for ---- */

static uint64_t expires(const struct change *c)
{
    return c->request->ttl_ms > 0 ? c->now_ms + c->request->ttl_ms : 0;
}

/* The number of a counter. False when the record is none. */
static bool read_number(const struct record *record, int64_t *out)
{
    char text[32];
    char *end;
    if (record->type != STORE_JSON || record->bytes.len == 0 || record->bytes.len >= sizeof(text))
        return false;
    memcpy(text, record->bytes.ptr, record->bytes.len);
    text[record->bytes.len] = '\0';
    errno = 0;
    *out = strtoimax(text, &end, 10);
    return errno == 0 && end == text + record->bytes.len;
}

static int incr(struct change *c)
{
    struct store_request *r = c->request;
    int64_t number = 0;
    char text[32];
    bool there = is_there(c);
    if (there && !read_number(&c->record, &number)) {
        r->status = STORE_NO_NUMBER;
        return 0;
    }
    if (__builtin_add_overflow(number, r->by, &number)) {
        r->status = STORE_OVERFLOW;
        return 0;
    }
    r->number = number;
    int len = snprintf(text, sizeof(text), "%" PRId64, number);
    const struct store_value value = {STORE_JSON, {text, (size_t)len}};
    return put_record(c, value, there ? c->record.expires_ms : expires(c));
}

static int cas(struct change *c)
{
    struct store_request *r = c->request;
    bool there = is_there(c);
    if (r->expected.type == STORE_ABSENT)
        r->changed = !there;
    else
        r->changed = there && c->record.type == r->expected.type &&
                     str_eq(c->record.bytes, r->expected.bytes);
    if (!r->changed)
        return 0;
    return r->value.type == STORE_ABSENT ? remove_record(c) : put_record(c, r->value, expires(c));
}

int change_apply(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                 struct store_request *request)
{
    struct change c = {.file = file, .txn = txn, .now_ms = now_ms, .request = request};
    request->status = 0;
    request->changed = false;
    int rc = find(&c);
    if (rc != 0 || request->status != 0)
        return rc;
    switch (request->kind) {
    case STORE_SET:
        return put_record(&c, request->value, expires(&c));
    case STORE_DELETE:
        request->changed = is_there(&c);
        return remove_record(&c);
    case STORE_INCR:
        return incr(&c);
    case STORE_CAS:
        return cas(&c);
    default:
        request->status = -EINVAL;
        return 0;
    }
}

/* ---- what has expired ---- */

/* The namespace that a stored key belongs to: expiry knows the number, the table the names. */
static int find_space(const struct file *file, MDB_txn *txn, struct str key, struct str *name,
                      struct space *space)
{
    uint32_t id = 0;
    for (unsigned i = 0; i < sizeof(id) && i < key.len; i++)
        id = id << 8 | (unsigned char)key.ptr[i];
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(txn, file->spaces, &cursor);
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        if (v.mv_size != sizeof(*space))
            continue; /* the file's facts */
        memcpy(space, v.mv_data, sizeof(*space));
        *name = file_str(k);
        if (space->id == id)
            break;
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* The first end of all. 0, MDB_NOTFOUND when it is yet to come, or another error. */
static int first_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                         struct record_key *key)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    struct expiry_key end;
    int rc = mdb_cursor_open(txn, file->expiry, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    mdb_cursor_close(cursor);
    if (rc != 0)
        return rc;
    if (k.mv_size != sizeof(end) || v.mv_size > sizeof(key->bytes))
        return MDB_CORRUPTED;
    memcpy(&end, k.mv_data, sizeof(end));
    memcpy(key->bytes, v.mv_data, v.mv_size);
    key->len = v.mv_size;
    return expiry_time(&end) <= now_ms ? 0 : MDB_NOTFOUND;
}

bool change_has_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms)
{
    struct record_key key;
    return first_expired(file, txn, now_ms, &key) == 0;
}

/* `name` has room for LIMIT_KV_SPACE_NAME bytes. */
static int expire_one(struct change *c, struct store_request *request, char *name)
{
    struct str found;
    MDB_val key = file_key(&c->key), value;
    int rc = find_space(c->file, c->txn, stored_key(c), &found, &c->before);
    if (rc == 0)
        rc = mdb_get(c->txn, c->file->data, &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    if (found.len > LIMIT_KV_SPACE_NAME ||
        record_peek(stored_key(c), file_str(value), &c->record) != 0)
        return MDB_CORRUPTED;
    memcpy(name, found.ptr, found.len); /* writing moves what it points to */
    request->space = (struct str){name, found.len};
    c->space = c->before;
    c->stored = true;
    c->record_bytes = value.mv_size;
    return remove_record(c);
}

int change_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                  unsigned *removed)
{
    char name[LIMIT_KV_SPACE_NAME];
    int rc = 0;
    for (*removed = 0; rc == 0 && *removed < limit; ++*removed) {
        struct store_request request = {.kind = STORE_DELETE};
        struct change c = {.file = file, .txn = txn, .now_ms = now_ms, .request = &request};
        rc = first_expired(file, txn, now_ms, &c.key);
        if (rc == MDB_NOTFOUND)
            return 0;
        if (rc == 0)
            rc = expire_one(&c, &request, name);
    }
    return rc;
}
