/* See jobs_rows.h. What a cursor points to moves with each write: what is to be changed is found
 * first, and copied. */
#include "store/jobs_rows.h"

#include "base/siphash.h"
#include "store/jobs.h"

/* ---- keys of job_order ---- */

static void add_text(struct jobs_order *key, struct str text)
{
    memcpy(key->bytes + key->len, text.ptr, text.len);
    key->len += text.len;
}

static void add_number(struct jobs_order *key, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        key->bytes[key->len++] = (char)(number >> shift);
}

static uint64_t read_number(const char *bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < sizeof(number); i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

struct jobs_order jobs_order_of(char letter)
{
    return (struct jobs_order){.len = 1, .bytes = {letter}};
}

struct jobs_order jobs_order_of_function(char letter, struct str function)
{
    struct jobs_order key = jobs_order_of(letter);
    add_text(&key, function);
    key.bytes[key.len++] = '\0';
    return key;
}

static struct jobs_order order_of_row(const struct jobs_row *row)
{
    const struct str id = {row->id, JOB_ID_BYTES};
    const struct str function = {row->function, row->head.function_len};
    struct jobs_order key =
        row->head.state == JOB_DEAD
            ? jobs_order_of('d')
            : jobs_order_of_function(row->head.state == JOB_RUNNING ? 'r' : 'w', function);
    if (row->head.state == JOB_WAITING)
        add_number(&key, row->head.due_ms);
    add_text(&key, id);
    return key;
}

int jobs_put_order(const struct jobs_work *w, const struct jobs_order *key, const void *value,
                   size_t size)
{
    MDB_val k = {key->len, (void *)(uintptr_t)key->bytes}, v = {size, (void *)(uintptr_t)value};
    return mdb_put(w->txn, w->file->job_order, &k, &v, 0);
}

static int drop_order(const struct jobs_work *w, const struct jobs_order *key)
{
    MDB_val k = {key->len, (void *)(uintptr_t)key->bytes};
    int rc = mdb_del(w->txn, w->file->job_order, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- counts ---- */

int jobs_read_counts(const struct file *file, MDB_txn *txn, struct jobs_counts *counts)
{
    MDB_val key = {1, (void *)(uintptr_t) "c"}, value;
    *counts = (struct jobs_counts){0};
    int rc = mdb_get(txn, file->job_order, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && value.mv_size != sizeof(*counts))
        return MDB_CORRUPTED;
    if (rc == 0)
        memcpy(counts, value.mv_data, sizeof(*counts));
    return rc;
}

static void count(struct jobs_work *w, const struct jobs_row *row, int by)
{
    uint64_t *of[] = {[JOB_WAITING] = &w->counts.waiting,
                      [JOB_RUNNING] = &w->counts.running,
                      [JOB_DEAD] = &w->counts.dead};
    *of[row->head.state] += (uint64_t)(int64_t)by;
    w->counts.bytes += (uint64_t)((int64_t)row->head.payload_bytes * by);
}

/* ---- rows ---- */

int jobs_read_row(const struct file *file, MDB_txn *txn, struct str id, struct jobs_row *row)
{
    MDB_val key = file_val(id), value;
    int rc = id.len == JOB_ID_BYTES ? mdb_get(txn, file->jobs, &key, &value) : MDB_NOTFOUND;
    if (rc != 0)
        return rc;
    struct jobs_head *head = &row->head;
    if (value.mv_size < sizeof(*head))
        return MDB_VERSION_MISMATCH;
    memcpy(head, value.mv_data, sizeof(*head));
    const char *texts = (const char *)value.mv_data + sizeof(*head);
    if (head->version != JOBS_VERSION || head->state > JOB_DEAD ||
        head->function_len > JOBS_FUNCTION_MAX || head->key_len > LIMIT_KV_KEY_BYTES ||
        head->reason_len > LIMIT_QUEUE_REASON ||
        value.mv_size !=
            sizeof(*head) + head->function_len + head->key_len + (size_t)head->reason_len)
        return MDB_VERSION_MISMATCH;
    memcpy(row->id, id.ptr, JOB_ID_BYTES);
    memcpy(row->function, texts, head->function_len);
    memcpy(row->key, texts + head->function_len, head->key_len);
    memcpy(row->reason, texts + head->function_len + head->key_len, head->reason_len);
    return 0;
}

int jobs_write_row(struct jobs_work *w, const struct jobs_row *row)
{
    const struct jobs_head *head = &row->head;
    MDB_val key = {JOB_ID_BYTES, (void *)(uintptr_t)row->id};
    MDB_val value = {sizeof(*head) + head->function_len + head->key_len + (size_t)head->reason_len,
                     NULL};
    int rc = mdb_put(w->txn, w->file->jobs, &key, &value, MDB_RESERVE);
    if (rc != 0)
        return rc;
    char *at = value.mv_data;
    memcpy(at, head, sizeof(*head));
    at += sizeof(*head);
    memcpy(at, row->function, head->function_len);
    memcpy(at + head->function_len, row->key, head->key_len);
    memcpy(at + head->function_len + head->key_len, row->reason, head->reason_len);
    struct jobs_order order = order_of_row(row);
    count(w, row, 1);
    return jobs_put_order(w, &order, head->owner, head->state == JOB_RUNNING ? JOB_OWNER_BYTES : 0);
}

/* Takes it out of the order that it was found in. */
static int leave_state(struct jobs_work *w, const struct jobs_row *row)
{
    struct jobs_order order = order_of_row(row);
    count(w, row, -1);
    return drop_order(w, &order);
}

int jobs_move_row(struct jobs_work *w, struct jobs_row *row, enum job_state state, uint64_t due_ms)
{
    int rc = leave_state(w, row);
    row->head.state = (uint8_t)state;
    row->head.due_ms = due_ms;
    row->head.has_owner = state == JOB_RUNNING;
    return rc == 0 ? jobs_write_row(w, row) : rc;
}

static void set_reason(struct jobs_row *row, struct str reason)
{
    row->head.reason_len =
        (uint16_t)(reason.len < LIMIT_QUEUE_REASON ? reason.len : LIMIT_QUEUE_REASON);
    memcpy(row->reason, reason.ptr, row->head.reason_len);
}

int jobs_make_dead(struct jobs_work *w, struct jobs_row *row, struct str reason)
{
    set_reason(row, reason);
    return jobs_move_row(w, row, JOB_DEAD, w->now_ms);
}

int jobs_remove_row(struct jobs_work *w, const struct jobs_row *row)
{
    MDB_val key = {JOB_ID_BYTES, (void *)(uintptr_t)row->id};
    int rc = leave_state(w, row);
    if (rc == 0)
        rc = mdb_del(w->txn, w->file->jobs, &key, NULL);
    return rc == 0 ? mdb_del(w->txn, w->file->job_payloads, &key, NULL) : rc;
}

/* ---- walking ---- */

int jobs_find(const struct file *file, MDB_txn *txn, const struct jobs_search *search,
              struct jobs_found *found)
{
    const struct jobs_order *prefix = &search->prefix;
    MDB_cursor *cursor;
    MDB_val key = {prefix->len, (void *)(uintptr_t)prefix->bytes}, value;
    found->count = 0;
    int rc = mdb_cursor_open(txn, file->job_order, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0 && found->count < search->most;
         rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        const char *bytes = key.mv_data;
        if (key.mv_size < prefix->len + JOB_ID_BYTES ||
            memcmp(bytes, prefix->bytes, prefix->len) != 0)
            break;
        const char *id = bytes + key.mv_size - JOB_ID_BYTES;
        if (bytes[0] == 'w' && read_number(id - sizeof(uint64_t)) > search->due_ms)
            break;
        if (search->seeker != NULL && !job_owner_is_gone(search->seeker, file_str(value)))
            continue;
        if (found->count < JOBS_FOUND_MAX && key.mv_size <= JOBS_ORDER_MAX) {
            found->entries[found->count].len = key.mv_size;
            memcpy(found->entries[found->count].bytes, bytes, key.mv_size);
        }
        found->count++;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int jobs_read_entry(const struct jobs_work *w, const struct jobs_order *at, struct jobs_row *row,
                    bool *foreign)
{
    const char *id = at->bytes + at->len - JOB_ID_BYTES;
    MDB_val key = {JOB_ID_BYTES, (void *)(uintptr_t)id}, payload = {0, NULL};
    int rc = jobs_read_row(w->file, w->txn, (struct str){id, JOB_ID_BYTES}, row);
    *foreign = rc == MDB_VERSION_MISMATCH;
    if (!*foreign)
        return rc;
    char letter = at->bytes[0];
    const char *name = at->bytes + 1, *end = memchr(name, '\0', at->len - 1);
    *row = (struct jobs_row){.head = {.version = JOBS_VERSION,
                                      .state = letter == 'r'   ? JOB_RUNNING
                                               : letter == 'w' ? JOB_WAITING
                                                               : JOB_DEAD}};
    memcpy(row->id, id, JOB_ID_BYTES);
    if (letter != 'd' && end != NULL && end - name <= JOBS_FUNCTION_MAX) {
        row->head.function_len = (uint16_t)(end - name);
        memcpy(row->function, name, row->head.function_len);
    }
    if (letter == 'w')
        row->head.due_ms = read_number(id - sizeof(uint64_t));
    rc = mdb_get(w->txn, w->file->job_payloads, &key, &payload);
    row->head.payload_bytes = payload.mv_size;
    return rc;
}

int jobs_make_foreign_dead(struct jobs_work *w, struct jobs_row *row)
{
    return jobs_make_dead(w, row, str_from(JOB_FOREIGN));
}

struct jobs_search jobs_search_waiting(struct str function, uint64_t due_ms, unsigned most)
{
    return (struct jobs_search){
        .prefix = jobs_order_of_function('w', function), .due_ms = due_ms, .most = most};
}

struct jobs_search jobs_search_lost(const struct job_owner *seeker)
{
    return (struct jobs_search){
        .prefix = jobs_order_of('r'), .most = JOBS_FOUND_MAX, .seeker = seeker};
}

int jobs_next_function(const struct file *file, MDB_txn *txn, char *name, size_t *len)
{
    MDB_cursor *cursor;
    struct jobs_order from = jobs_order_of('w');
    if (*len > 0) {
        add_text(&from, (struct str){name, *len});
        from.bytes[from.len++] = '\1'; /* behind all of its own; names have no such bytes */
    }
    MDB_val key = {from.len, from.bytes}, value;
    int rc = mdb_cursor_open(txn, file->job_order, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    const char *bytes = key.mv_data;
    if (rc == 0 && (bytes[0] != 'w' || key.mv_size < 2 + sizeof(uint64_t) + JOB_ID_BYTES))
        rc = MDB_NOTFOUND;
    if (rc == 0) {
        *len = key.mv_size - 2 - sizeof(uint64_t) - JOB_ID_BYTES;
        if (*len == 0 || *len > JOBS_FUNCTION_MAX)
            rc = MDB_CORRUPTED;
        else
            memcpy(name, bytes + 1, *len);
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* ---- keys ---- */

static struct siphash hash_of(const struct jobs_work *w, const struct jobs_row *row)
{
    char text[JOBS_FUNCTION_MAX + 1 + LIMIT_KV_KEY_BYTES];
    size_t len = row->head.function_len;
    memcpy(text, row->function, len);
    text[len++] = '\0';
    memcpy(text + len, row->key, row->head.key_len);
    return siphash(w->file->seed, (struct str){text, len + row->head.key_len});
}

int jobs_take_key(struct jobs_work *w, const struct jobs_row *row, bool *taken)
{
    *taken = false;
    if (row->head.key_len == 0)
        return 0;
    struct siphash hash = hash_of(w, row);
    struct str bytes = {(const char *)&hash, sizeof(hash)};
    struct jobs_order key = jobs_order_of('k'), end = jobs_order_of('u');
    add_text(&key, bytes);
    MDB_val k = {key.len, key.bytes}, v;
    uint64_t until = 0;
    int rc = mdb_get(w->txn, w->file->job_order, &k, &v);
    if (rc == 0 && v.mv_size == sizeof(until))
        memcpy(&until, v.mv_data, sizeof(until));
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    *taken = until > w->now_ms;
    if (*taken)
        return 0;
    until = w->now_ms + (uint64_t)(LIMIT_QUEUE_KEY * 1000);
    add_number(&end, until);
    add_text(&end, bytes);
    rc = jobs_put_order(w, &key, &until, sizeof(until));
    return rc == 0 ? jobs_put_order(w, &end, NULL, 0) : rc;
}

/* The first that ends; MDB_NOTFOUND: none has. */
static int first_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                         struct jobs_order *end)
{
    MDB_cursor *cursor;
    MDB_val key = {1, (void *)(uintptr_t) "u"}, value;
    int rc = mdb_cursor_open(txn, file->job_order, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    const char *bytes = key.mv_data;
    if (rc == 0 &&
        (bytes[0] != 'u' || key.mv_size != 1 + sizeof(uint64_t) + sizeof(struct siphash) ||
         read_number(bytes + 1) > now_ms))
        rc = MDB_NOTFOUND;
    if (rc == 0) {
        end->len = key.mv_size;
        memcpy(end->bytes, bytes, end->len);
    }
    mdb_cursor_close(cursor);
    return rc;
}

bool jobs_have_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms)
{
    struct jobs_order end;
    return first_expired(file, txn, now_ms, &end) == 0;
}

int jobs_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                unsigned *removed)
{
    const struct jobs_work w = {.file = file, .txn = txn, .now_ms = now_ms};
    for (*removed = 0; *removed < limit; ++*removed) {
        struct jobs_order end, key = jobs_order_of('k');
        int rc = first_expired(file, txn, now_ms, &end);
        if (rc != 0)
            return rc == MDB_NOTFOUND ? 0 : rc;
        add_text(&key, (struct str){end.bytes + 1 + sizeof(uint64_t), sizeof(struct siphash)});
        MDB_val k = {key.len, key.bytes}, v;
        rc = mdb_get(txn, file->job_order, &k, &v);
        uint64_t until = read_number(end.bytes + 1);
        bool ended =
            rc == 0 && v.mv_size == sizeof(until) && memcmp(v.mv_data, &until, sizeof(until)) == 0;
        if (ended) /* else it has been taken again since */
            rc = drop_order(&w, &key);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return rc;
        rc = drop_order(&w, &end);
        if (rc != 0)
            return rc;
    }
    return 0;
}
