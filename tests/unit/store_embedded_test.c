/* The embedded store: what each request does, limits, expiry, batches, cancelling. */
#include "unit.h"

#include <errno.h>

#include "base/limits.h"
#include "store_fixture.h"

static void assert_value(struct fixture *f, const char *key, const char *expected)
{
    const char *text = get(f, key);
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
}

/* ---- one key ---- */

static void test_set_get_delete(void **state)
{
    struct fixture *f = *state;
    assert_value(f, "a", NULL);
    assert_int_equal(put(f, "a", "one"), 0);
    assert_value(f, "a", "one");
    assert_int_equal(put(f, "a", ""), 0);
    assert_value(f, "a", "");
    struct store_request r = make_request(STORE_DELETE, "a");
    assert_int_equal(run_request(f, &r), 0);
    assert_true(r.changed);
    assert_value(f, "a", NULL);
    assert_int_equal(run_request(f, &r), 0);
    assert_false(r.changed);
}

static void test_type_is_kept(void **state)
{
    struct fixture *f = *state;
    static const enum store_type types[] = {STORE_TEXT, STORE_JSON};
    for (unsigned i = 0; i < 2; i++) {
        struct store_request r = make_request(STORE_SET, "a");
        r.value = (struct store_value){types[i], STR("1")};
        assert_int_equal(run_request(f, &r), 0);
        r.kind = STORE_GET;
        assert_int_equal(run_request(f, &r), 0);
        assert_int_equal(r.found, types[i]);
        drop_request(&r);
    }
}

static void test_spaces_are_apart(void **state)
{
    struct fixture *f = *state;
    struct store_request r = make_request(STORE_SET, "a");
    r.space = STR("other");
    r.value = text_value("theirs");
    assert_int_equal(run_request(f, &r), 0);
    assert_value(f, "a", NULL);
    assert_int_equal(put(f, "a", "ours"), 0);
    r.kind = STORE_GET;
    assert_int_equal(run_request(f, &r), 0);
    assert_true(str_eq(buf_str(&r.out), STR("theirs")));
    drop_request(&r);
    assert_value(f, "a", "ours");
}

static void test_incr(void **state)
{
    static const struct {
        enum store_type type;
        const char *before;
        int64_t by;
        int status;
        int64_t number;
    } rows[] = {
        {STORE_ABSENT, NULL, 1, 0, 1},
        {STORE_ABSENT, NULL, -7, 0, -7},
        {STORE_JSON, "41", 1, 0, 42},
        {STORE_JSON, "-1", 1, 0, 0},
        {STORE_JSON, "9223372036854775806", 1, 0, INT64_MAX},
        {STORE_JSON, "9223372036854775807", 1, STORE_OVERFLOW, 0},
        {STORE_JSON, "-9223372036854775808", -1, STORE_OVERFLOW, 0},
        {STORE_JSON, "1.5", 1, STORE_NO_NUMBER, 0},
        {STORE_JSON, "[1]", 1, STORE_NO_NUMBER, 0},
        {STORE_JSON, "99999999999999999999999999999999999", 1, STORE_NO_NUMBER, 0},
        {STORE_TEXT, "41", 1, STORE_NO_NUMBER, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char key[16];
        snprintf(key, sizeof(key), "n%zu", i);
        struct store_request r = make_request(STORE_SET, key);
        r.value = (struct store_value){rows[i].type, str_from(rows[i].before)};
        if (rows[i].type != STORE_ABSENT)
            assert_int_equal(run_request(f, &r), 0);
        r = make_request(STORE_INCR, key);
        r.by = rows[i].by;
        assert_int_equal(run_request(f, &r), rows[i].status);
        if (rows[i].status == 0)
            assert_int_equal(r.number, rows[i].number);
        else
            assert_value(f, key, rows[i].before);
    }
}

static void test_cas(void **state)
{
    static const struct {
        const char *before, *expected, *value;
        bool changed;
        const char *after;
    } rows[] = {
        {NULL, NULL, "a", true, "a"}, {"a", NULL, "b", false, "a"},   {"a", "a", "b", true, "b"},
        {"a", "x", "b", false, "a"},  {NULL, "a", "b", false, NULL},  {"a", "a", NULL, true, NULL},
        {"a", "b", NULL, false, "a"}, {NULL, NULL, NULL, true, NULL}, {"a", "", "b", false, "a"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char key[16];
        snprintf(key, sizeof(key), "c%zu", i);
        if (rows[i].before != NULL)
            assert_int_equal(put(f, key, rows[i].before), 0);
        struct store_request r = make_request(STORE_CAS, key);
        r.expected = text_value(rows[i].expected);
        r.value = text_value(rows[i].value);
        assert_int_equal(run_request(f, &r), 0);
        assert_int_equal(r.changed, rows[i].changed);
        assert_value(f, key, rows[i].after);
    }
    struct store_request r = make_request(STORE_CAS, "c0"); /* the same bytes, but JSON */
    r.expected = (struct store_value){STORE_JSON, STR("a")};
    r.value = text_value("b");
    assert_int_equal(run_request(f, &r), 0);
    assert_false(r.changed);
}

/* ---- lists ---- */

/* All keys, page by page, with '|' between them. */
static void list_all(struct fixture *f, const char *prefix, unsigned limit, char *out, size_t size)
{
    struct buf after = BUF_INIT;
    size_t len = 0;
    bool more = true;
    for (unsigned pages = 0; more; pages++) {
        assert_true(pages < 10000);
        struct store_request r = make_request(STORE_LIST, prefix);
        r.limit = limit;
        r.after = buf_str(&after);
        assert_int_equal(run_request(f, &r), 0);
        struct str rest = buf_str(&r.out), key;
        while (store_next_key(&rest, &key))
            len += (size_t)snprintf(out + len, size - len, "%.*s|", STR_ARG(key));
        more = r.more;
        buf_clear(&after);
        buf_add_str(&after, buf_str(&r.position));
        drop_request(&r);
    }
    buf_free(&after);
    out[len] = '\0';
}

static void test_list(void **state)
{
    static const char *const keys[] = {"a", "a/1", "a/2", "a/3", "b", "ab", "\xc3\xa9"};
    static const struct {
        const char *prefix, *expected;
    } rows[] = {
        {"", "a|a/1|a/2|a/3|ab|b|\xc3\xa9|"},
        {"a/", "a/1|a/2|a/3|"},
        {"a", "a|a/1|a/2|a/3|ab|"},
        {"a/3", "a/3|"},
        {"c", ""},
    };
    struct fixture *f = *state;
    char out[256];
    list_all(f, "", 10, out, sizeof(out));
    assert_string_equal(out, "");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_int_equal(put(f, keys[i], "x"), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned limit = 1; limit <= 8; limit++) {
            list_all(f, rows[i].prefix, limit, out, sizeof(out));
            assert_string_equal(out, rows[i].expected);
        }
    }
}

/* `after` need not be a key, nor within the prefix. */
static void test_list_after(void **state)
{
    static const char *const keys[] = {"a", "a!", "a/1", "a/2", "a0"};
    static const struct {
        const char *prefix, *after, *expected;
    } rows[] = {
        {"a/", "a", "a/1|a/2|"}, {"a/", "a!", "a/1|a/2|"}, {"a/", "a/", "a/1|a/2|"},
        {"a/", "A", "a/1|a/2|"}, {"a/", "a/1", "a/2|"},    {"a/", "a/10", "a/2|"},
        {"a/", "a/2", ""},       {"a/", "b", ""},          {"", "a/1", "a/2|a0|"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_int_equal(put(f, keys[i], "x"), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct store_request r = make_request(STORE_LIST, rows[i].prefix);
        struct str key;
        char out[64] = "";
        r.limit = 10;
        r.after = str_from(rows[i].after);
        assert_int_equal(run_request(f, &r), 0);
        for (struct str rest = buf_str(&r.out); store_next_key(&rest, &key);)
            snprintf(out + strlen(out), sizeof(out) - strlen(out), "%.*s|", STR_ARG(key));
        assert_string_equal(out, rows[i].expected);
        drop_request(&r);
    }
}

/* Keys around the length that LMDB takes, which share their beginnings. */
static void test_long_keys(void **state)
{
    static const unsigned lengths[] = {490, 491, 492, 505, 506, 507, 508, 511, 550, 600};
    enum { COUNT = sizeof(lengths) / sizeof(lengths[0]) };
    struct fixture *f = *state;
    char keys[2 * COUNT][601], out[16384];
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        unsigned len = lengths[i / 2];
        memset(keys[i], 'k', len);
        keys[i][len] = '\0';
        keys[i][len - 1] = i % 2 == 0 ? 'x' : 'y';
        char text[16];
        snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(put(f, keys[i], text), 0);
    }
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", i);
        assert_value(f, keys[i], text);
    }
    for (unsigned limit = 1; limit < 2 * COUNT; limit += 4) {
        unsigned found = 0;
        list_all(f, "kkk", limit, out, sizeof(out));
        for (const char *p = out; (p = strchr(p, '|')) != NULL; p++)
            found++;
        assert_int_equal(found, 2 * COUNT);
    }
    list_all(f, keys[2 * COUNT - 1], 5, out, sizeof(out));
    out[600] = '\0';
    assert_string_equal(out, keys[2 * COUNT - 1]);
    keys[0][0] = 'q'; /* not there: another beginning */
    assert_value(f, keys[0], NULL);
    keys[2 * COUNT - 1][599] = 'z'; /* ... another end */
    assert_value(f, keys[2 * COUNT - 1], NULL);
}

/* ---- expiry ---- */

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
}

static void pass_time(struct fixture *f, uint64_t ms)
{
    uv_timer_t timer;
    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_timer, ms, 0);
    while (uv_is_active((uv_handle_t *)&timer))
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void put_for(struct fixture *f, const char *key, uint64_t ttl_ms)
{
    struct store_request r = make_request(STORE_SET, key);
    r.value = text_value("x");
    r.ttl_ms = ttl_ms;
    assert_int_equal(run_request(f, &r), 0);
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;
    char out[64];
    put_for(f, "long", 1000000);
    put_for(f, "short", 20);
    put_for(f, "renewed", 20);
    assert_int_equal(put(f, "renewed", "x"), 0); /* without an end */
    put_for(f, "gone", 20);
    struct store_request r = make_request(STORE_DELETE, "gone");
    assert_int_equal(run_request(f, &r), 0);
    for (int tries = 0; r.number != 2;
         tries++) { /* again, where it was gone before it was counted on */
        assert_in_range(tries, 0, 50);
        r = make_request(STORE_DELETE, "counter");
        assert_int_equal(run_request(f, &r), 0);
        r = make_request(STORE_INCR, "counter");
        r.by = 1;
        r.ttl_ms = 20;
        assert_int_equal(run_request(f, &r), 0);
        r.ttl_ms = 1000000; /* of a counter that it makes, which it does not */
        assert_int_equal(run_request(f, &r), 0);
    }
    pass_time(f, 40);
    assert_value(f, "short", NULL);
    assert_value(f, "long", "x");
    list_all(f, "", 10, out, sizeof(out));
    assert_string_equal(out, "long|renewed|");
    assert_int_equal(run_request(f, &r), 0);
    assert_int_equal(r.number, 1);
    r = make_request(STORE_CAS, "short"); /* as if it were not there */
    r.value = text_value("new");
    assert_int_equal(run_request(f, &r), 0);
    assert_true(r.changed);
}

static void test_sweep(void **state)
{
    struct fixture *f = *state;
    char key[16];
    for (unsigned i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        put_for(f, key, i < 40 ? 10 : 1000000);
    }
    pass_time(f, 20);
    store_sweep(f->store);
    fixture_close(f);
    struct space space = space_in_file(f, NULL);
    assert_int_equal(space.keys, 50); /* closed at once: the sweep was not begun */
    fixture_open(f);
    store_sweep(f->store);
    uv_run(&f->loop, UV_RUN_DEFAULT); /* until it is done */
    fixture_close(f);
    space = space_in_file(f, NULL);
    assert_int_equal(space.keys, 10);
}

/* ---- limits and accounts ---- */

static void test_account(void **state)
{
    struct fixture *f = *state;
    struct store_request r = make_request(STORE_DELETE, "a");
    assert_int_equal(put(f, "a", "four"), 0);
    assert_int_equal(put(f, "b", "1"), 0);
    assert_int_equal(put(f, "a", "fourteen"), 0);
    assert_int_equal(run_request(f, &r), 0);
    fixture_close(f);
    struct space one = space_in_file(f, NULL);
    assert_int_equal(one.keys, 1);
    assert_true(one.bytes >= 2 + LIMIT_KV_OVERHEAD && one.bytes < 100 + LIMIT_KV_OVERHEAD);
    fixture_open(f);
    r.key = STR("b");
    assert_int_equal(run_request(f, &r), 0);
    fixture_close(f);
    struct space none = space_in_file(f, NULL);
    assert_int_equal(none.keys, 0);
    assert_int_equal(none.bytes, 0);
}

static void test_value_size(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(LIMIT_KV_VALUE_BYTES + 2);
    memset(text, 'v', LIMIT_KV_VALUE_BYTES + 1);
    text[LIMIT_KV_VALUE_BYTES + 1] = '\0';
    assert_int_equal(put(f, "big", text), STORE_TOO_LARGE);
    assert_value(f, "big", NULL);
    text[LIMIT_KV_VALUE_BYTES] = '\0';
    assert_int_equal(put(f, "big", text), 0);
    struct store_request r = make_request(STORE_GET, "big");
    assert_int_equal(run_request(f, &r), 0);
    assert_true(str_eq(buf_str(&r.out), str_from(text)));
    drop_request(&r);
    free(text);
}

/* Pretends that the namespace holds so much more. */
static void pretend(const struct fixture *f, uint64_t keys, uint64_t bytes)
{
    struct file file;
    struct space before, space;
    MDB_txn *txn;
    assert_int_equal(file_open(&file, f->path), 0);
    assert_int_equal(mdb_txn_begin(file.env, NULL, 0, &txn), 0);
    assert_int_equal(file_get_space(&file, txn, STR("test"), &before), 0);
    space = before;
    space.keys += keys;
    space.bytes += bytes;
    assert_int_equal(file_put_space(&file, txn, STR("test"), &before, &space), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    file_close(&file);
}

static void test_full(void **state)
{
    static const struct {
        uint64_t keys, bytes;
        int status;
    } rows[] = {
        {0, 0, 0},
        {LIMIT_KV_SPACE_KEYS - 1, 0, STORE_FULL},
        {LIMIT_KV_SPACE_KEYS - 2, 0, 0},
        {0, LIMIT_KV_SPACE_BYTES - 200, STORE_FULL},
        {0, LIMIT_KV_SPACE_BYTES - 400, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (f->store == NULL)
            fixture_open(f);
        assert_int_equal(put(f, "there", "abc"), 0);
        fixture_close(f);
        pretend(f, rows[i].keys, rows[i].bytes);
        fixture_open(f);
        assert_int_equal(put(f, "another", "abc"), rows[i].status);
        assert_int_equal(put(f, "there", "ab"), 0); /* what does not grow may be written */
        struct store_request r = make_request(STORE_DELETE, "another");
        assert_int_equal(run_request(f, &r), 0);
        assert_int_equal(r.changed, rows[i].status == 0);
        fixture_close(f);
        fixture_remove(f);
        fixture_make(f);
    }
    fixture_open(f);
}

/* ---- batches ---- */

static void test_one_turn_one_sync(void **state)
{
    enum { COUNT = 500 };
    struct fixture *f = *state;
    static struct store_request requests[COUNT];
    size_t before, after;
    assert_int_equal(put(f, "first", "x"), 0);
    fixture_close(f);
    space_in_file(f, &before);
    fixture_open(f);
    for (unsigned i = 0; i < COUNT; i++) {
        requests[i] = make_request(STORE_INCR, "n");
        requests[i].by = 1;
        store_submit(f->store, &requests[i]);
        assert_non_null(requests[i].done);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_null(requests[i].done);
        assert_int_equal(requests[i].status, 0);
        assert_int_equal(requests[i].number, i + 1); /* in order */
    }
    fixture_close(f);
    space_in_file(f, &after);
    assert_int_equal(after, before + 1);
}

static void test_close_gives_back(void **state)
{
    struct fixture *f = *state;
    struct store_request r = make_request(STORE_SET, "a");
    r.value = text_value("x");
    store_submit(f->store, &r);
    store_close(f->store);
    assert_null(r.done);
    assert_int_equal(r.status, -ECANCELED);
    struct store_request late = make_request(STORE_GET, "a");
    store_submit(f->store, &late);
    assert_int_equal(late.status, -ECANCELED);
    fixture_close(f);
    fixture_open(f);
    assert_value(f, "a", NULL);
}

/* ---- many at once, each of which costs its caller something ---- */

enum { BUSY = 200, BUSY_NS = 100000 };

static struct {
    struct store *close_in; /* the callback that is half way closes it; NULL: none does */
    unsigned given, in_turn, most, in_order, done_well;
    struct store_request requests[BUSY];
    char keys[BUSY][8];
} busy;

static void on_busy_done(struct store_request *request)
{
    uint64_t end = uv_hrtime() + BUSY_NS;
    while (uv_hrtime() < end)
        continue;
    busy.in_order += request == &busy.requests[busy.given];
    busy.done_well += request->status == 0;
    busy.given++;
    busy.in_turn++;
    if (busy.given == BUSY / 2 && busy.close_in != NULL)
        store_close(busy.close_in);
}

static void on_busy_turn(uv_prepare_t *turn)
{
    (void)turn;
    if (busy.in_turn > busy.most)
        busy.most = busy.in_turn;
    busy.in_turn = 0;
}

/* All of them are written in one batch. */
static void submit_busy(struct fixture *f)
{
    memset(&busy, 0, sizeof(busy));
    for (unsigned i = 0; i < BUSY; i++) {
        snprintf(busy.keys[i], sizeof(busy.keys[i]), "%u", i);
        busy.requests[i] = make_request(STORE_SET, busy.keys[i]);
        busy.requests[i].value = text_value("busy");
        busy.requests[i].done = on_busy_done;
        store_submit(f->store, &busy.requests[i]);
    }
}

/* 20 ms of work for those who asked are not done in one turn of the loop. */
static void test_given_back_in_slices(void **state)
{
    struct fixture *f = *state;
    uv_prepare_t turn;
    uv_prepare_init(&f->loop, &turn);
    uv_prepare_start(&turn, on_busy_turn);
    submit_busy(f);
    while (busy.given < BUSY)
        uv_run(&f->loop, UV_RUN_ONCE);
    on_busy_turn(&turn);
    assert_int_equal(busy.in_order, BUSY);
    assert_int_equal(busy.done_well, BUSY);
    assert_in_range(busy.most, 1, 3 * LIMIT_KV_SLICE_NS / BUSY_NS);
    uv_close((uv_handle_t *)&turn, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Closing in the middle: what was written is told as written, once. */
static void test_close_in_a_slice(void **state)
{
    struct fixture *f = *state;
    submit_busy(f);
    busy.close_in = f->store;
    while (busy.given < BUSY)
        uv_run(&f->loop, UV_RUN_ONCE);
    fixture_close(f);
    assert_int_equal(busy.given, BUSY);
    assert_int_equal(busy.done_well, BUSY);
    fixture_open(f);
    assert_value(f, "199", "busy");
}

/* A long run of random requests beside a model. */
static void test_model(void **state)
{
    enum { KEYS = 12, STEPS = 1500 };
    struct fixture *f = *state;
    char model[KEYS][16] = {{0}};
    bool there[KEYS] = {false};
    srand(7);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned k = (unsigned)rand() % KEYS, what = (unsigned)rand() % 4;
        char key[8], text[16];
        snprintf(key, sizeof(key), "%c", 'a' + (int)k);
        snprintf(text, sizeof(text), "v%u", step);
        struct store_request r = make_request(what == 0   ? STORE_DELETE
                                              : what == 1 ? STORE_CAS
                                                          : STORE_SET,
                                              key);
        r.value = text_value(text);
        r.expected = text_value(rand() % 2 && there[k] ? model[k] : NULL);
        bool matches = there[k] ? r.expected.type == STORE_TEXT : r.expected.type == STORE_ABSENT;
        assert_int_equal(run_request(f, &r), 0);
        assert_true(what > 1 || r.changed == (what == 0 ? there[k] : matches));
        if (what > 1 || (what == 1 && matches)) {
            there[k] = true;
            memcpy(model[k], text, sizeof(text));
        } else if (what == 0) {
            there[k] = false;
        }
        assert_value(f, key, there[k] ? model[k] : NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_set_get_delete, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_type_is_kept, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_spaces_are_apart, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_incr, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_cas, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_list, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_list_after, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_long_keys, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_expiry, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_sweep, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_account, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_value_size, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_full, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_one_turn_one_sync, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_close_gives_back, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_given_back_in_slices, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_close_in_a_slice, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_model, fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
