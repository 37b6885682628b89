/* Jobs in the embedded store, and as a server tells of them: what each request does, owners that
 * are gone, records of another version, limits, and memory that ends at every point. */
#include "unit.h"
#include "failing_malloc.h"

#include <errno.h>
#include <hiredis/hiredis.h>

#include "base/limits.h"
#include "store/job.h"
#include "store/job_owner.h"
#include "store/redis_jobs.h"
#include "store_fixture.h"

struct queue {
    struct fixture f; /* first: store_fixture.h's own set-up and tear-down are for it */
    struct job_owner owner;
};

static void open_owner(const struct fixture *f, struct job_owner *owner)
{
    char file[128];
    struct err err;
    snprintf(file, sizeof(file), "%s/workers", f->folder);
    assert_int_equal(job_owner_open(owner, file, &err), 0);
}

static int set_up(void **state)
{
    struct queue *q = calloc(1, sizeof(*q));
    fixture_make(&q->f);
    fixture_open(&q->f);
    open_owner(&q->f, &q->owner);
    *state = q;
    return 0;
}

static int tear_down(void **state)
{
    struct queue *q = *state;
    job_owner_close(&q->owner);
    return fixture_tear_down(state);
}

/* ---- requests ---- */

static struct str id_of(char last)
{
    static char ids[256][JOB_ID_BYTES + 1];
    char *id = ids[(unsigned char)last];
    memset(id, '0', JOB_ID_BYTES);
    id[JOB_ID_BYTES - 1] = last;
    return str_from(id);
}

static struct store_request add_request(char id, const char *function, const char *key,
                                        const char *payload)
{
    return (struct store_request){.kind = STORE_JOB_ADD,
                                  .id = id_of(id),
                                  .space = str_from(function),
                                  .key = str_from(key),
                                  .value = text_value(payload)};
}

static int add(struct queue *q, char id, const char *function)
{
    struct store_request r = add_request(id, function, "", "payload");
    int status = run_request(&q->f, &r);
    assert_true(status != 0 || r.changed);
    return status;
}

/* Up to `room` jobs of `work`, as the last letters of their ids. */
static const char *take(struct queue *q, struct job_owner *owner, unsigned room, unsigned most)
{
    static char ids[64];
    struct buf wants = BUF_INIT;
    size_t count = 0;
    struct job job;
    job_add_want(&wants, &(struct job_want){STR("work"), room, most});
    job_add_want(&wants, &(struct job_want){STR("other"), 0, 1});
    struct store_request r = {.kind = STORE_JOB_TAKE,
                              .owner = owner,
                              .value = {STORE_TEXT, buf_str(&wants)},
                              .by = 60000,
                              .limit = 16,
                              .ttl_ms = LIMIT_QUEUE_LEASE};
    assert_int_equal(run_request(&q->f, &r), 0);
    struct str rest = buf_str(&r.out);
    while (job_next(&rest, &job)) {
        assert_true(str_eq(job.function, STR("work")));
        ids[count++] = job.id.ptr[JOB_ID_BYTES - 1];
    }
    ids[count] = '\0';
    drop_request(&r);
    buf_free(&wants);
    return ids;
}

static bool end(struct queue *q, struct job_owner *owner, char id, enum job_end how, uint64_t ms)
{
    struct store_request r = {.kind = STORE_JOB_END,
                              .id = id_of(id),
                              .owner = owner,
                              .by = how,
                              .ttl_ms = ms,
                              .value = text_value(how == JOB_END_DEAD ? "reason" : "")};
    assert_int_equal(run_request(&q->f, &r), 0);
    return r.changed;
}

static int64_t change(struct queue *q, enum store_kind kind, char id)
{
    struct store_request r = {.kind = kind};
    if (id != '\0')
        r.id = id_of(id);
    assert_int_equal(run_request(&q->f, &r), 0);
    return r.number;
}

/* "a waits work 0 |b dead work 1 reason|..." */
static const char *list(struct queue *q)
{
    static const char *const states[] = {"waits", "runs", "dead"};
    static char text[2048];
    static const char *at;
    struct store_request r = {.kind = STORE_JOB_LIST, .limit = 100};
    struct job job;
    size_t len = 0;
    at = text;
    text[0] = '\0';
    assert_int_equal(run_request(&q->f, &r), 0);
    struct str rest = buf_str(&r.out);
    while (job_next(&rest, &job))
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%c %s %.*s %u %.*s|",
                                job.id.ptr[JOB_ID_BYTES - 1], states[job.state],
                                STR_ARG(job.function), job.attempt, STR_ARG(job.reason));
    drop_request(&r);
    return at;
}

/* ---- the life of a job ---- */

static void test_life(void **state)
{
    struct queue *q = *state;
    assert_int_equal(add(q, 'a', "work"), 0);
    assert_int_equal(add(q, 'b', "work"), 0);
    assert_int_equal(add(q, 'c', "other"), 0);
    assert_string_equal(list(q), "a waits work 0 |b waits work 0 |c waits other 0 |");
    assert_string_equal(take(q, &q->owner, 0, 9), "");
    assert_string_equal(take(q, &q->owner, 1, 9), "a");
    assert_string_equal(take(q, &q->owner, 9, 1), ""); /* one runs, and no more may */
    assert_string_equal(take(q, &q->owner, 9, 9), "b");
    assert_string_equal(list(q), "a runs work 0 |b runs work 0 |c waits other 0 |");
    assert_true(end(q, &q->owner, 'a', JOB_END_DONE, 0));
    assert_false(end(q, &q->owner, 'a', JOB_END_DONE, 0));
    assert_true(end(q, &q->owner, 'b', JOB_END_AGAIN, 0));
    assert_string_equal(take(q, &q->owner, 9, 9), "b");
    assert_true(end(q, &q->owner, 'b', JOB_END_BACK, 0));
    assert_string_equal(list(q), "b waits work 1 |c waits other 0 |");
    assert_string_equal(take(q, &q->owner, 9, 9), "b");
    assert_true(end(q, &q->owner, 'b', JOB_END_DEAD, 0));
    assert_string_equal(list(q), "b dead work 2 reason|c waits other 0 |");
    assert_string_equal(take(q, &q->owner, 9, 9), "");
    assert_int_equal(change(q, STORE_JOB_RETRY, 'c'), 0); /* is no dead letter */
    assert_int_equal(change(q, STORE_JOB_RETRY, 'b'), 1);
    assert_string_equal(take(q, &q->owner, 9, 9), "b");
    assert_int_equal(change(q, STORE_JOB_DROP, 'b'), 0); /* it runs */
    assert_int_equal(change(q, STORE_JOB_DROP, 'c'), 1);
    assert_string_equal(list(q), "b runs work 0 |");
    fixture_close(&q->f);
    fixture_open(&q->f);
    assert_string_equal(list(q), "b runs work 0 |");
}

static void test_delay(void **state)
{
    struct queue *q = *state;
    struct store_request r = add_request('a', "work", "", "x");
    r.ttl_ms = 3600000;
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_string_equal(take(q, &q->owner, 9, 9), "");
    assert_int_equal(add(q, 'b', "work"), 0);
    assert_string_equal(take(q, &q->owner, 9, 9), "b");
    assert_true(end(q, &q->owner, 'b', JOB_END_AGAIN, 3600000));
    assert_string_equal(take(q, &q->owner, 9, 9), "");
    assert_int_equal(change(q, STORE_JOB_DROP, 'a'), 1);
}

static void test_keys(void **state)
{
    struct queue *q = *state;
    struct store_request r = add_request('a', "work", "k", "x");
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_true(r.changed);
    r.id = id_of('b');
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_false(r.changed);
    r.space = STR("other"); /* each function has its own */
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_true(r.changed);
    assert_string_equal(take(q, &q->owner, 9, 9), "a");
    assert_true(end(q, &q->owner, 'a', JOB_END_DONE, 0));
    r = add_request('c', "work", "k", "x"); /* also when it has ended */
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_false(r.changed);
}

/* ---- who runs it ---- */

static void test_owner_is_gone(void **state)
{
    struct queue *q = *state;
    struct job_owner other;
    open_owner(&q->f, &other);
    assert_int_equal(add(q, 'a', "work"), 0);
    assert_string_equal(take(q, &other, 9, 9), "a");
    assert_string_equal(take(q, &q->owner, 9, 9), ""); /* it lives */
    job_owner_close(&other);
    assert_string_equal(take(q, &q->owner, 9, 9), "a");
    assert_false(end(q, &other, 'a', JOB_END_DONE, 0)); /* it was taken over */
    assert_true(end(q, &q->owner, 'a', JOB_END_DONE, 0));
}

static void test_owners_die_again_and_again(void **state)
{
    struct queue *q = *state;
    assert_int_equal(add(q, 'a', "work"), 0);
    for (unsigned i = 0; i <= LIMIT_QUEUE_LOST; i++) {
        struct job_owner other;
        open_owner(&q->f, &other);
        assert_string_equal(take(q, &other, 9, 9), "a");
        job_owner_close(&other);
    }
    assert_string_equal(take(q, &q->owner, 9, 9), "");
    assert_string_equal(list(q), "a dead work 0 the workers that ran it died, each time|");
}

static void test_begins_at_once(void **state)
{
    struct queue *q = *state;
    struct store_request r = add_request('a', "work", "", "x");
    r.owner = &q->owner;
    r.by = 1;
    r.limit = 3;
    for (unsigned i = 0; i < 4; i++) {
        r.id = id_of("abcd"[i]);
        assert_int_equal(run_request(&q->f, &r), i == 3 ? STORE_NO_SLOT : 0);
        assert_int_equal(r.number, i == 0);
    }
    assert_string_equal(list(q), "a runs work 0 |b waits work 0 |c waits work 0 |");
    assert_true(end(q, &q->owner, 'a', JOB_END_DONE, 0));
    r.id = id_of('d');
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_int_equal(r.number, 0); /* those that wait come first */
}

/* ---- bad input ---- */

static void test_nobody_reads(void **state)
{
    struct queue *q = *state;
    struct buf wants = BUF_INIT;
    struct store_request r = {.kind = STORE_JOB_TAKE, .owner = &q->owner, .limit = 16, .by = 60000};
    assert_int_equal(add(q, 'a', "gone"), 0);
    job_add_want(&wants, &(struct job_want){STR("work"), 1, 1});
    r.value = (struct store_value){STORE_TEXT, buf_str(&wants)};
    assert_int_equal(run_request(&q->f, &r), 0);
    assert_int_equal(r.number, 1);
    assert_int_equal(r.dead, 0);
    r.by = 0;
    do
        assert_int_equal(run_request(&q->f, &r), 0);
    while (r.dead == 0); /* the clock has gone on */
    assert_int_equal(r.number, 0);
    assert_string_equal(list(q), "a dead gone 0 there is no function of this name|");
    drop_request(&r);
    buf_free(&wants);
}

static void test_bounds(void **state)
{
    struct queue *q = *state;
    char *large = calloc(1, LIMIT_QUEUE_JOB_BYTES + 2);
    memset(large, 'x', LIMIT_QUEUE_JOB_BYTES + 1);
    struct store_request r = add_request('a', "work", "", large);
    assert_int_equal(run_request(&q->f, &r), STORE_JOB_TOO_LARGE);
    large[LIMIT_QUEUE_JOB_BYTES] = '\0';
    r = add_request('a', "work", "", large);
    assert_int_equal(run_request(&q->f, &r), 0);
    free(large);
    r = add_request('b', "", "", "x");
    assert_int_equal(run_request(&q->f, &r), -EINVAL);
    r = add_request('b', "work", "", "x");
    r.id = STR("short");
    assert_int_equal(run_request(&q->f, &r), -EINVAL);
    assert_string_equal(list(q), "a waits work 0 |");
}

static void edit(const struct fixture *f, MDB_dbi (*table)(const struct file *file),
                 struct str name, struct str bytes)
{
    struct file file;
    MDB_txn *txn;
    MDB_val key = file_val(name), value = file_val(bytes);
    assert_int_equal(file_open(&file, f->path), 0);
    assert_int_equal(mdb_txn_begin(file.env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_put(txn, table(&file), &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    file_close(&file);
}

static MDB_dbi jobs_of(const struct file *file)
{
    return file->jobs;
}

static MDB_dbi order_of(const struct file *file)
{
    return file->job_order;
}

/* Pretends that the payloads have so many bytes. */
static void pretend(struct queue *q, uint64_t bytes)
{
    const uint64_t counts[4] = {bytes, 1, 0, 0};
    fixture_close(&q->f);
    edit(&q->f, order_of, STR("c"), (struct str){(const char *)counts, sizeof(counts)});
    fixture_open(&q->f);
}

static void test_full(void **state)
{
    struct queue *q = *state;
    assert_int_equal(add(q, 'a', "work"), 0);
    pretend(q, LIMIT_QUEUE_BYTES - 6);
    assert_int_equal(add(q, 'b', "work"), STORE_QUEUE_FULL);
    pretend(q, LIMIT_QUEUE_BYTES - 7);
    assert_int_equal(add(q, 'b', "work"), 0);
    assert_string_equal(take(q, &q->owner, 9, 9), "ab"); /* it can be worked on */
    assert_true(end(q, &q->owner, 'a', JOB_END_DONE, 0));
    assert_int_equal(add(q, 'c', "work"), 0);
}

/* Of a newer version, or cut off. Each is a dead letter that says so, in whichever state it was. */
static void test_foreign(void **state)
{
    struct queue *q = *state;
    static const char newer[200] = {2};
    struct job_owner other;
    open_owner(&q->f, &other);
    for (const char *id = "abcd"; *id != '\0'; id++)
        assert_int_equal(add(q, *id, "work"), 0);
    assert_string_equal(take(q, &other, 2, 9), "ab");
    job_owner_close(&other);
    fixture_close(&q->f);
    for (size_t i = 0; i < 3; i++)
        edit(&q->f, jobs_of, id_of("acd"[i]), (struct str){newer, i == 1 ? 3 : sizeof(newer)});
    fixture_open(&q->f);
    assert_string_equal(list(q), "a waits  0 " JOB_FOREIGN "|b runs work 0 |c waits  0 " JOB_FOREIGN
                                 "|d waits  0 " JOB_FOREIGN "|");
    assert_int_equal(change(q, STORE_JOB_DROP, 'c'), 0); /* not known what it is */
    assert_string_equal(take(q, &q->owner, 9, 9), "b");
    assert_string_equal(list(q),
                        "a dead work 0 " JOB_FOREIGN "|b runs work 0 |c dead work 0 " JOB_FOREIGN
                        "|d dead work 0 " JOB_FOREIGN "|");
    fixture_close(&q->f);
    edit(&q->f, jobs_of, id_of('a'), (struct str){newer, sizeof(newer)}); /* as a dead letter */
    fixture_open(&q->f);
    assert_int_equal(change(q, STORE_JOB_DROP, '\0'), 3);
    assert_string_equal(list(q), "b runs work 0 |");
}

/* ---- memory that ends ---- */

/* Carries it out while the n-th allocation fails; then without. False: it needed fewer. */
static bool fails_at(struct queue *q, struct store_request *r, unsigned long n)
{
    buf_free(&r->out);
    buf_free(&r->position);
    struck = false;
    countdown = n;
    int status = run_request(&q->f, r);
    countdown = 0;
    assert_true(struck || status == 0);
    assert_true(status == 0 || status == -ENOMEM);
    return struck;
}

/* What was refused has done nothing, and is done when it is asked for again. */
static void test_no_memory(void **state)
{
    struct queue *q = *state;
    struct buf wants = BUF_INIT;
    char text[1024];
    if (!owns_malloc())
        skip();
    assert_int_equal(add(q, 'x', "other"), 0); /* the thread is there */
    job_add_want(&wants, &(struct job_want){STR("work"), 9, 9});
    job_add_want(&wants, &(struct job_want){STR("other"), 0, 9});
    struct store_request steps[] = {
        add_request('a', "work", "key", "payload"),
        {.kind = STORE_JOB_TAKE,
         .owner = &q->owner,
         .value = {STORE_TEXT, buf_str(&wants)},
         .limit = 16,
         .by = 60000},
        {.kind = STORE_JOB_LIST, .limit = 100},
        {.kind = STORE_JOB_END, .id = id_of('a'), .owner = &q->owner, .by = JOB_END_DEAD},
        {.kind = STORE_JOB_RETRY},
        {.kind = STORE_JOB_DROP, .id = id_of('a')},
    };
    static const char *const after[] = {
        "a waits work 0 |x waits other 0 |", "a runs work 0 |x waits other 0 |",
        "a runs work 0 |x waits other 0 |",  "a dead work 1 |x waits other 0 |",
        "a waits work 0 |x waits other 0 |", "x waits other 0 |",
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        bool struck_now = true;
        for (unsigned long n = 1; struck_now; n++) {
            snprintf(text, sizeof(text), "%s", list(q));
            struck_now = fails_at(q, &steps[i], n);
            /* whoever could not even look takes nothing, and looks again */
            bool idle = steps[i].kind == STORE_JOB_TAKE && steps[i].out.len == 0;
            if (steps[i].status == 0 && !idle)
                break;
            assert_string_equal(list(q), text);
        }
        assert_string_equal(list(q), after[i]);
        drop_request(&steps[i]);
    }
    buf_free(&wants);
}

/* ---- a server's replies ---- */

static int read_reply(enum store_kind kind, const char *text, struct store_request *out,
                      struct job_owner *owner)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    drop_request(out);
    *out = (struct store_request){.kind = kind, .owner = owner};
    assert_int_equal(redisReaderFeed(reader, text, strlen(text)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    int status = redis_jobs_read(out, reply);
    freeReplyObject(reply);
    redisReaderFree(reader);
    return status;
}

#define ROW  "*5\r\n$1\r\nI\r\n$1\r\nF\r\n$0\r\n\r\n:2\r\n$3\r\nabc\r\n"
#define LINE "*7\r\n$1\r\nI\r\n$1\r\nF\r\n$0\r\n\r\n$1\r\nd\r\n:2\r\n$2\r\n77\r\n$3\r\nbad\r\n"

static void test_replies(void **state)
{
    static const struct {
        enum store_kind kind;
        const char *text;
        int status;
    } rows[] = {
        {STORE_JOB_ADD, "*2\r\n:1\r\n:0\r\n", 0},
        {STORE_JOB_ADD, "*2\r\n:2\r\n:0\r\n", STORE_QUEUE_FULL},
        {STORE_JOB_ADD, "*2\r\n:3\r\n:0\r\n", STORE_NO_SLOT},
        {STORE_JOB_ADD, "*1\r\n:1\r\n", STORE_FOREIGN},
        {STORE_JOB_ADD, "*2\r\n:1\r\n$-1\r\n", STORE_FOREIGN},
        {STORE_JOB_ADD, "$2\r\nOK\r\n", STORE_FOREIGN},
        {STORE_JOB_TAKE, "*4\r\n:5\r\n:1\r\n*1\r\n" ROW "*0\r\n", 0},
        {STORE_JOB_TAKE, "*4\r\n:5\r\n:1\r\n*2\r\n" ROW "*1\r\n:1\r\n*0\r\n", STORE_FOREIGN},
        {STORE_JOB_TAKE, "*4\r\n:5\r\n:1\r\n*1\r\n:1\r\n*0\r\n", STORE_FOREIGN},
        {STORE_JOB_TAKE, "*4\r\n:5\r\n:1\r\n:1\r\n*0\r\n", STORE_FOREIGN},
        {STORE_JOB_TAKE, "*3\r\n:5\r\n:1\r\n*0\r\n", STORE_FOREIGN},
        {STORE_JOB_LIST, "*3\r\n:0\r\n$1\r\nI\r\n*1\r\n" LINE, 0},
        {STORE_JOB_LIST, "*3\r\n:0\r\n$1\r\nI\r\n*1\r\n" ROW, STORE_FOREIGN},
        {STORE_JOB_LIST, "*3\r\n:0\r\n:1\r\n*0\r\n", STORE_FOREIGN},
        {STORE_JOB_END, ":1\r\n", 0},
        {STORE_JOB_END, "*0\r\n", STORE_FOREIGN},
        {STORE_JOB_RETRY, "*2\r\n:3\r\n:1\r\n", 0},
        {STORE_JOB_DROP, ":3\r\n", STORE_FOREIGN},
    };
    struct queue *q = *state;
    struct store_request r = {.kind = STORE_JOB_ADD};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(read_reply(rows[i].kind, rows[i].text, &r, &q->owner), rows[i].status);
    assert_int_equal(read_reply(STORE_JOB_TAKE, rows[6].text, &r, &q->owner), 0);
    struct str rest = buf_str(&r.out);
    struct job job;
    assert_true(job_next(&rest, &job));
    assert_int_equal(job.attempt, 2);
    assert_true(str_eq(job.payload, STR("abc")));
    assert_false(job_next(&rest, &job));
    assert_int_equal(r.number, 5);
    assert_int_equal(r.dead, 1);
    assert_int_equal(read_reply(STORE_JOB_LIST, rows[11].text, &r, &q->owner), 0);
    rest = buf_str(&r.out);
    assert_true(job_next(&rest, &job));
    assert_int_equal(job.state, JOB_DEAD);
    assert_int_equal(job.due_ms, 77);
    drop_request(&r);
}

/* Lists that are cut off anywhere: no job but whole ones. */
static void test_cut_lists(void **state)
{
    struct buf out = BUF_INIT;
    struct job job = {.id = id_of('a'), .function = STR("work"), .payload = STR("payload")};
    struct job_want want = {STR("work"), 1, 2};
    (void)state;
    job_add(&out, &job);
    for (size_t len = 0; len < out.len; len++) {
        struct str rest = {out.data, len};
        assert_false(job_next(&rest, &job));
    }
    buf_clear(&out);
    job_add_want(&out, &want);
    for (size_t len = 0; len < out.len; len++) {
        struct str rest = {out.data, len};
        assert_false(job_next_want(&rest, &want));
    }
    buf_free(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_delay),
        TEST(test_keys),
        TEST(test_owner_is_gone),
        TEST(test_owners_die_again_and_again),
        TEST(test_begins_at_once),
        TEST(test_nobody_reads),
        TEST(test_bounds),
        TEST(test_full),
        TEST(test_foreign),
        TEST(test_no_memory),
        TEST(test_replies),
        TEST(test_cut_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
