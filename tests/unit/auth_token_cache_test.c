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

/* A token of that subject; its last part tells it apart from all others. Valid until the next but
 * three. */
static struct str text_of(const char *sub)
{
    static struct buf texts[4];
    static unsigned turn;
    struct buf *text = &texts[turn++ % 4], claims = BUF_INIT;
    buf_printf(&claims, "{\"iss\":\"i\",\"sub\":\"%s\",\"n\":[1,2.5,null]}", sub);
    buf_clear(text);
    base64url_encode("{\"alg\":\"RS256\"}", 15, text);
    buf_add_char(text, '.');
    base64url_encode(claims.data, claims.len, text);
    buf_add_char(text, '.');
    base64url_encode(sub, strlen(sub), text);
    buf_free(&claims);
    return buf_str(text);
}

static void add(const char *sub, const struct key_source *source)
{
    struct token token;
    assert_int_equal(token_parse(text_of(sub), &token), 0);
    struct claims *claims =
        claims_new(json_incref(token.claims), STR(""), ALG_RS256, CLAIMS_AT_JWT);
    token_cache_add(&token, source, claims);
    claims_unref(claims);
    token_clear(&token);
}

/* Is the token there, with its own claims? */
static bool has(const char *sub, const struct key_source *source)
{
    bool bad;
    struct claims *claims = token_cache_find(text_of(sub), source, &bad);
    assert_false(bad);
    if (claims == NULL)
        return false;
    assert_true(str_eq(claims->subject, str_from(sub)) && str_eq(claims->issuer, STR("i")));
    assert_true(claims->alg == ALG_RS256 && claims->type == CLAIMS_AT_JWT);
    assert_int_equal(json_array_size(json_object_get(claims->json, "n")), 3);
    return true;
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
    token_cache_remove(text_of("a.b.c"));
    token_cache_remove(text_of("never there"));
    assert_false(has("a.b.c", &one));
    assert_true(has("a.b.d", &one));
}

/* Of the one found last alone, with keys that are still current. */
static void knows_the_last_by_its_claims(void **state)
{
    (void)state;
    bool bad;
    add("a", &one);
    add("b", &one);
    struct claims *a = claims_ref(token_cache_find(text_of("a"), &one, &bad));
    assert_ptr_equal(token_cache_again(a->serial, &one), a);
    assert_null(token_cache_again(a->serial, &two));
    struct claims *b = token_cache_find(text_of("b"), &one, &bad);
    assert_null(token_cache_again(a->serial, &one));
    assert_ptr_equal(token_cache_again(b->serial, &one), b);
    one.generation++;
    assert_null(token_cache_again(b->serial, &one));
    claims_unref(a);
}

/* It is cold, but whoever asks for the same request has its claims at hand. */
static void knows_the_newest_by_its_claims(void **state)
{
    (void)state;
    struct token token;
    assert_int_equal(token_parse(text_of("a"), &token), 0);
    struct claims *a = claims_new(json_incref(token.claims), STR(""), ALG_RS256, CLAIMS_AT_JWT);
    token_cache_add(&token, &one, a);
    token_clear(&token);
    assert_ptr_equal(token_cache_again(a->serial, &one), a);
    assert_null(token_cache_again(a->serial, &two));
    assert_int_equal(token_cache_stats().warm_bytes, 0);
    bool bad;
    assert_ptr_equal(token_cache_find(text_of("a"), &one, &bad), a); /* now it came again */
    assert_true(token_cache_stats().warm_bytes > 0);
    token_cache_remove(text_of("a"));
    assert_null(token_cache_again(a->serial, &one));
    assert_int_equal(a->refs, 1);
    claims_unref(a);
    add("b", &one);
    one.generation++;
    assert_false(has("b", &one));
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

/* Bytes of one token, and of one whose claims are there. */
static void measure(size_t *cold, size_t *warm)
{
    add("probe", &one);
    *cold = token_cache_stats().bytes;
    assert_int_equal(token_cache_stats().warm_bytes, 0);
    assert_true(has("probe", &one));
    *warm = token_cache_stats().bytes;
    assert_int_equal(*cold, *warm - token_cache_stats().warm_bytes);
    token_cache_clear();
}

static void evicts_the_least_recently_used(void **state)
{
    (void)state;
    size_t cold, warm;
    measure(&cold, &warm);
    token_cache_setup(warm + 2 * cold + cold / 2);
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
        assert_true(token_cache_stats().warm_bytes <= LIMIT / 8);
    }
    assert_true(token_cache_stats().entries > 500);
    assert_true(has("token 4999", &one));
    assert_false(has("token 0", &one));
    token_cache_setup(LIMIT / 2);
    assert_true(token_cache_stats().bytes <= LIMIT / 2);
    assert_true(has("token 4999", &one));
}

/* A cold token is found as long as it is there, and its claims are what they were. */
static void reads_the_claims_of_a_cold_one_again(void **state)
{
    (void)state;
    size_t cold, warm;
    measure(&cold, &warm);
    token_cache_setup(8 * 3 * warm); /* three warm ones */
    char text[32];
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "t-%02d", i);
        add(text, &one);
    }
    assert_int_equal(token_cache_stats().entries, 20);
    assert_int_equal(token_cache_stats().warm_bytes, 0); /* none came again */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++) {
            snprintf(text, sizeof(text), "t-%02d", i);
            assert_true(has(text, &one));
            assert_true(token_cache_stats().warm_bytes <= 3 * warm);
        }
    }
    assert_false(has("t-20", &one));
    one.generation++;
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "t-%02d", i);
        assert_false(has(text, &one));
    }
    assert_int_equal(token_cache_stats().bytes, 0);
}

/* A text of the same length with the same end, which is all that the hash looks at. */
static void compares_the_whole_of_a_cold_one(void **state)
{
    (void)state;
    bool bad;
    char text[512];
    const char *sub = "the signature of this token is longer than what is hashed of it";
    token_cache_setup(8 * 1024);
    add(sub, &one);
    assert_true(has(sub, &one)); /* warm */
    struct str token = text_of(sub);
    assert_true(token.len < sizeof(text));
    for (int cold = 0; cold < 2; cold++) {
        for (size_t i = 0; i + 64 < token.len; i++) {
            memcpy(text, token.ptr, token.len);
            text[i] = text[i] == 'A' ? 'B' : 'A';
            assert_null(token_cache_find((struct str){text, token.len}, &one, &bad));
        }
        add("another one", &one);
        assert_true(has("another one", &one)); /* the warm share holds one alone */
    }
    assert_true(has(sub, &one));
}

/* The user of a claim set keeps it while its entry is cooled. */
static void claims_outlive_the_warmth(void **state)
{
    (void)state;
    bool bad;
    token_cache_setup(8 * 1024);
    add("a", &one);
    struct claims *claims = claims_ref(token_cache_find(text_of("a"), &one, &bad));
    add("b", &one);
    assert_true(has("b", &one));
    assert_int_equal(claims->refs, 1);
    assert_true(str_eq(claims->subject, STR("a")));
    claims_unref(claims);
    assert_true(has("a", &one));
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
    struct claims *claims = claims_ref(token_cache_find(text_of("a"), &one, &bad));
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
        cmocka_unit_test_setup(knows_the_last_by_its_claims, forget),
        cmocka_unit_test_setup(knows_the_newest_by_its_claims, forget),
        cmocka_unit_test_setup(ends_with_its_keys, forget),
        cmocka_unit_test_setup(remembers_bad_signatures, forget),
        cmocka_unit_test_setup(bad_ones_drive_out_no_good_ones, forget),
        cmocka_unit_test_setup(evicts_the_least_recently_used, forget),
        cmocka_unit_test_setup(stays_within_its_bytes, forget),
        cmocka_unit_test_setup(reads_the_claims_of_a_cold_one_again, forget),
        cmocka_unit_test_setup(compares_the_whole_of_a_cold_one, forget),
        cmocka_unit_test_setup(claims_outlive_the_warmth, forget),
        cmocka_unit_test_setup(grows, forget),
        cmocka_unit_test_setup(can_be_switched_off, forget),
        cmocka_unit_test_setup(counts, forget),
        cmocka_unit_test_setup(shares_claims, forget),
    };
    return cmocka_run_group_tests(tests, NULL, clear);
}
