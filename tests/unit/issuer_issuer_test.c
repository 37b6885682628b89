/* The key fetcher: what costs a fetch, workers that share one, and leaving. */
#include "issuer_fixture.h"

/* ---- fetching ---- */

static void first_key_costs_one_of_each(void **state)
{
    struct fixture *fx = *state;
    assert_hits(fx, 0, 0);
    assert_true(want(fx, "a"));
    assert_true(has(fx, "a"));
    assert_hits(fx, 1, 1);
    assert_false(want(fx, "a"));
    assert_false(want(fx, ""));
    assert_hits(fx, 1, 1);
    assert_int_equal(stats(fx).key_count, 1);
    assert_int_equal(stats(fx).fetches, 1);
    assert_non_null(strstr(fx->jwks->request, "Accept: application/json"));
}

static void parallel_askers_share_one_flight(void **state)
{
    struct fixture *fx = *state;
    struct asker askers[20];
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask_of(fx, fx->issuer, i % 2 == 0 ? "a" : "", &askers[i]), 1);
    }
    for (int i = 0; i < 20; i++) {
        wait_for(fx, &askers[i].done);
    }
    assert_hits(fx, 1, 1);
}

static void readiness_follows_the_keys(void **state)
{
    struct fixture *fx = *state;
    assert_true(issuers_ready(fx->issuers)); /* nothing was promised */
    promise(fx);
    assert_false(issuers_ready(fx->issuers));
    want(fx, "");
    assert_true(issuers_ready(fx->issuers));
    assert_hits(fx, 1, 1);
}

static void rotation_is_picked_up_at_once(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    fx->jwks->body = set_ab;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
    fx->jwks->body = set_b;
    assert_false(want(fx, "a")); /* still there */
    assert_hits(fx, 1, 2);
    fx->now += LIMIT_KEYS_TTL;
    issuers_tick(fx->issuers);
    assert_int_equal(want(fx, "c"), true); /* joins the refresh */
    assert_false(has(fx, "a"));
    assert_true(has(fx, "b"));
    assert_hits(fx, 1, 3);
}

/* The keys change while the old ones are on their way, and a token of the new ones comes then. */
static void a_set_that_was_asked_for_before_is_no_answer(void **state)
{
    struct fixture *fx = *state;
    struct asker one, other;
    want(fx, "a");
    fx->now += LIMIT_KEYS_TTL;
    issuers_tick(fx->issuers);
    while (fx->jwks->hits < 2)
        uv_run(&fx->loop, UV_RUN_ONCE);
    fx->jwks->body = set_ab;
    assert_int_equal(ask_of(fx, fx->issuer, "b", &one), 1);
    assert_int_equal(ask_of(fx, fx->issuer, "a", &other), 1);
    wait_for(fx, &one.done);
    wait_for(fx, &other.done);
    assert_true(has(fx, "b"));
    assert_hits(fx, 1, 3);
}

/* The same of a set that another worker has fetched before. */
static void a_cold_worker_looks_for_the_kid(void **state)
{
    struct fixture *fx = *state;
    struct issuers *other = new_issuers(fx);
    struct asker asker;
    assert_true(want_of(fx, get_from(other, fx->url), "a"));
    fx->now += 3;
    fx->jwks->body = set_b;
    promise(fx); /* takes off for any set */
    assert_int_equal(ask_of(fx, fx->issuer, "b", &asker), 1);
    wait_for(fx, &asker.done);
    assert_true(has(fx, "b"));
    assert_hits(fx, 2, 2);
    issuers_free(other);
}

/* A stray token just before a rotation must not hold the new keys up. */
static void one_stray_kid_does_not_delay_a_rotation(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    assert_true(want(fx, "stray"));
    fx->now += 0.2;
    fx->jwks->body = set_ab;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
}

static void floods_cost_one_fetch_a_cooldown(void **state)
{
    struct fixture *fx = *state;
    static struct asker askers[1000];
    want(fx, "a");
    for (int window = 1; window <= 3; window++) {
        for (int i = 0; i < 1000; i++) {
            char kid[32];
            snprintf(kid, sizeof(kid), "random-%d-%d", window, i);
            int queued = ask_of(fx, fx->issuer, kid, &askers[i]);
            assert_true(has(fx, "a"));
            if (i % 100 == 0 && queued == 1) { /* some wait, some come later */
                wait_for(fx, &askers[i].done);
            }
            fx->now += 0.001;
        }
        assert_hits(fx, 1, 1 + (unsigned)window);
        fx->now += LIMIT_KEYS_COOLDOWN - 2;
        assert_false(want(fx, "late"));
        fx->now += 2;
    }
    fx->jwks->body = set_ab;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
}

/* The sequence of the original's lock-out: ten unknown kids, then one that is published. */
static void unknown_kids_lock_nobody_out(void **state)
{
    struct fixture *fx = *state;
    for (int i = 0; i < 12; i++) {
        char kid[16];
        unsigned before = fx->jwks->hits;
        snprintf(kid, sizeof(kid), "u%d", i);
        want(fx, kid);
        assert_true(fx->jwks->hits <= before + 1);
    }
    assert_true(has(fx, "a"));
}

static void gate_rules(void **state)
{
    (void)state;
    struct kid_gate gate = {0};
    assert_true(kid_gate_admit(&gate, STR("x"), 100));
    kid_gate_missed(&gate, STR("x"), true, 100);
    assert_false(kid_gate_admit(&gate, STR("x"), 100.1)); /* remembered */
    assert_false(kid_gate_admit(&gate, STR("x"), 100 + LIMIT_KEYS_UNKNOWN_TTL - 1));
    assert_true(kid_gate_admit(&gate, STR("x"), 100 + LIMIT_KEYS_UNKNOWN_TTL));
    gate = (struct kid_gate){0};
    for (int i = 0; i < LIMIT_KEYS_STRAYS; i++) {
        assert_true(kid_gate_admit(&gate, STR("y"), 200 + i));
        kid_gate_missed(&gate, STR("y"), false, 200 + i);
        assert_false(kid_gate_admit(&gate, STR("z"), 200 + i)); /* too soon */
    }
    assert_false(kid_gate_admit(&gate, STR("z"), 229)); /* used up */
    assert_true(kid_gate_admit(&gate, STR("z"), 200 + LIMIT_KEYS_COOLDOWN));
}

/* ---- workers ---- */

static void workers_share_a_cold_start(void **state)
{
    struct fixture *fx = *state;
    struct issuers *other = new_issuers(fx);
    struct issuer *twin = get_from(other, fx->url);
    struct asker first, second;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &first), 1);
    assert_int_equal(ask_of(fx, twin, "a", &second), 1);
    wait_for(fx, &first.done);
    wait_for(fx, &second.done);
    assert_true(has(fx, "a"));
    assert_true(has_in(twin, "a"));
    assert_hits(fx, 1, 1);
    fx->now += 3; /* and a flood, and a refresh */
    assert_true(want(fx, "x"));
    assert_true(want_of(fx, twin, "y"));
    assert_hits(fx, 1, 2);
    fx->now += LIMIT_KEYS_TTL;
    issuers_tick(fx->issuers);
    want(fx, "x2");
    issuers_tick(other);
    want_of(fx, twin, "y2");
    assert_hits(fx, 1, 3);
    issuers_free(other);
}

static void workers_do_not_wait_for_ever(void **state)
{
    struct fixture *fx = *state;
    struct issuers *other = new_issuers(fx);
    struct issuer *twin = get_from(other, fx->url);
    struct asker first, second;
    fx->discovery->hang = true;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &first), 1);
    while (fx->discovery->hits == 0) {
        uv_run(&fx->loop, UV_RUN_ONCE);
    }
    assert_int_equal(ask_of(fx, twin, "a", &second), 1);
    uv_run(&fx->loop, UV_RUN_ONCE);
    fx->now += LIMIT_KEYS_FETCH_TIMEOUT;
    wait_for(fx, &second.done);
    assert_false(has_in(twin, "a"));
    assert_false(first.done);
    issuer_cancel(&first.wait);
    issuers_free(other);
}

/* ---- leaving ---- */

static void cancelled_askers_are_not_called(void **state)
{
    struct fixture *fx = *state;
    struct asker askers[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask_of(fx, fx->issuer, "a", &askers[i]), 1);
    }
    issuer_cancel(&askers[0].wait);
    askers[1].also_cancel = &askers[2].wait;
    wait_for(fx, &askers[3].done);
    assert_false(askers[0].done);
    assert_true(askers[1].done);
    assert_false(askers[2].done);
}

static void everything_may_be_freed_at_any_stage(void **state)
{
    struct fixture *fx = *state;
    for (int turns = 0; turns < 8; turns++) {
        struct asker asker;
        assert_int_equal(ask_of(fx, fx->issuer, "a", &asker), 1);
        for (int i = 0; i < turns && !asker.done; i++) {
            uv_run(&fx->loop, UV_RUN_NOWAIT);
        }
        bool done = asker.done;
        issuers_free(fx->issuers);
        uv_run(&fx->loop, UV_RUN_NOWAIT);
        assert_int_equal(asker.done, done);
        remove_folder(fx->folder);
        fx->issuers = new_issuers(fx);
        fx->issuer = get_from(fx->issuers, fx->url);
    }
    struct asker askers[2];
    ask_of(fx, fx->issuer, "a", &askers[0]);
    ask_of(fx, fx->issuer, "a", &askers[1]);
    askers[0].free_all = true;
    wait_for(fx, &askers[0].done);
    uv_run(&fx->loop, UV_RUN_NOWAIT);
    assert_false(askers[1].done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(cancelled_askers_are_not_called),
        CASE(everything_may_be_freed_at_any_stage),
        CASE(first_key_costs_one_of_each),
        CASE(floods_cost_one_fetch_a_cooldown),
        CASE(a_set_that_was_asked_for_before_is_no_answer),
        CASE(a_cold_worker_looks_for_the_kid),
        cmocka_unit_test(gate_rules),
        CASE(one_stray_kid_does_not_delay_a_rotation),
        CASE(parallel_askers_share_one_flight),
        CASE(readiness_follows_the_keys),
        CASE(rotation_is_picked_up_at_once),
        CASE(unknown_kids_lock_nobody_out),
        CASE(workers_do_not_wait_for_ever),
        CASE(workers_share_a_cold_start),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
