/* See jobs.h: what is done with jobs. How they lie in the file is jobs_rows.c's. */
#include "store/jobs.h"

#include <errno.h>

#include "store/jobs_rows.h"

/* ---- STORE_JOB_ADD ---- */

/* Do as many of the function run and wait as may? And may this one begin at once? */
static int look_for_room(struct jobs_work *w, bool *begins)
{
    struct store_request *r = w->request;
    struct jobs_found runs, waits = {0};
    *begins = false;
    if (r->limit == 0)
        return 0;
    const struct jobs_search running = {.prefix = jobs_order_of_function('r', r->space),
                                        .most = r->limit};
    const struct jobs_search waiting = jobs_search_waiting(r->space, w->now_ms, r->limit);
    int rc = jobs_find(w->file, w->txn, &running, &runs);
    if (rc == 0)
        rc = jobs_find(w->file, w->txn, &waiting, &waits);
    if (runs.count + waits.count >= r->limit)
        r->status = STORE_NO_SLOT;
    *begins = waits.count == 0 && (int64_t)runs.count < r->by;
    return rc;
}

static int add(struct jobs_work *w)
{
    struct store_request *r = w->request;
    struct jobs_row row = {.head = {.version = JOBS_VERSION,
                                    .due_ms = w->now_ms + r->ttl_ms,
                                    .payload_bytes = r->value.bytes.len,
                                    .function_len = (uint16_t)r->space.len,
                                    .key_len = (uint16_t)r->key.len}};
    MDB_stat stat;
    bool taken = false;
    int rc = mdb_stat(w->txn, w->file->jobs, &stat);
    if (rc != 0)
        return rc;
    if (r->id.len != JOB_ID_BYTES || r->space.len == 0 || r->space.len > JOBS_FUNCTION_MAX ||
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
    rc = jobs_take_key(w, &row, &taken);
    r->changed = !taken;
    if (rc != 0 || taken)
        return rc;
    MDB_val key = {JOB_ID_BYTES, row.id}, value = file_val(r->value.bytes);
    rc = mdb_put(w->txn, w->file->job_payloads, &key, &value, 0);
    return rc == 0 ? jobs_write_row(w, &row) : rc;
}

/* ---- STORE_JOB_TAKE ---- */

static int give_job(struct jobs_work *w, const struct jobs_row *row)
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

static int begin(struct jobs_work *w, const struct jobs_order *entry)
{
    struct jobs_row row;
    bool foreign;
    int rc = jobs_read_entry(w, entry, &row, &foreign);
    if (rc != 0 || foreign)
        return rc != 0 ? rc : jobs_make_foreign_dead(w, &row);
    memcpy(row.head.owner, w->request->owner->text, sizeof(row.head.owner));
    rc = jobs_move_row(w, &row, JOB_RUNNING, w->now_ms);
    return rc == 0 ? give_job(w, &row) : rc;
}

/* What comes after a megabyte waits for the next request. */
static int take_for(struct jobs_work *w, const struct job_want *want, unsigned *left)
{
    struct jobs_found running, waiting;
    const struct jobs_search runs = {.prefix = jobs_order_of_function('r', want->function),
                                     .most = want->most};
    unsigned room = want->room < *left ? want->room : *left;
    if (room == 0)
        return 0;
    int rc = jobs_find(w->file, w->txn, &runs, &running);
    if (rc != 0 || running.count >= want->most)
        return rc;
    if (room > want->most - running.count)
        room = want->most - running.count;
    const struct jobs_search due = jobs_search_waiting(want->function, w->now_ms, room);
    rc = jobs_find(w->file, w->txn, &due, &waiting);
    for (unsigned i = 0; rc == 0 && *left > 0 && i < waiting.count; i++) {
        rc = begin(w, &waiting.entries[i]);
        *left = w->request->out.len < LIMIT_KV_VALUE_BYTES ? *left - 1 : 0;
    }
    return rc;
}

/* Jobs of workers that are gone wait again. */
static int release_lost(struct jobs_work *w)
{
    struct jobs_found found;
    const struct jobs_search lost = jobs_search_lost(w->request->owner);
    int rc = jobs_find(w->file, w->txn, &lost, &found);
    for (unsigned i = 0; rc == 0 && i < found.count; i++) {
        struct jobs_row row;
        bool foreign;
        rc = jobs_read_entry(w, &found.entries[i], &row, &foreign);
        if (rc != 0)
            break;
        if (foreign)
            rc = jobs_make_foreign_dead(w, &row);
        else if (++row.head.lost > LIMIT_QUEUE_LOST)
            rc = jobs_make_dead(w, &row, STR("the workers that ran it died, each time"));
        else
            rc = jobs_move_row(w, &row, JOB_WAITING, w->now_ms);
    }
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

/* What nobody has a function for. */
static int bury_unread(struct jobs_work *w)
{
    char name[JOBS_FUNCTION_MAX];
    size_t len = 0;
    const uint64_t age = (uint64_t)w->request->by;
    int rc;
    while ((rc = jobs_next_function(w->file, w->txn, name, &len)) == 0) {
        const struct str function = {name, len};
        struct jobs_found found;
        const struct jobs_search old =
            jobs_search_waiting(function, w->now_ms - age, JOBS_FOUND_MAX);
        if (is_wanted(w->request->value.bytes, function))
            continue;
        rc = jobs_find(w->file, w->txn, &old, &found);
        for (unsigned i = 0; rc == 0 && i < found.count; i++) {
            struct jobs_row row;
            bool foreign;
            rc = jobs_read_entry(w, &found.entries[i], &row, &foreign);
            if (rc == 0)
                rc = jobs_make_dead(w, &row, STR("there is no function of this name"));
        }
        if (rc != 0)
            return rc;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int take(struct jobs_work *w)
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

static int end(struct jobs_work *w)
{
    struct store_request *r = w->request;
    struct jobs_row row;
    int rc = jobs_read_row(w->file, w->txn, r->id, &row);
    if (rc != 0)
        return rc == MDB_NOTFOUND || rc == MDB_VERSION_MISMATCH ? 0 : rc;
    r->changed =
        row.head.state == JOB_RUNNING && str_eq(str_from(row.head.owner), str_from(r->owner->text));
    if (!r->changed)
        return 0;
    if (r->by == JOB_END_DONE)
        return jobs_remove_row(w, &row);
    row.head.attempt += r->by != JOB_END_BACK;
    row.head.lost = 0;
    return r->by == JOB_END_DEAD ? jobs_make_dead(w, &row, r->value.bytes)
                                 : jobs_move_row(w, &row, JOB_WAITING, w->now_ms + r->ttl_ms);
}

static int change_row(struct jobs_work *w, struct jobs_row *row)
{
    bool drops = w->request->kind == STORE_JOB_DROP;
    if (row->head.state == JOB_RUNNING || (!drops && row->head.state != JOB_DEAD))
        return 0;
    w->request->number++;
    if (drops)
        return jobs_remove_row(w, row);
    row->head.attempt = row->head.lost = 0;
    row->head.reason_len = 0;
    return jobs_move_row(w, row, JOB_WAITING, w->now_ms);
}

/* One, or a good part of all that are dead: `more` says whether that was all. */
static int change(struct jobs_work *w)
{
    struct jobs_found found;
    struct jobs_row row;
    const struct jobs_search dead = {.prefix = jobs_order_of('d'), .most = JOBS_FOUND_MAX};
    int rc;
    w->request->number = 0;
    w->request->more = false;
    if (w->request->id.len > 0) {
        rc = jobs_read_row(w->file, w->txn, w->request->id, &row);
        if (rc != 0) /* one of another version is a dead letter of this one as soon as it is due */
            return rc == MDB_NOTFOUND || rc == MDB_VERSION_MISMATCH ? 0 : rc;
        return change_row(w, &row);
    }
    rc = jobs_find(w->file, w->txn, &dead, &found);
    for (unsigned i = 0; rc == 0 && i < found.count; i++) {
        bool foreign;
        rc = jobs_read_entry(w, &found.entries[i], &row, &foreign);
        if (rc == 0)
            rc = change_row(w, &row);
    }
    w->request->more = found.count == JOBS_FOUND_MAX;
    return rc;
}

int jobs_apply(const struct file *file, MDB_txn *txn, uint64_t now_ms,
               struct store_request *request)
{
    struct jobs_work w = {.file = file, .txn = txn, .now_ms = now_ms, .request = request};
    const struct jobs_order counts = jobs_order_of('c');
    request->status = 0;
    request->changed = false;
    buf_clear(&request->out); /* a batch may be tried again */
    int rc = jobs_read_counts(file, txn, &w.counts);
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
    return rc == 0 ? jobs_put_order(&w, &counts, &w.counts, sizeof(w.counts)) : rc;
}

/* ---- reading ---- */

static bool finds(const struct file *file, MDB_txn *txn, struct jobs_search search)
{
    struct jobs_found found;
    search.most = 1;
    return jobs_find(file, txn, &search, &found) == 0 && found.count > 0;
}

/* Of that function: one that can begin now, or one that nobody has taken for too long. */
static bool has_due_of(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                       const struct store_request *request, struct str function)
{
    struct str list = request->value.bytes;
    struct job_want want;
    while (job_next_want(&list, &want)) {
        if (str_eq(want.function, function))
            return want.room > 0 && finds(file, txn, jobs_search_waiting(function, now_ms, 1));
    }
    return finds(file, txn, jobs_search_waiting(function, now_ms - (uint64_t)request->by, 1));
}

static bool has_due(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                    const struct store_request *request)
{
    char name[JOBS_FUNCTION_MAX];
    size_t len = 0;
    while (jobs_next_function(file, txn, name, &len) == 0) {
        if (has_due_of(file, txn, now_ms, request, (struct str){name, len}))
            return true;
    }
    return false;
}

bool jobs_have_work(const struct file *file, MDB_txn *txn, uint64_t now_ms,
                    struct store_request *request)
{
    struct jobs_counts counts;
    request->status = file_status(jobs_read_counts(file, txn, &counts));
    if (request->status != 0)
        return false;
    request->number = (int64_t)counts.waiting;
    request->dead = (int64_t)counts.dead;
    if (counts.running > 0 && finds(file, txn, jobs_search_lost(request->owner)))
        return true;
    return counts.waiting > 0 && has_due(file, txn, now_ms, request);
}

/* In the order of their ids, which is that of their time. */
static int list_from(const struct file *file, MDB_txn *txn, MDB_cursor *cursor,
                     struct store_request *request)
{
    MDB_val key = file_val(request->after), value;
    struct jobs_row row;
    request->more = false;
    int rc = request->after.len > 0 ? mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
                                    : mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (rc == 0 && str_eq(file_str(key), request->after))
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    for (unsigned n = 0; rc == 0; n++) {
        request->more = n >= request->limit;
        if (request->more)
            break;
        rc = jobs_read_row(file, txn, file_str(key), &row);
        if (rc == MDB_VERSION_MISMATCH && key.mv_size == JOB_ID_BYTES) {
            row = (struct jobs_row){.head = {.reason_len = sizeof(JOB_FOREIGN) - 1}};
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
