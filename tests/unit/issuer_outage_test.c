/* The key fetcher: outages, keys from disk, and a clock that is set. */
#include "issuer_fixture.h"

/* ---- outages ---- */

static void stop_provider(struct fixture *fx)
{
    fx->jwks->drop = fx->discovery->drop = true;
}

static void turn_until_has(struct fixture *fx, const char *kid)
{
    while (!has(fx, kid)) {
        uv_run(&fx->loop, UV_RUN_ONCE);
    }
}

static void keys_survive_an_hour_without_provider(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    stop_provider(fx);
    unsigned before = fx->jwks->hits;
    for (int second = 0; second < 3600; second += 10) {
        fx->now += 10;
        uint64_t failures = stats(fx).failures;
        issuers_tick(fx->issuers);
        if (second % 600 == 590) {
            settle(fx, failures, 0);
        }
        assert_true(has(fx, "a"));
        uv_run(&fx->loop, UV_RUN_NOWAIT);
    }
    settle(fx, 2, 0);
    assert_true(stats(fx).last_error[0] != '\0');
    assert_true(issuer_is_failing(fx->issuer));
    assert_true(issuers_ready(fx->issuers));
    assert_in_range(fx->jwks->hits - before, 2, 3600 / (unsigned)LIMIT_KEYS_COOLDOWN + 5);
    fx->jwks->drop = fx->discovery->drop = false;
    fx->jwks->body = set_ab;
    fx->now += LIMIT_KEYS_COOLDOWN;
    issuers_tick(fx->issuers);
    turn_until_has(fx, "b");
    assert_true(has(fx, "b"));
    assert_false(issuer_is_failing(fx->issuer));
    assert_string_equal(stats(fx).last_error, "");
}

/* ---- a provider that does not answer ---- */

static void turn_until_hits(struct fixture *fx, struct fake_route *route, unsigned hits)
{
    while (route->hits < hits) {
        uv_run(&fx->loop, UV_RUN_ONCE);
    }
}

/* Is asker.done after the ticks and turns that it takes to send waiters away? */
static bool is_sent_away(struct fixture *fx, const struct asker *asker)
{
    issuers_tick(fx->issuers);
    for (int i = 0; i < 20 && !asker->done; i++) {
        uv_run(&fx->loop, UV_RUN_NOWAIT);
    }
    return asker->done;
}

static void nobody_waits_long_for_a_provider_that_hangs(void **state)
{
    struct fixture *fx = *state;
    struct asker first, second, third;
    fx->discovery->hang = true;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &first), 1);
    turn_until_hits(fx, fx->discovery, 1);
    fx->now += LIMIT_KEYS_WAIT - 0.5;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &second), 1);
    assert_false(is_sent_away(fx, &first));
    assert_false(issuer_is_failing(fx->issuer));
    fx->now += 0.5; /* the flight's age counts, not how long each has waited */
    assert_true(is_sent_away(fx, &first) && is_sent_away(fx, &second));
    assert_true(issuer_is_failing(fx->issuer));
    assert_string_equal(stats(fx).last_error, "no answer for 3 s");
    assert_int_equal(ask_of(fx, fx->issuer, "a", &third), 0); /* and nobody waits anew */
    assert_hits(fx, 1, 0);
    assert_int_equal(stats(fx).failures, 0); /* it goes on */
}

/* What comes after the first has given up is used; then there is waiting again. */
static void keys_that_come_late_are_used(void **state)
{
    struct fixture *fx = *state;
    struct asker asker;
    fx->jwks->hang = true;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &asker), 1);
    turn_until_hits(fx, fx->jwks, 1);
    fx->now += LIMIT_KEYS_WAIT;
    assert_true(is_sent_away(fx, &asker));
    fx->jwks->hang = false;
    fake_answer(fx->fake.conns, fx->jwks, false);
    turn_until_has(fx, "a");
    assert_false(issuer_is_failing(fx->issuer));
    assert_string_equal(stats(fx).last_error, "");
    fx->jwks->body = set_ab;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
}

/* A second flight to a provider that hung makes nobody wait; one that fails in time does again. */
static void a_flight_that_ends_in_time_is_waited_for_again(void **state)
{
    struct fixture *fx = *state;
    struct asker asker;
    fx->discovery->hang = true;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &asker), 1);
    turn_until_hits(fx, fx->discovery, 1);
    fx->now += LIMIT_KEYS_WAIT;
    assert_true(is_sent_away(fx, &asker));
    fake_conn_close(fx->fake.conns);
    settle(fx, 1, 1);
    fx->discovery->hang = false;
    fx->discovery->drop = true;
    fx->now += LIMIT_KEYS_RETRY;
    assert_int_equal(ask_of(fx, fx->issuer, "a", &asker), 0);
    settle(fx, 2, 2);
    fx->now += LIMIT_KEYS_RETRY;
    assert_true(want(fx, "a"));
    fx->discovery->drop = false;
    fx->now += LIMIT_KEYS_RETRY;
    assert_true(want(fx, "a"));
    assert_true(has(fx, "a"));
}

/* Another worker fetches, and hangs: who waits for what it brings is sent away as well. */
static void nobody_waits_long_for_another_worker(void **state)
{
    struct fixture *fx = *state;
    struct issuers *others = new_issuers(fx);
    struct issuer *other = get_from(others, fx->url);
    struct asker theirs, ours;
    fx->discovery->hang = true;
    assert_int_equal(ask_of(fx, other, "a", &theirs), 1);
    turn_until_hits(fx, fx->discovery, 1);
    assert_int_equal(ask_of(fx, fx->issuer, "a", &ours), 1);
    for (int i = 0; i < 20; i++) {
        uv_run(&fx->loop, UV_RUN_NOWAIT);
    }
    fx->now += LIMIT_KEYS_WAIT;
    issuers_tick(others);
    wait_for(fx, &ours.done);
    assert_true(issuer_is_failing(fx->issuer));
    assert_hits(fx, 1, 0);
    issuers_free(others);
}

/* Those who come for any key, or for a kid that no key can have, change nothing for who waits. */
static void whoever_comes_lengthens_no_wait(void **state)
{
    struct fixture *fx = *state;
    struct issuers *others = new_issuers(fx);
    struct asker theirs, ours, next, odd;
    char kid[LIMIT_KID_BYTES + 2] = "";
    memset(kid, 'k', sizeof(kid) - 1);
    fx->discovery->hang = true;
    assert_int_equal(ask_of(fx, get_from(others, fx->url), "a", &theirs), 1);
    turn_until_hits(fx, fx->discovery, 1);
    assert_int_equal(ask_of(fx, fx->issuer, "", &ours), 1);
    uv_run(&fx->loop, UV_RUN_NOWAIT);
    fx->now += LIMIT_KEYS_WAIT - 1;
    assert_int_equal(ask_of(fx, fx->issuer, "", &next), 1);
    assert_int_equal(ask_of(fx, fx->issuer, kid, &odd), 1);
    fx->now += 1;
    wait_for(fx, &ours.done);
    wait_for(fx, &next.done);
    wait_for(fx, &odd.done);
    assert_true(issuer_is_failing(fx->issuer));
    issuer_cancel(&theirs.wait);
    issuers_free(others);
}

static void keys_do_not_outlive_the_limit(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    stop_provider(fx);
    fx->now += LIMIT_KEYS_STALE;
    issuers_tick(fx->issuers);
    settle(fx, 1, 0);
    assert_true(has(fx, "a"));
    fx->now += 1;
    issuers_tick(fx->issuers);
    assert_false(has(fx, "a"));
    assert_true(stats(fx).keys_age < 0);
    want(fx, "a");
    assert_false(has(fx, "a"));
}

static void restart_takes_the_keys_from_disk(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    issuers_free(fx->issuers);
    stop_provider(fx);
    fx->now += 3600;
    fx->issuers = new_issuers(fx);
    fx->issuer = get_from(fx->issuers, fx->url);
    assert_true(has(fx, "a")); /* before anything was asked */
    assert_true(fabs(stats(fx).keys_age - 3600) < 1);
    promise(fx);
    assert_true(issuers_ready(fx->issuers));
    settle(fx, 1, 0);
    assert_true(has(fx, "a"));
    fx->now += LIMIT_KEYS_STALE - 3600 + 1; /* its age counts on */
    issuers_tick(fx->issuers);
    assert_false(has(fx, "a"));
}

static void restart_refreshes_what_it_takes_from_disk(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    issuers_free(fx->issuers);
    fx->jwks->body = set_b;
    fx->now += 60;
    fx->issuers = new_issuers(fx);
    fx->issuer = get_from(fx->issuers, fx->url);
    promise(fx);
    assert_true(has(fx, "a"));
    want(fx, "b");
    assert_true(has(fx, "b"));
    assert_false(has(fx, "a"));
}

/* An hour on, an hour back, 1970: nothing is fetched for it, and no wait grows longer. */
static void a_clock_that_is_set_changes_no_age(void **state)
{
    static const double sets[] = {3600, -3600, -1000000, 0};
    struct fixture *fx = *state;
    want(fx, "a");
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        fx->set = sets[i];
        fx->now += 1;
        issuers_tick(fx->issuers);
        uv_run(&fx->loop, UV_RUN_NOWAIT);
        assert_true(has(fx, "a"));
        assert_hits(fx, 1, 1);
    }
    stop_provider(fx);
    assert_true(want(fx, "b"));
    assert_false(has(fx, "b"));
    fx->set = -3600;
    fx->now += LIMIT_KEYS_RETRY;
    fx->jwks->drop = fx->discovery->drop = false;
    fx->jwks->body = set_ab;
    assert_true(want(fx, "b")); /* the copy on disk, an hour in the future, is no newer one */
    assert_true(has(fx, "b"));
}

/* Nobody can tell how old another worker's set is when the clock was set back meanwhile. */
static void a_set_from_the_future_is_not_taken_for_new(void **state)
{
    struct fixture *fx = *state;
    want(fx, "a");
    struct issuers *others = new_issuers(fx);
    struct issuer *mine = fx->issuer, *other = get_from(others, fx->url);
    fx->now += LIMIT_KEYS_COOLDOWN;
    want(fx, "b"); /* fetched, and not there */
    fx->set = -3600;
    fx->jwks->body = set_ab;
    fx->issuer = other;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
    fx->issuer = mine;
    issuers_free(others);
}

static void damaged_files_are_ignored(void **state)
{
    static const char *const texts[] = {
        "", "{", "[]", "{\"identity\":\"x\",\"fetched_at\":1,\"jwks\":\"\"}", "{\"identity\":5}"};
    struct fixture *fx = *state;
    want(fx, "a");
    char path[128] = "";
    DIR *dir = opendir(fx->folder);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strstr(entry->d_name, ".json") != NULL) {
            snprintf(path, sizeof(path), "%s/%.60s", fx->folder, entry->d_name);
        }
        assert_null(strstr(entry->d_name, ".json.")); /* no half-written file stays */
    }
    closedir(dir);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        FILE *file = fopen(path, "w");
        fputs(texts[i], file);
        fclose(file);
        issuers_free(fx->issuers);
        fx->issuers = new_issuers(fx);
        fx->issuer = get_from(fx->issuers, fx->url);
        assert_false(has(fx, "a"));
        assert_true(want(fx, "a"));
        assert_true(has(fx, "a"));
    }
}

static void provider_that_was_never_there_is_retried(void **state)
{
    struct fixture *fx = *state;
    stop_provider(fx);
    promise(fx);
    assert_true(want(fx, "a"));
    assert_false(has(fx, "a"));
    assert_false(issuers_ready(fx->issuers));
    assert_false(want(fx, "a")); /* at once it would be useless */
    assert_hits(fx, 1, 0);
    fx->discovery->drop = fx->jwks->drop = false;
    fx->now += LIMIT_KEYS_RETRY;
    assert_true(want(fx, "a")); /* a failed discovery does not stick */
    assert_true(has(fx, "a"));
    assert_true(issuers_ready(fx->issuers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_flight_that_ends_in_time_is_waited_for_again),
        CASE(keys_that_come_late_are_used),
        CASE(nobody_waits_long_for_a_provider_that_hangs),
        CASE(nobody_waits_long_for_another_worker),
        CASE(whoever_comes_lengthens_no_wait),
        CASE(a_clock_that_is_set_changes_no_age),
        CASE(a_set_from_the_future_is_not_taken_for_new),
        CASE(damaged_files_are_ignored),
        CASE(keys_do_not_outlive_the_limit),
        CASE(keys_survive_an_hour_without_provider),
        CASE(provider_that_was_never_there_is_retried),
        CASE(restart_refreshes_what_it_takes_from_disk),
        CASE(restart_takes_the_keys_from_disk),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
