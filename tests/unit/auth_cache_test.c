/* The cache of verdicts: what it returns, what it forgets, and that it bounds itself. */
#include "auth_fixture.h"

static struct key_source one = {.id = 1, .generation = 1}, two = {.id = 2, .generation = 1};

static int forget(void **state)
{
    (void)state;
    token_cache_setup(1024 * 1024);
    token_cache_clear();
    one.generation = 1;
    return 0;
}

static struct claims *claims_of(const char *sub)
{
    return claims_new(json_pack("{s:s,s:s}", "iss", "i", "sub", sub), ALG_RS256, false);
}

/* Adds a token whose subject is its own text. */
static void add(const char *token, const struct key_source *source)
{
    struct claims *claims = claims_of(token);
    token_cache_add(str_from(token), source, claims);
    claims_unref(claims);
}

/* Is the token there, with its own claims? */
static bool has(const char *token, const struct key_source *source)
{
    bool bad;
    struct claims *claims = token_cache_find(str_from(token), source, &bad);
    assert_false(bad);
    if (claims != NULL)
        assert_true(str_eq(claims->subject, str_from(token)));
    return claims != NULL;
}

static void finds_what_was_added(void **state)
{
    (void)state;
    assert_false(has("a.b.c", &one));
    add("a.b.c", &one);
    add("a.b.d", &one);
    assert_true(has("a.b.c", &one));
    assert_true(has("a.b.d", &one));
    assert_false(has("a.b.e", &one));
    assert_false(has("a.b.", &one));
    assert_false(has("a.b.cc", &one));
    add("a.b.c", &one); /* again: replaced, not doubled */
    assert_int_equal(token_cache_stats().entries, 2);
    token_cache_remove(STR("a.b.c"));
    token_cache_remove(STR("never there"));
    assert_false(has("a.b.c", &one));
    assert_true(has("a.b.d", &one));
}

static void ends_with_its_keys(void **state)
{
    (void)state;
    add("a", &one);
    add("b", &two);
    assert_false(has("a", &two));
    assert_true(has("a", &one));
    one.generation++;
    assert_false(has("a", &one));
    assert_true(has("b", &two));
    assert_int_equal(token_cache_stats().entries, 1); /* gone, not only hidden */
}

static void remembers_bad_signatures(void **state)
{
    (void)state;
    bool bad;
    token_cache_add_bad(STR("x"), &one);
    assert_null(token_cache_find(STR("x"), &one, &bad));
    assert_true(bad);
    assert_null(token_cache_find(STR("x"), &two, &bad));
    assert_false(bad);
    assert_null(token_cache_find(STR("y"), &one, &bad));
    assert_false(bad);
    one.generation++; /* with other keys it may be good */
    assert_null(token_cache_find(STR("x"), &one, &bad));
    assert_false(bad);
}

static void bad_ones_drive_out_no_good_ones(void **state)
{
    (void)state;
    add("good", &one);
    char text[32];
    for (int i = 0; i < 10000; i++) {
        int len = snprintf(text, sizeof(text), "bad %d", i);
        token_cache_add_bad((struct str){text, (size_t)len}, &one);
    }
    assert_true(has("good", &one));
    assert_int_equal(token_cache_stats().entries, 1);
}

static void evicts_the_least_recently_used(void **state)
{
    (void)state;
    add("probe", &one);
    size_t each = token_cache_stats().bytes;
    token_cache_clear();
    token_cache_setup(3 * each + each / 2);
    uint64_t evicted = token_cache_stats().evictions;
    add("tok 1", &one);
    add("tok 2", &one);
    add("tok 3", &one);
    assert_true(has("tok 1", &one));
    add("tok 4", &one);
    assert_int_equal(token_cache_stats().evictions, evicted + 1);
    assert_false(has("tok 2", &one));
    assert_true(has("tok 1", &one) && has("tok 3", &one) && has("tok 4", &one));
}

static void stays_within_its_bytes(void **state)
{
    (void)state;
    enum { LIMIT = 200 * 1024 };
    token_cache_setup(LIMIT);
    char text[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "token %d", i);
        add(text, &one);
        assert_true(token_cache_stats().bytes <= LIMIT);
    }
    assert_true(token_cache_stats().entries > 50);
    assert_true(has("token 4999", &one));
    assert_false(has("token 0", &one));
    token_cache_setup(LIMIT / 2);
    assert_true(token_cache_stats().bytes <= LIMIT / 2);
    assert_true(has("token 4999", &one));
}

/* Many more entries than the table began with. */
static void grows(void **state)
{
    (void)state;
    token_cache_setup(64 * 1024 * 1024);
    char text[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "token %d", i);
        add(text, &one);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "token %d", i);
        assert_true(has(text, &one));
    }
    token_cache_clear();
    assert_int_equal(token_cache_stats().entries, 0);
    assert_int_equal(token_cache_stats().bytes, 0);
}

static void can_be_switched_off(void **state)
{
    (void)state;
    bool bad;
    add("a", &one);
    token_cache_setup(0);
    add("b", &one);
    token_cache_add_bad(STR("x"), &one);
    assert_false(has("a", &one));
    assert_false(has("b", &one));
    assert_null(token_cache_find(STR("x"), &one, &bad));
    assert_false(bad);
    token_cache_setup(1024 * 1024);
    assert_false(has("a", &one)); /* what was there was let go */
    add("b", &one);
    assert_true(has("b", &one));
}

static void counts(void **state)
{
    (void)state;
    struct token_cache_stats before = token_cache_stats();
    add("a", &one);
    assert_true(has("a", &one));
    assert_false(has("b", &one));
    token_cache_add_bad(STR("x"), &one);
    bool bad;
    token_cache_find(STR("x"), &one, &bad);
    struct token_cache_stats after = token_cache_stats();
    assert_int_equal(after.hits, before.hits + 1);
    assert_int_equal(after.misses, before.misses + 1);
    assert_int_equal(after.negative_hits, before.negative_hits + 1);
}

/* Claims outlive their entry while somebody holds them. */
static void shares_claims(void **state)
{
    (void)state;
    bool bad;
    add("a", &one);
    struct claims *claims = claims_ref(token_cache_find(STR("a"), &one, &bad));
    token_cache_clear();
    assert_int_equal(claims->refs, 1);
    assert_true(str_eq(claims->subject, STR("a")));
    claims_unref(claims);
}

static int clear(void **state)
{
    (void)state;
    token_cache_clear();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(finds_what_was_added, forget),
        cmocka_unit_test_setup(ends_with_its_keys, forget),
        cmocka_unit_test_setup(remembers_bad_signatures, forget),
        cmocka_unit_test_setup(bad_ones_drive_out_no_good_ones, forget),
        cmocka_unit_test_setup(evicts_the_least_recently_used, forget),
        cmocka_unit_test_setup(stays_within_its_bytes, forget),
        cmocka_unit_test_setup(grows, forget),
        cmocka_unit_test_setup(can_be_switched_off, forget),
        cmocka_unit_test_setup(counts, forget),
        cmocka_unit_test_setup(shares_claims, forget),
    };
    return cmocka_run_group_tests(tests, NULL, clear);
}
