/* Revocations in shared memory: names, times, and a table that is full. */
#include "unit.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "revocations_fixture.h"

#define NOW 1700000000.0

static uint64_t name_of(enum revocation_kind kind, const char *issuer, const char *id)
{
    return revocations_issuer(str_from(issuer)) ^ revocations_id(kind, str_from(id));
}

static void revoke(enum revocation_kind kind, const char *issuer, const char *id, uint32_t before)
{
    struct revocation r = revocations_make(kind, str_from(issuer), str_from(id), before, NOW);
    assert_int_equal(revocations_add(&r, NOW), 0);
}

static void test_names_are_apart(void **state)
{
    (void)state;
    assert_int_equal(revocations_generation(), 0);
    revoke(REVOCATION_SID, "a", "x", REVOCATION_ALWAYS);
    assert_true(revocations_match(name_of(REVOCATION_SID, "a", "x"), NOW, NOW));
    assert_false(revocations_match(name_of(REVOCATION_SID, "b", "x"), NOW, NOW));
    assert_false(revocations_match(name_of(REVOCATION_SID, "", "x"), NOW, NOW));
    assert_false(revocations_match(name_of(REVOCATION_SID, "a", "y"), NOW, NOW));
    assert_false(revocations_match(name_of(REVOCATION_SUB, "a", "x"), NOW, NOW));
    assert_false(revocations_match(name_of(REVOCATION_JTI, "a", "x"), NOW, NOW));
    assert_false(revocations_match(name_of(REVOCATION_SID, "ax", ""), NOW, NOW));
}

static void test_times(void **state)
{
    (void)state;
    uint64_t name = name_of(REVOCATION_SUB, "a", "x");
    revoke(REVOCATION_SUB, "a", "x", (uint32_t)NOW - 100);
    assert_true(revocations_match(name, NOW - 101, NOW));
    assert_true(revocations_match(name, NOW - 100, NOW));
    assert_false(revocations_match(name, NOW - 99, NOW));
    assert_true(revocations_match(name, (double)NAN, NOW));
    assert_true(revocations_match(name, NOW - 100, NOW + LIMIT_REVOCATION_LIFE));
    assert_false(revocations_match(name, NOW - 100, NOW + LIMIT_REVOCATION_LIFE + 1));
    revoke(REVOCATION_SUB, "a", "x", (uint32_t)NOW - 200); /* says less */
    assert_true(revocations_match(name, NOW - 100, NOW));
    revoke(REVOCATION_SUB, "a", "x", (uint32_t)NOW - 50);
    assert_true(revocations_match(name, NOW - 50, NOW));
}

static void test_generation(void **state)
{
    (void)state;
    revoke(REVOCATION_JTI, "a", "x", REVOCATION_ALWAYS);
    uint64_t first = revocations_generation();
    assert_true(first > 0);
    revoke(REVOCATION_JTI, "a", "x", REVOCATION_ALWAYS); /* nothing new */
    assert_int_equal(revocations_generation(), first);
    revoke(REVOCATION_JTI, "a", "y", REVOCATION_ALWAYS);
    assert_true(revocations_generation() != first);
    assert_int_equal(revocations_stats().live, 2);
    assert_int_equal(revocations_stats().added, 2);
    revocations_expect(true);
    assert_true(revocations_generation() == UINT64_MAX);
    revocations_expect(false);
}

static void test_store_form(void **state)
{
    (void)state;
    char bytes[REVOCATION_BYTES], position[REVOCATION_POSITION];
    const struct revocation r = {0x1122334455667788, 0x99aabbcc, 0xddeeff01};
    revocations_write(&r, bytes);
    assert_memory_equal(bytes, "\x88\x77\x66\x55\x44\x33\x22\x11\xcc\xbb\xaa\x99\x01\xff\xee\xdd",
                        REVOCATION_BYTES);
    struct revocation back = revocations_read(bytes);
    assert_true(back.name == r.name && back.before == r.before && back.until == r.until);
    revocations_position(position);
    assert_string_equal(position, "");
    revocations_set_position(STR("12-3"), false);
    assert_int_equal(revocations_generation(), 0);
    revocations_set_position(STR("12-4"), true); /* nothing that counts, but something was */
    assert_int_equal(revocations_generation(), 1);
    revocations_position(position);
    assert_string_equal(position, "12-4");
}

static uint64_t numbered(unsigned i)
{
    return (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
}

static int add_numbered(unsigned i, double now)
{
    const struct revocation r = {numbered(i), REVOCATION_ALWAYS,
                                 (uint32_t)(now + LIMIT_REVOCATION_LIFE)};
    return revocations_add(&r, now);
}

/* A million at once, in less than 64 MB; the next is refused, and those that are there stay. When
 * all have ended there is room for as many. */
static void test_full(void **state)
{
    (void)state;
    double later = NOW + LIMIT_REVOCATION_LIFE + 1000;
    size_t bytes = sizeof(struct revocation_table);
    assert_in_range(bytes, 16000000, 64000000);
    assert_in_range(LIMIT_REVOCATIONS, 1000000, 2000000);
    for (unsigned i = 0; i < LIMIT_REVOCATIONS; i++)
        assert_int_equal(add_numbered(i, NOW), 0);
    assert_int_equal(add_numbered(LIMIT_REVOCATIONS, NOW), -ENOSPC);
    assert_int_equal(add_numbered(7, NOW), 0); /* is there already */
    for (unsigned i = 0; i < LIMIT_REVOCATIONS; i++)
        assert_true(revocations_match(numbered(i), NOW, NOW));
    for (unsigned i = 0; i < 100000; i++)
        assert_false(revocations_match(numbered(LIMIT_REVOCATIONS + i), NOW, NOW));
    for (unsigned i = 0; i < LIMIT_REVOCATIONS; i++)
        assert_int_equal(add_numbered(LIMIT_REVOCATIONS + i, later), 0);
    for (unsigned i = 0; i < LIMIT_REVOCATIONS; i++) {
        assert_true(revocations_match(numbered(LIMIT_REVOCATIONS + i), NOW, later));
        assert_false(revocations_match(numbered(i), NOW, later));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_are_apart, revocations_set_up,
                                        revocations_tear_down),
        cmocka_unit_test_setup_teardown(test_times, revocations_set_up, revocations_tear_down),
        cmocka_unit_test_setup_teardown(test_generation, revocations_set_up, revocations_tear_down),
        cmocka_unit_test_setup_teardown(test_store_form, revocations_set_up, revocations_tear_down),
        cmocka_unit_test_setup_teardown(test_full, revocations_set_up, revocations_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
