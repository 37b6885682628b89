/* Revocations in the embedded store: order, positions, who waits for them, and their end. */
#include "unit.h"

#include <errno.h>
#include <time.h>

#include "base/limits.h"
#include "store_fixture.h"

/* One that is named by a letter and ends so many seconds from now. */
static int add(struct fixture *f, char name, int seconds)
{
    char bytes[STORE_REVOCATION_BYTES];
    struct store_request r = make_request(STORE_REVOKE, "");
    uint32_t until = (uint32_t)(time(NULL) + seconds);
    memset(bytes, name, sizeof(bytes));
    for (unsigned i = 0; i < 4; i++)
        bytes[sizeof(bytes) - 4 + i] = (char)(until >> (8 * i));
    r.value = (struct store_value){STORE_TEXT, {bytes, sizeof(bytes)}};
    return run_request(f, &r);
}

/* The names of those behind the position, which becomes that of the last. */
static const char *read_names(struct fixture *f, char position[64], unsigned limit, bool *more)
{
    static char names[64];
    struct store_request r = make_request(STORE_REVOKED, "");
    r.after = str_from(position);
    r.limit = limit;
    assert_int_equal(run_request(f, &r), 0);
    unsigned count = (unsigned)(r.out.len / STORE_REVOCATION_BYTES);
    for (unsigned i = 0; i < count; i++)
        names[i] = r.out.data[i * STORE_REVOCATION_BYTES];
    names[count] = '\0';
    if (r.position.len > 0)
        snprintf(position, 64, "%.*s", (int)r.position.len, r.position.data);
    *more = r.more;
    drop_request(&r);
    return names;
}

static void test_order_and_positions(void **state)
{
    struct fixture *f = *state;
    char position[64] = "", other[64];
    bool more;
    assert_string_equal(read_names(f, position, 10, &more), "");
    assert_string_equal(position, "");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(add(f, "abcde"[i], 100), 0);
    assert_string_equal(read_names(f, position, 2, &more), "ab");
    assert_true(more);
    assert_string_equal(read_names(f, position, 3, &more), "cde");
    assert_false(more);
    assert_string_equal(read_names(f, position, 3, &more), "");
    snprintf(other, sizeof(other), "%s", position);
    other[3] ^= 1; /* of another file */
    assert_string_equal(read_names(f, other, 10, &more), "abcde");
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(add(f, 'f', 100), 0);
    assert_string_equal(read_names(f, position, 10, &more), "f");
}

static void test_other_sizes_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store_request r = make_request(STORE_REVOKE, "");
    r.value = text_value("short");
    assert_int_equal(run_request(f, &r), -EINVAL);
    assert_int_equal(add(f, 'a', 100), 0);
}

static void wait_for(struct fixture *f, struct store_request *r)
{
    *r = make_request(STORE_REVOKED, "");
    r->limit = 10;
    r->ttl_ms = 1000;
    store_submit(f->store, r);
}

static void test_waits_for_one(void **state)
{
    struct fixture *f = *state;
    struct store_request r;
    wait_for(f, &r);
    assert_non_null(r.done); /* nothing to read */
    assert_int_equal(add(f, 'a', 100), 0);
    while (r.done != NULL)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.out.len, STORE_REVOCATION_BYTES);
    drop_request(&r);
    wait_for(f, &r); /* from the start: there is one */
    assert_null(r.done);
    drop_request(&r);
}

/* Where the bell is not heard, the look that comes with a sweep finds it. */
static void test_a_sweep_looks_too(void **state)
{
    struct fixture *f = *state;
    struct store_request r;
    char lock[128];
    snprintf(lock, sizeof(lock), "%s-lock", f->path);
    wait_for(f, &r);
    unlink(lock); /* what is told by its name goes unheard */
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(add(f, 'a', 100), 0);
    store_sweep(f->store);
    assert_null(r.done);
    drop_request(&r);
}

static void test_close_gives_it_back(void **state)
{
    struct fixture *f = *state;
    struct store_request r;
    wait_for(f, &r);
    fixture_close(f);
    assert_null(r.done);
    assert_int_equal(r.status, -ECANCELED);
    fixture_open(f);
}

static void sweep(struct fixture *f)
{
    store_sweep(f->store);
    for (unsigned i = 0; i < 3; i++) /* writes are in order: then it has come to its end */
        assert_int_equal(put(f, "k", "v"), 0);
}

static void test_what_has_ended_goes(void **state)
{
    struct fixture *f = *state;
    char position[64] = "";
    bool more;
    assert_int_equal(add(f, 'a', -10), 0);
    assert_int_equal(add(f, 'b', -10), 0);
    assert_int_equal(add(f, 'c', 100), 0);
    sweep(f);
    assert_string_equal(read_names(f, position, 10, &more), "c");
}

static void test_the_newest_stays(void **state)
{
    struct fixture *f = *state;
    char position[64] = "";
    bool more;
    assert_int_equal(add(f, 'a', -10), 0);
    assert_int_equal(add(f, 'b', -10), 0);
    sweep(f);
    assert_string_equal(read_names(f, position, 10, &more), "b"); /* numbers go on */
    assert_int_equal(add(f, 'c', 100), 0);
    assert_string_equal(read_names(f, position, 10, &more), "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_and_positions, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_other_sizes_are_refused, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_waits_for_one, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_a_sweep_looks_too, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_close_gives_it_back, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_what_has_ended_goes, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_the_newest_stays, fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
