/* See jobs.h. What a cursor points to moves with each write: what is to be changed is found first,
 * and copied. */
#include "store/jobs.h"

#include <errno.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/siphash.h"
#include "store/job.h"
#include "store/job_owner.h"

enum {
    VERSION = 1,
    FUNCTION_MAX = LIMIT_KV_SPACE_NAME,
    ORDER_MAX = 1 + FUNCTION_MAX + 1 + 8 + JOB_ID_BYTES,
    FOUND_MAX = 64
};

/* The beginning of a record in `jobs`; the texts follow in this order. */
struct head {
    uint32_t version;
    uint8_t state, has_owner, unused[2];
    uint32_t attempt, lost;
    uint64_t due_ms, payload_bytes;
    uint16_t function_len, key_len, reason_len, unused2;
    char owner[JOB_OWNER_BYTES + 1];
};

struct row {
    char id[JOB_ID_BYTES];
    struct head head;
    char function[FUNCTION_MAX], key[LIMIT_KV_KEY_BYTES], reason[LIMIT_QUEUE_REASON];
};

struct counts {
    uint64_t bytes, waiting, running, dead;
};

struct work {
    const struct file *file;
    MDB_txn *txn;
    uint64_t now_ms;
    struct store_request *request;
    struct counts counts;
};

/* ---- keys of job_order ---- */

struct order {
    size_t len;
    char bytes[ORDER_MAX];
};

static void add_text(struct order *key, struct str text)
{
    memcpy(key->bytes + key->len, text.ptr, text.len);
    key->len += text.len;
}

static void add_number(struct order *key, uint64_t number)
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

static struct order order_of(char letter)
{
    return (struct order){.len = 1, .bytes = {letter}};
}

/* Of all jobs of a function in that state. */
static struct order order_of_function(char letter, struct str function)
{
    struct order key = order_of(letter);
    add_text(&key, function);
    key.bytes[key.len++] = '\0';
    return key;
}

static struct order order_of_row(const struct row *row)
{
    const struct str id = {row->id, JOB_ID_BYTES};
    const struct str function = {row->function, row->head.function_len};
    struct order key =
        row->head.state == JOB_DEAD
            ? order_of('d')
            : order_of_function(row->head.state == JOB_RUNNING ? 'r' : 'w', function);
    if (row->head.state == JOB_WAITING)
        add_number(&key, row->head.due_ms);
    add_text(&key, id);
    return key;
}

static int put_order(const struct work *w, const struct order *key, const void *value, size_t size)
{
    MDB_val k = {key->len, (void *)(uintptr_t)key->bytes}, v = {size, (void *)(uintptr_t)value};
    return mdb_put(w->txn, w->file->job_order, &k, &v, 0);
}

static int drop_order(const struct work *w, const struct order *key)
{
    MDB_val k = {key->len, (void *)(uintptr_t)key->bytes};
    int rc = mdb_del(w->txn, w->file->job_order, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- counts ---- */

static int read_counts(const struct file *file, MDB_txn *txn, struct counts *counts)
{
    MDB_val key = {1, (void *)(uintptr_t) "c"}, value;
    *counts = (struct counts){0};
    int rc = mdb_get(txn, file->job_order, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && value.mv_size != sizeof(*counts))
        return MDB_CORRUPTED;
    if (rc == 0)
        memcpy(counts, value.mv_data, sizeof(*counts));
    return rc;
}

static void count(struct work *w, const struct row *row, int by)
{
    uint64_t *of[] = {[JOB_WAITING] = &w->counts.waiting,
                      [JOB_RUNNING] = &w->counts.running,
                      [JOB_DEAD] = &w->counts.dead};
    *of[row->head.state] += (uint64_t)(int64_t)by;
    w->counts.bytes += (uint64_t)((int64_t)row->head.payload_bytes * by);
}

/* ---- rows ---- */

/* MDB_NOTFOUND: there is none; MDB_VERSION_MISMATCH: it is none of ours. */
static int read_row(const struct file *file, MDB_txn *txn, struct str id, struct row *row)
{
    MDB_val key = file_val(id), value;
    int rc = id.len == JOB_ID_BYTES ? mdb_get(txn, file->jobs, &key, &value) : MDB_NOTFOUND;
    if (rc != 0)
        return rc;
    struct head *head = &row->head;
    if (value.mv_size < sizeof(*head))
        return MDB_VERSION_MISMATCH;
    memcpy(head, value.mv_data, sizeof(*head));
    const char *texts = (const char *)value.mv_data + sizeof(*head);
    if (head->version != VERSION || head->state > JOB_DEAD || head->function_len > FUNCTION_MAX ||
        head->key_len > LIMIT_KV_KEY_BYTES || head->reason_len > LIMIT_QUEUE_REASON ||
        value.mv_size !=
            sizeof(*head) + head->function_len + head->key_len + (size_t)head->reason_len)
        return MDB_VERSION_MISMATCH;
    memcpy(row->id, id.ptr, JOB_ID_BYTES);
    memcpy(row->function, texts, head->function_len);
    memcpy(row->key, texts + head->function_len, head->key_len);
    memcpy(row->reason, texts + head->function_len + head->key_len, head->reason_len);
    return 0;
}

static int write_row(struct work *w, const struct row *row)
{
    const struct head *head = &row->head;
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
    struct order order = order_of_row(row);
    count(w, row, 1);
    return put_order(w, &order, head->owner, head->state == JOB_RUNNING ? JOB_OWNER_BYTES : 0);
}

/* Takes it out of the order that it was found in. */
static int leave_state(struct work *w, const struct row *row)
{
    struct order order = order_of_row(row);
    count(w, row, -1);
    return drop_order(w, &order);
}

static int move_row(struct work *w, struct row *row, enum job_state state, uint64_t due_ms)
{
    int rc = leave_state(w, row);
    row->head.state = (uint8_t)state;
    row->head.due_ms = due_ms;
    row->head.has_owner = state == JOB_RUNNING;
    return rc == 0 ? write_row(w, row) : rc;
}

static void set_reason(struct row *row, struct str reason)
{
    row->head.reason_len =
        (uint16_t)(reason.len < LIMIT_QUEUE_REASON ? reason.len : LIMIT_QUEUE_REASON);
    memcpy(row->reason, reason.ptr, row->head.reason_len);
}

static int make_dead(struct work *w, struct row *row, struct str reason)
{
    set_reason(row, reason);
    return move_row(w, row, JOB_DEAD, w->now_ms);
}

static int remove_row(struct work *w, const struct row *row)
{
    MDB_val key = {JOB_ID_BYTES, (void *)(uintptr_t)row->id};
    int rc = leave_state(w, row);
    if (rc == 0)
        rc = mdb_del(w->txn, w->file->jobs, &key, NULL);
    return rc == 0 ? mdb_del(w->txn, w->file->job_payloads, &key, NULL) : rc;
}

/* ---- walking ---- */

struct search {
    struct order prefix;
    uint64_t due_ms; /* of those that wait, up to this */
    unsigned most;
    const struct job_owner
        *seeker; /* of those that run, whose owner it knows to be gone; or NULL */
};

/* Entries, each with an id at its end; of more than FOUND_MAX there is the count alone. */
struct found {
    unsigned count;
    struct order entries[FOUND_MAX];
};

static int find(const struct file *file, MDB_txn *txn, const struct search *search,
                struct found *found)
{
    const struct order *prefix = &search->prefix;
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
        if (found->count < FOUND_MAX && key.mv_size <= ORDER_MAX) {
            found->entries[found->count].len = key.mv_size;
            memcpy(found->entries[found->count].bytes, bytes, key.mv_size);
        }
        found->count++;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The row of that entry. `*foreign`: the record is of another version, or of nobody, and the row is
 * what the entry says of it. */
static int read_entry(const struct work *w, const struct order *at, struct row *row, bool *foreign)
{
    const char *id = at->bytes + at->len - JOB_ID_BYTES;
    MDB_val key = {JOB_ID_BYTES, (void *)(uintptr_t)id}, payload = {0, NULL};
    int rc = read_row(w->file, w->txn, (struct str){id, JOB_ID_BYTES}, row);
    *foreign = rc == MDB_VERSION_MISMATCH;
    if (!*foreign)
        return rc;
    char letter = at->bytes[0];
    const char *name = at->bytes + 1, *end = memchr(name, '\0', at->len - 1);
    *row = (struct row){.head = {.version = VERSION,
                                 .state = letter == 'r'   ? JOB_RUNNING
                                          : letter == 'w' ? JOB_WAITING
                                                          : JOB_DEAD}};
    memcpy(row->id, id, JOB_ID_BYTES);
    if (letter != 'd' && end != NULL && end - name <= FUNCTION_MAX) {
        row->head.function_len = (uint16_t)(end - name);
        memcpy(row->function, name, row->head.function_len);
    }
    if (letter == 'w')
        row->head.due_ms = read_number(id - sizeof(uint64_t));
    rc = mdb_get(w->txn, w->file->job_payloads, &key, &payload);
    row->head.payload_bytes = payload.mv_size;
    return rc;
}

static int make_foreign_dead(struct work *w, struct row *row)
{
    return make_dead(w, row, str_from(JOB_FOREIGN));
}

static struct search search_waiting(struct str function, uint64_t due_ms, unsigned most)
{
    return (struct search){
        .prefix = order_of_function('w', function), .due_ms = due_ms, .most = most};
}

static struct search search_lost(const struct job_owner *seeker)
{
    return (struct search){.prefix = order_of('r'), .most = FOUND_MAX, .seeker = seeker};
}

/* The function of the first job that waits, of functions that come behind that one. `name` has room
 * for FUNCTION_MAX bytes. 0, MDB_NOTFOUND at the end, or another error. */
static int next_function(const struct file *file, MDB_txn *txn, char *name, size_t *len)
{
    MDB_cursor *cursor;
    struct order from = order_of('w');
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
        if (*len == 0 || *len > FUNCTION_MAX)
            rc = MDB_CORRUPTED;
        else
            memcpy(name, bytes + 1, *len);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static bool is_wanted(struct str list, struct str function)
{
    struct job_want want;
    while (job_next_want(&list, &want)) {
        if (str_eq(want.function, function))
            return true;
    }
    return false;
}

/* ---- keys ---- */

static struct siphash hash_of(const struct work *w, const struct row *row)
{
    char text[FUNCTION_MAX + 1 + LIMIT_KV_KEY_BYTES];
    size_t len = row->head.function_len;
    memcpy(text, row->function, len);
    text[len++] = '\0';
    memcpy(text + len, row->key, row->head.key_len);
    return siphash(w->file->seed, (struct str){text, len + row->head.key_len});
}

/* Takes the job's key; *taken: somebody had it. */
static int take_key(struct work *w, const struct row *row, bool *taken)
{
    *taken = false;
    if (row->head.key_len == 0)
        return 0;
    struct siphash hash = hash_of(w, row);
    struct str bytes = {(const char *)&hash, sizeof(hash)};
    struct order key = order_of('k'), end = order_of('u');
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
    rc = put_order(w, &key, &until, sizeof(until));
    return rc == 0 ? put_order(w, &end, NULL, 0) : rc;
}

/* The first that ends; MDB_NOTFOUND: none has. */
static int first_expired(const struct file *file, MDB_txn *txn, uint64_t now_ms, struct order *end)
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
    struct order end;
    return first_expired(file, txn, now_ms, &end) == 0;
}

int jobs_expire(const struct file *file, MDB_txn *txn, uint64_t now_ms, unsigned limit,
                unsigned *removed)
{
    const struct work w = {.file = file, .txn = txn, .now_ms = now_ms};
    for (*removed = 0; *removed < limit; ++*removed) {
        struct order end, key = order_of('k');
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

/* ---- STORE_JOB_ADD ---- */

/* Do as many of the function run and wait as may? And may this one begin at once? */
static int look_for_room(struct work *w, bool *begins)
{
    struct store_request *r = w->request;
    struct found runs, waits = {0};
    *begins = false;
    if (r->limit == 0)
        return 0;
    const struct search running = {.prefix = order_of_function('r', r->space), .most = r->limit};
    const struct search waiting = search_waiting(r->space, w->now_ms, r->limit);
    int rc = find(w->file, w->txn, &running, &runs);
    if (rc == 0)
        rc = find(w->file, w->txn, &waiting, &waits);
    if (runs.count + waits.count >= r->limit)
        r->status = STORE_NO_SLOT;
    *begins = waits.count == 0 && (int64_t)runs.count < r->by;
    return rc;
}

static int add(struct work *w)
{
    struct store_request *r = w->request;
    struct row row = {.head = {.version = VERSION,
                               .due_ms = w->now_ms + r->ttl_ms,
                               .payload_bytes = r->value.bytes.len,
                               .function_len = (uint16_t)r->space.len,
                               .key_len = (uint16_t)r->key.len}};
    MDB_stat stat;
    bool taken = false;
    int rc = mdb_stat(w->txn, w->file->jobs, &stat);
    if (rc != 0)
        return rc;
    if (r->id.len != JOB_ID_BYTES || r->space.len == 0 || r->space.len > FUNCTION_MAX ||
        r->key.len > LIMIT_KV_KEY_BYTES)
        r->status = -EINVAL;
    else if (r->value.bytes.len > LIMIT_QUEUE_JOB_BYTES)
        r->status = STORE_JOB_TOO_LARGE;
    else if (stat.ms_entries >= LIMIT_QUEUE_JOBS ||
             w->counts.bytes + r->value.bytes.len > LIMIT_QUEUE_BYTES)
        r->status = STORE_QUEUE_FULL;
    bool begins = false;
    if (r->status == 0)
        rc = look_for_room(w, &begins);
    if (rc != 0 || r->status != 0)
        return rc;
    r->number = begins;
    if (begins) {
        row.head.state = JOB_RUNNING;
        row.head.has_owner = true;
        memcpy(row.head.owner, r->owner->text, sizeof(row.head.owner));
    }
    memcpy(row.id, r->id.ptr, JOB_ID_BYTES);
    memcpy(row.function, r->space.ptr, r->space.len);
    if (r->key.len > 0)
        memcpy(row.key, r->key.ptr, r->key.len);
    rc = take_key(w, &row, &taken);
    r->changed = !taken;
    if (rc != 0 || taken)
        return rc;
    MDB_val key = {JOB_ID_BYTES, row.id}, value = file_val(r->value.bytes);
    rc = mdb_put(w->txn, w->file->job_payloads, &key, &value, 0);
    return rc == 0 ? write_row(w, &row) : rc;
}

/* ---- STORE_JOB_TAKE ---- */

static int give_job(struct work *w, const struct row *row)
{
    MDB_val key = {JOB_ID_BYTES, (void *)(uintptr_t)row->id}, value = {0, NULL};
    int rc = mdb_get(w->txn, w->file->job_payloads, &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    const struct job job = {.id = {row->id, JOB_ID_BYTES},
                            .function = {row->function, row->head.function_len},
                            .key = {row->key, row->head.key_len},
                            .payload = file_str(value),
                            .state = JOB_RUNNING,
                            .attempt = row->head.attempt,
                            .due_ms = row->head.due_ms};
    job_add(&w->request->out, &job);
    return buf_failed(&w->request->out) ? ENOMEM : 0;
}

static int begin(struct work *w, const struct order *entry)
{
    struct row row;
    bool foreign;
    int rc = read_entry(w, entry, &row, &foreign);
    if (rc != 0 || foreign)
        return rc != 0 ? rc : make_foreign_dead(w, &row);
    memcpy(row.head.owner, w->request->owner->text, sizeof(row.head.owner));
    rc = move_row(w, &row, JOB_RUNNING, w->now_ms);
    return rc == 0 ? give_job(w, &row) : rc;
}

/* What comes after a megabyte waits for the next request. */
static int take_for(struct work *w, const struct job_want *want, unsigned *left)
{
    struct found running, waiting;
    const struct search runs = {.prefix = order_of_function('r', want->function),
                                .most = want->most};
    unsigned room = want->room < *left ? want->room : *left;
    if (room == 0)
        return 0;
    int rc = find(w->file, w->txn, &runs, &running);
    if (rc != 0 || running.count >= want->most)
        return rc;
    if (room > want->most - running.count)
        room = want->most - running.count;
    const struct search due = search_waiting(want->function, w->now_ms, room);
    rc = find(w->file, w->txn, &due, &waiting);
    for (unsigned i = 0; rc == 0 && *left > 0 && i < waiting.count; i++) {
        rc = begin(w, &waiting.entries[i]);
        *left = w->request->out.len < LIMIT_KV_VALUE_BYTES ? *left - 1 : 0;
    }
    return rc;
}

/* Jobs of workers that are gone wait again. */
static int release_lost(struct work *w)
{
    struct found found;
    const struct search lost = search_lost(w->request->owner);
    int rc = find(w->file, w->txn, &lost, &found);
    for (unsigned i = 0; rc == 0 && i < found.count; i++) {
        struct row row;
        bool foreign;
        rc = read_entry(w, &found.entries[i], &row, &foreign);
        if (rc != 0)
            break;
        if (foreign)
            rc = make_foreign_dead(w, &row);
        else if (++row.head.lost > LIMIT_QUEUE_LOST)
            rc = make_dead(w, &row, STR("the workers that ran it died, each time"));
        else
            rc = move_row(w, &row, JOB_WAITING, w->now_ms);
    }
    return rc;
}

/* What nobody has a function for. */
static int bury_unread(struct work *w)
{
    char name[FUNCTION_MAX];
    size_t len = 0;
    const uint64_t age = (uint64_t)w->request->by;
    int rc;
    while ((rc = next_function(w->file, w->txn, name, &len)) == 0) {
        const struct str function = {name, len};
        struct found found;
        const struct search old = search_waiting(function, w->now_ms - age, FOUND_MAX);
        if (is_wanted(w->request->value.bytes, function))
            continue;
        rc = find(w->file, w->txn, &old, &found);
        for (unsigned i = 0; rc == 0 && i < found.count; i++) {
            struct row row;
            bool foreign;
            rc = read_entry(w, &found.entries[i], &row, &foreign);
            if (rc == 0)
                rc = make_dead(w, &row, STR("there is no function of this name"));
        }
        if (rc != 0)
            return rc;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int take(struct work *w)
{
    struct str list = w->request->value.bytes;
    struct job_want want;
    unsigned left = w->request->limit;
    int rc = release_lost(w);
    if (rc == 0)
        rc = bury_unread(w);
    while (rc == 0 && left > 0 && job_next_want(&list, &want))
        rc = take_for(w, &want, &left);
    w->request->number = (int64_t)w->counts.waiting;
    w->request->dead = (int64_t)w->counts.dead;
    return rc;
}

/* ---- STORE_JOB_END, RETRY, DROP ---- */

static int end(struct work *w)
{
    struct store_request *r = w->request;
    struct row row;
    int rc = read_row(w->file, w->txn, r->id, &row);
    if (rc != 0)
        return rc == MDB_NOTFOUND || rc == MDB_VERSION_MISMATCH ? 0 : rc;
    r->changed =
        row.head.state == JOB_RUNNING && str_eq(str_from(row.head.owner), str_from(r->owner->text));
    if (!r->changed)
        return 0;
    if (r->by == JOB_END_DONE)
        return remove_row(w, &row);
    row.head.attempt += r->by != JOB_END_BACK;
    row.head.lost = 0;
    return r->by == JOB_END_DEAD ? make_dead(w, &row, r->value.bytes)
                                 : move_row(w, &row, JOB_WAITING, w->now_ms + r->ttl_ms);
}

static int change_row(struct work *w, struct row *row)
{
    bool drops = w->request->kind == STORE_JOB_DROP;
    if (row->head.state == JOB_RUNNING || (!drops && row->head.state != JOB_DEAD))
        return 0;
    w->request->number++;
    if (drops)
        return remove_row(w, row);
    row->head.attempt = row->head.lost = 0;
    row->head.reason_len = 0;
    return move_row(w, row, JOB_WAITING, w->now_ms);
}

/* One, or a good part of all that are dead: `more` says whether that was all. */
static int change(struct work *w)
{
    struct found found;
    struct row row;
    const struct search dead = {.prefix = order_of('d'), .most = FOUND_MAX};
    int rc;
    w->request->number = 0;
    w->request->more = false;
    if (w->request->id.len > 0) {
        rc = read_row(w->file, w->txn, w->request->id, &row);
        if (rc != 0) /* one of another version is a dead letter of this one as soon as it is due */
            return rc == MDB_NOTFOUND || rc == MDB_VERSION_MISMATCH ? 0 : rc;
        return change_row(w, &row);
    }
    rc = find(w->file, w->txn, &dead, &found);
    for (unsigned i = 0; rc == 0 && i < found.count; i++) {
        bool foreign;
        rc = read_entry(w, &found.entries[i], &row, &foreign);
        if (rc == 0)
            rc = change_row(w, &row);
    }
    w->request->more = found.count == FOUND_MAX;
    return rc;
}

int jobs_apply(const struct file *file, MDB_txn *txn, uint64_t now_ms,
               struct store_request *request)
{
    struct work w = {.file = file, .txn = txn, .now_ms = now_ms, .request = request};
    const struct order counts = order_of('c');
    request->status = 0;
    request->changed = false;
    buf_clear(&request->out); /* a batch may be tried again */
    int rc = read_counts(file, txn, &w.counts);
    if (rc != 0)
        return rc;
    switch (request->kind) {
    case STORE_JOB_ADD:
        rc = add(&w);
        break;
    case STORE_JOB_TAKE:
        rc = take(&w);
        break;
    case STORE_JOB_END:
        rc = end(&w);
        break;
    default:
        rc = change(&w);
    }
    return rc == 0 ? put_order(&w, &counts, &w.counts, sizeof(w.counts)) : rc;
}

/* ---- reading ---- */

static bool finds(const struct file *file, MDB_txn *txn, struct search search)
{
    struct found found;
    search.most = 1;
    return find(file, txn, &search, &found) == 0 && found.count > 0;
}

/* Of that function: one that can begin now, or one that nobody has taken for too long. */
static bool has_due_of(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                       const struct store_request *request, struct str function)
{
    struct str list = request->value.bytes;
    struct job_want want;
    while (job_next_want(&list, &want)) {
        if (str_eq(want.function, function))
            return want.room > 0 && finds(file, txn, search_waiting(function, now_ms, 1));
    }
    return finds(file, txn, search_waiting(function, now_ms - (uint64_t)request->by, 1));
}

static bool has_due(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                    const struct store_request *request)
{
    char name[FUNCTION_MAX];
    size_t len = 0;
    while (next_function(file, txn, name, &len) == 0) {
        if (has_due_of(file, txn, now_ms, request, (struct str){name, len}))
            return true;
    }
    return false;
}

bool jobs_have_work(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                    struct store_request *request)
{
    struct counts counts;
    request->status = file_status(read_counts(file, txn, &counts));
    if (request->status != 0)
        return false;
    request->number = (int64_t)counts.waiting;
    request->dead = (int64_t)counts.dead;
    if (counts.running > 0 && finds(file, txn, search_lost(request->owner)))
        return true;
    return counts.waiting > 0 && has_due(file, txn, now_ms, request);
}

/* In the order of their ids, which is that of their time. */
static int list_from(const struct file *file, MDB_txn *txn, MDB_cursor *cursor,
                     struct store_request *request)
{
    MDB_val key = file_val(request->after), value;
    struct row row;
    request->more = false;
    int rc = request->after.len > 0 ? mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
                                    : mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (rc == 0 && str_eq(file_str(key), request->after))
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    for (unsigned n = 0; rc == 0; n++) {
        request->more = n >= request->limit;
        if (request->more)
            break;
        rc = read_row(file, txn, file_str(key), &row);
        if (rc == MDB_VERSION_MISMATCH && key.mv_size == JOB_ID_BYTES) {
            row = (struct row){.head = {.reason_len = sizeof(JOB_FOREIGN) - 1}};
            memcpy(row.id, key.mv_data, JOB_ID_BYTES);
            memcpy(row.reason, JOB_FOREIGN, sizeof(JOB_FOREIGN) - 1);
        } else if (rc != 0) {
            break;
        }
        const struct job job = {.id = {row.id, JOB_ID_BYTES},
                                .function = {row.function, row.head.function_len},
                                .key = {row.key, row.head.key_len},
                                .reason = {row.reason, row.head.reason_len},
                                .state = (enum job_state)row.head.state,
                                .attempt = row.head.attempt,
                                .due_ms = row.head.due_ms};
        job_add(&request->out, &job);
        buf_clear(&request->position);
        buf_add_str(&request->position, file_str(key));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return file_status(rc);
    return buf_failed(&request->out) || buf_failed(&request->position) ? -ENOMEM : 0;
}

void jobs_read(const struct file *file, MDB_txn *txn, struct store_request *request)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, file->jobs, &cursor);
    request->status = rc != 0 ? file_status(rc) : list_from(file, txn, cursor, request);
    if (rc == 0)
        mdb_cursor_close(cursor);
}
