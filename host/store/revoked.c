/* See revoked.h. Numbers ascend, so each is put behind the last: pages are filled to their end. */
#include "store/revoked.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"

enum { NUMBER_BYTES = 8, POSITION_BYTES = 33 };

static uint64_t number_of(struct str key)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < NUMBER_BYTES && i < key.len; i++)
        number = number << 8 | (unsigned char)key.ptr[i];
    return number;
}

static void write_number(uint64_t number, unsigned char key[NUMBER_BYTES])
{
    for (unsigned i = 0; i < NUMBER_BYTES; i++)
        key[i] = (unsigned char)(number >> (8 * (NUMBER_BYTES - 1 - i)));
}

/* The number of the first or last record; 0: there is none. */
static int find_end(const struct file *file, MDB_txn *txn, MDB_cursor_op which, uint64_t *number,
                    MDB_val *value)
{
    MDB_cursor *cursor;
    MDB_val key;
    *number = 0;
    int rc = mdb_cursor_open(txn, file->revoked, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, value, which);
    if (rc == 0)
        *number = number_of(file_str(key));
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int revoked_add(const struct file *file, MDB_txn *txn, struct store_request *request)
{
    uint64_t last;
    unsigned char bytes[NUMBER_BYTES];
    MDB_stat stat;
    MDB_val value = file_val(request->value.bytes), newest;
    request->status = value.mv_size == STORE_REVOCATION_BYTES ? 0 : -EINVAL;
    int rc = mdb_stat(txn, file->revoked, &stat);
    if (rc == 0)
        rc = find_end(file, txn, MDB_LAST, &last, &newest);
    if (rc == 0 && request->status == 0 && stat.ms_entries >= LIMIT_REVOCATIONS)
        request->status = STORE_FULL;
    if (rc != 0 || request->status != 0)
        return rc;
    write_number(last + 1, bytes);
    MDB_val key = {sizeof(bytes), bytes};
    return mdb_put(txn, file->revoked, &key, &value, MDB_APPEND);
}

/* ---- reading ---- */

static void write_position(const struct file *file, uint64_t number, struct buf *out)
{
    buf_clear(out);
    buf_printf(out, "%016llx-%016llx", (unsigned long long)file->seed[0],
               (unsigned long long)number);
}

/* The first number behind that position, which may be one of another file. */
static uint64_t begin(const struct file *file, struct str after)
{
    char text[POSITION_BYTES + 1] = {0};
    char *end;
    if (after.len != POSITION_BYTES)
        return 1;
    memcpy(text, after.ptr, after.len);
    if (strtoull(text, &end, 16) != file->seed[0] || *end != '-')
        return 1;
    return strtoull(end + 1, NULL, 16) + 1;
}

static int read_from(const struct file *file, MDB_cursor *cursor, struct store_request *request)
{
    unsigned char bytes[NUMBER_BYTES];
    MDB_val key = {sizeof(bytes), bytes}, value;
    uint64_t last = 0;
    write_number(begin(file, request->after), bytes);
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (unsigned n = 0; rc == 0; n++) {
        request->more = n >= request->limit;
        if (request->more)
            break;
        if (key.mv_size != NUMBER_BYTES || value.mv_size != STORE_REVOCATION_BYTES)
            return STORE_DAMAGED;
        last = number_of(file_str(key));
        buf_add_str(&request->out, file_str(value));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return file_status(rc);
    if (last > 0)
        write_position(file, last, &request->position);
    return buf_failed(&request->out) || buf_failed(&request->position) ? -ENOMEM : 0;
}

void revoked_read(const struct file *file, MDB_txn *txn, struct store_request *request)
{
    MDB_cursor *cursor;
    request->more = false;
    int rc = mdb_cursor_open(txn, file->revoked, &cursor);
    request->status = rc != 0 ? file_status(rc) : read_from(file, cursor, request);
    if (rc == 0)
        mdb_cursor_close(cursor);
}

/* ---- what is of no use any more ---- */

static uint64_t end_ms(MDB_val value)
{
    const unsigned char *bytes = value.mv_data;
    uint64_t seconds = 0;
    for (unsigned i = STORE_REVOCATION_BYTES; i > STORE_REVOCATION_BYTES - 4; i--)
        seconds = seconds << 8 | bytes[i - 1];
    return seconds * 1000;
}

/* The first record, where it may be removed; else 0. */
static int find_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms, uint64_t *number)
{
    uint64_t last = 0;
    MDB_val value, newest;
    int rc = find_end(file, txn, MDB_FIRST, number, &value);
    if (rc != 0 || *number == 0)
        return rc;
    if (value.mv_size != STORE_REVOCATION_BYTES)
        return MDB_CORRUPTED;
    if (end_ms(value) >= now_ms) {
        *number = 0;
        return 0;
    }
    rc = find_end(file, txn, MDB_LAST, &last, &newest);
    if (last == *number)
        *number = 0;
    return rc;
}

bool revoked_has_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms)
{
    uint64_t number;
    return find_expired(file, txn, now_ms, &number) == 0 && number > 0;
}

int revoked_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                   unsigned *removed)
{
    for (*removed = 0; *removed < limit; ++*removed) {
        uint64_t number;
        unsigned char bytes[NUMBER_BYTES];
        int rc = find_expired(file, txn, now_ms, &number);
        if (rc != 0 || number == 0)
            return rc;
        write_number(number, bytes);
        MDB_val key = {sizeof(bytes), bytes};
        rc = mdb_del(txn, file->revoked, &key, NULL);
        if (rc != 0)
            return rc;
    }
    return 0;
}
