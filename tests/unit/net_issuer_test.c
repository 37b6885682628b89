/* The key fetcher against a small issuer in the same loop, with a clock of the test's own. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "fake_http.h"
#include "base/limits.h"
#include "net/discovery.h"
#include "net/issuer.h"
#include "net/kid_gate.h"

#define DISCOVERY "/.well-known/openid-configuration"
#define JWKS      "/jwks.json"

struct fixture {
    uv_loop_t loop;
    uv_timer_t guard; /* ends a test that waits for what does not come */
    struct client *client;
    struct issuers *issuers;
    struct issuer *issuer;
    struct fake fake;
    struct fake_route *discovery, *jwks;
    char folder[64], url[64], document[256];
    double now;
};

/* Public key sets by name of their kids: "a", "b", "ab". Made once. */
static char *set_a, *set_b, *set_ab;

static double on_now(void *arg)
{
    return ((struct fixture *)arg)->now;
}

/* ---- keys ---- */

static json_t *make_jwk(const char *kid)
{
    struct key *key;
    struct err err;
    assert_int_equal(key_generate(ALG_ES256, &key, &err), 0);
    key_set_kid(key, str_from(kid));
    json_t *jwk = key_to_jwk(key, ALG_ES256);
    assert_non_null(jwk);
    key_unref(key);
    return jwk;
}

static char *dump_set(json_t *first, json_t *second)
{
    json_t *keys = json_array();
    json_array_append(keys, first);
    if (second != NULL) {
        json_array_append(keys, second);
    }
    json_t *set = json_pack("{s:o}", "keys", keys);
    char *text = json_dumps(set, 0);
    json_decref(set);
    return text;
}

static int make_keys(void **state)
{
    (void)state;
    log_setup(LOG_FORMAT_JSON, LOG_ERROR + 1);
    signal(SIGPIPE, SIG_IGN);
    json_t *a = make_jwk("a"), *b = make_jwk("b");
    set_a = dump_set(a, NULL);
    set_b = dump_set(b, NULL);
    set_ab = dump_set(a, b);
    json_decref(a);
    json_decref(b);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    free(set_a);
    free(set_b);
    free(set_ab);
    return 0;
}

/* ---- fixture ---- */

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing came");
}

static struct issuer *get_from(struct issuers *issuers, const char *url)
{
    struct err err;
    struct issuer *issuer = issuers_get(issuers, str_from(url), STR(""), &err);
    if (issuer == NULL) {
        fail_msg("%s", err.text);
    }
    return issuer;
}

static struct issuers *new_issuers(struct fixture *fx)
{
    struct issuers *issuers = issuers_new(&fx->loop, fx->client, fx->folder);
    assert_non_null(issuers);
    issuers_set_clock(issuers, on_now, fx);
    return issuers;
}

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    strcpy(fx->folder, "/tmp/luafn-issuer-XXXXXX");
    assert_non_null(mkdtemp(fx->folder));
    uv_loop_init(&fx->loop);
    uv_timer_init(&fx->loop, &fx->guard);
    uv_timer_start(&fx->guard, on_guard, 20000, 0);
    uv_unref((uv_handle_t *)&fx->guard);
    fx->now = 1000000;
    fx->client = client_new(&fx->loop);
    fake_start(&fx->fake, &fx->loop, 0);
    snprintf(fx->url, sizeof(fx->url), "http://127.0.0.1:%d/", fx->fake.port);
    snprintf(fx->document, sizeof(fx->document), "{\"issuer\":\"%s\",\"jwks_uri\":\"%sjwks.json\"}",
             fx->url, fx->url);
    fx->discovery = fake_route(&fx->fake, DISCOVERY);
    fx->discovery->body = fx->document;
    fx->jwks = fake_route(&fx->fake, JWKS);
    fx->jwks->body = set_a;
    fx->issuers = new_issuers(fx);
    fx->issuer = get_from(fx->issuers, fx->url);
    *state = fx;
    return 0;
}

static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    issuers_free(fx->issuers);
    client_free(fx->client);
    fake_stop(&fx->fake);
    uv_close((uv_handle_t *)&fx->guard, NULL);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    remove_folder(fx->folder);
    free(fx);
    return 0;
}

/* ---- asking ---- */

struct asker {
    struct issuer_wait wait;
    struct fixture *fx;
    bool done;
    struct issuer_wait *also_cancel;
    bool free_all;
};

static void on_keys_done(struct issuer_wait *wait)
{
    struct asker *asker = container_of(wait, struct asker, wait);
    assert_false(asker->done);
    asker->done = true;
    uv_stop(&asker->fx->loop);
    if (asker->also_cancel != NULL) {
        issuer_cancel(asker->also_cancel);
    }
    if (asker->free_all) {
        issuers_free(asker->fx->issuers);
        asker->fx->issuers = NULL;
    }
}

static int ask_of(struct fixture *fx, struct issuer *issuer, const char *kid, struct asker *asker)
{
    *asker = (struct asker){.wait = {.done = on_keys_done}, .fx = fx};
    int queued = issuer_want(issuer, str_from(kid), &asker->wait);
    assert_false(asker->done);
    return queued;
}

static void wait_for(struct fixture *fx, const bool *done)
{
    while (!*done) {
        uv_run(&fx->loop, UV_RUN_DEFAULT);
    }
}

/* Asks and waits. Was there anything to wait for? */
static bool want_of(struct fixture *fx, struct issuer *issuer, const char *kid)
{
    struct asker asker;
    if (ask_of(fx, issuer, kid, &asker) == 0) {
        return false;
    }
    wait_for(fx, &asker.done);
    return true;
}

static bool want(struct fixture *fx, const char *kid)
{
    return want_of(fx, fx->issuer, kid);
}

static bool has_in(struct issuer *issuer, const char *kid)
{
    struct keyset *keys = issuer_keys(issuer)->keys;
    return keys != NULL && keyset_find(keys, str_from(kid)) != NULL;
}

static bool has(struct fixture *fx, const char *kid)
{
    return has_in(fx->issuer, kid);
}

static void assert_hits(struct fixture *fx, unsigned discovery, unsigned jwks)
{
    assert_int_equal(fx->discovery->hits, discovery);
    assert_int_equal(fx->jwks->hits, jwks);
}

static struct issuer_stats stats(struct fixture *fx)
{
    struct issuer_stats out;
    issuer_stats(fx->issuer, &out);
    return out;
}

/* Lets everything that was started come to its end. */
static void settle(struct fixture *fx, uint64_t failures, uint64_t fetches)
{
    for (int i = 0; i < 2000; i++) {
        struct issuer_stats now = stats(fx);
        uv_run(&fx->loop, UV_RUN_NOWAIT);
        if (now.failures >= failures && now.fetches >= fetches && i > 200) {
            return;
        }
        usleep(200); /* the answer travels through the kernel */
    }
    fail_msg("did not settle");
}

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
    issuer_prefetch(fx->issuer);
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

/* ---- outages ---- */

static void stop_provider(struct fixture *fx)
{
    fx->jwks->drop = fx->discovery->drop = true;
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
    want(fx, "b");
    assert_true(has(fx, "b"));
    assert_false(issuer_is_failing(fx->issuer));
    assert_string_equal(stats(fx).last_error, "");
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
    issuer_prefetch(fx->issuer);
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
    issuer_prefetch(fx->issuer);
    assert_true(has(fx, "a"));
    want(fx, "b");
    assert_true(has(fx, "b"));
    assert_false(has(fx, "a"));
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
    issuer_prefetch(fx->issuer);
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

/* ---- what the provider may say ---- */

static void bad_discoveries_are_refused(void **state)
{
    struct fixture *fx = *state;
    char other[256], slash[256], relative[256], http[256];
    int bare = (int)strlen(fx->url) - 1;
    snprintf(other, sizeof(other), "{\"issuer\":\"https://evil/\",\"jwks_uri\":\"%sjwks.json\"}",
             fx->url);
    snprintf(slash, sizeof(slash), "{\"issuer\":\"%.*s\",\"jwks_uri\":\"%sjwks.json\"}", bare,
             fx->url, fx->url);
    snprintf(relative, sizeof(relative), "{\"issuer\":\"%s\",\"jwks_uri\":\"/jwks.json\"}",
             fx->url);
    snprintf(http, sizeof(http), "{\"issuer\":\"%s\",\"jwks_uri\":\"http://example.com/k\"}",
             fx->url);
    const struct {
        int status;
        const char *body, *error; /* NULL: good */
    } cases[] = {
        {404, "{}", "Failed to fetch '%s" DISCOVERY "': 404 Not Found"},
        {429, "{}", "Failed to fetch '%s" DISCOVERY "': 429 Too Many Requests"},
        {200, "<html>", NULL},
        {200, "{}", "The OpenID configuration endpoint does not contain a valid jwks_uri"},
        {200, "{\"jwks_uri\":null}",
         "The OpenID configuration endpoint does not contain a valid jwks_uri"},
        {200, other, NULL},
        {200, relative, NULL},
        {200, http, NULL},
        {200, slash, ""},
        {200, fx->document, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = cases[i].error != NULL && cases[i].error[0] == '\0';
        issuers_free(fx->issuers);
        remove_folder(fx->folder);
        fx->issuers = new_issuers(fx);
        fx->issuer = get_from(fx->issuers, fx->url);
        fx->discovery->status = cases[i].status;
        fx->discovery->body = cases[i].body;
        assert_true(want(fx, "a"));
        assert_int_equal(has(fx, "a"), good);
        if (cases[i].error != NULL && !good) {
            char expected[256];
            const char *hole = strstr(cases[i].error, "%s");
            int before = hole != NULL ? (int)(hole - cases[i].error) : 0;
            snprintf(expected, sizeof(expected), "%.*s%.*s%s", before, cases[i].error,
                     hole != NULL ? bare : 0, fx->url, hole != NULL ? hole + 2 : cases[i].error);
            assert_string_equal(stats(fx).last_error, expected);
        }
        assert_int_equal(stats(fx).last_error[0] != '\0', !good);
    }
}

static void bad_sets_replace_no_good_one(void **state)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {{500, "{}"},           {200, "<html>"},
                 {200, "{}"},           {200, "{\"keys\":[]}"},
                 {200, "{\"keys\":5}"}, {200, "{\"keys\":[{\"kty\":\"RSA\"}]}"}};
    struct fixture *fx = *state;
    want(fx, "a");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t failures = stats(fx).failures;
        fx->now += LIMIT_KEYS_TTL;
        fx->jwks->status = cases[i].status;
        fx->jwks->body = cases[i].body;
        assert_true(want(fx, "other"));
        assert_int_equal(stats(fx).failures, failures + 1);
        assert_true(has(fx, "a"));
    }
    fx->now += LIMIT_KEYS_TTL;
    fx->jwks->status = 200;
    fx->jwks->body = set_b;
    want(fx, "b");
    assert_true(has(fx, "b"));
}

static void large_answers_are_refused(void **state)
{
    struct fixture *fx = *state;
    char *large = malloc(LIMIT_JWKS_BYTES + 2);
    memset(large, ' ', LIMIT_JWKS_BYTES + 1);
    memcpy(large, set_a, strlen(set_a));
    large[LIMIT_JWKS_BYTES + 1] = '\0';
    fx->jwks->body = large;
    want(fx, "a");
    assert_false(has(fx, "a"));
    assert_non_null(strstr(stats(fx).last_error, "EMSGSIZE"));
    large[LIMIT_JWKS_BYTES] = '\0';
    fx->now += LIMIT_KEYS_RETRY;
    want(fx, "a");
    assert_true(has(fx, "a"));
    free(large);
}

static void moved_keys_are_found_again(void **state)
{
    struct fixture *fx = *state;
    char moved[256];
    want(fx, "a");
    snprintf(moved, sizeof(moved), "{\"issuer\":\"%s\",\"jwks_uri\":\"%selsewhere\"}", fx->url,
             fx->url);
    fx->discovery->body = moved;
    fx->jwks->status = 404;
    fake_route(&fx->fake, "/elsewhere")->body = set_ab;
    assert_true(want(fx, "b"));
    assert_true(has(fx, "b"));
    assert_hits(fx, 2, 2);
}

static void redirects_lead_to_loopback_only_by_the_rules(void **state)
{
    struct fixture *fx = *state;
    fx->jwks->status = 302;
    fx->jwks->headers = "Location: http://10.0.0.1/keys\r\n";
    want(fx, "a");
    assert_false(has(fx, "a"));
    fx->jwks->headers = "Location: /there\r\n";
    fake_route(&fx->fake, "/there")->body = set_a;
    fx->now += LIMIT_KEYS_RETRY;
    want(fx, "a");
    assert_true(has(fx, "a"));
}

static void urls_are_https_or_loopback(void **state)
{
    static const struct {
        const char *url, *jwks_uri;
        bool good;
    } cases[] = {
        {"https://issuer.example/", "", true},
        {"http://issuer.example/", "", false},
        {"http://localhost:1/", "", true},
        {"http://127.0.0.1:1/", "http://127.0.0.1:2/keys", true},
        {"https://issuer.example/2", "http://127.0.0.1:2/keys", false},
        {"https://issuer.example/3", "https://keys.example/", true},
        {"ftp://issuer.example/", "", false},
        {"issuer", "", false},
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {.text = ""};
        struct issuer *issuer =
            issuers_get(fx->issuers, str_from(cases[i].url), str_from(cases[i].jwks_uri), &err);
        assert_int_equal(issuer != NULL, cases[i].good);
        assert_int_equal(err.text[0] == '\0', cases[i].good);
        if (issuer != NULL) {
            assert_ptr_equal(issuers_by_source(fx->issuers, issuer_keys(issuer)), issuer);
            assert_ptr_equal(
                issuers_get(fx->issuers, str_from(cases[i].url), str_from(cases[i].jwks_uri), &err),
                issuer);
        }
    }
    struct key_source own = {0};
    assert_null(issuers_by_source(fx->issuers, &own));
}

static void one_slash_goes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://i", "https://i" DISCOVERY},
        {"https://i/", "https://i" DISCOVERY},
        {"https://i//", "https://i/" DISCOVERY},
        {"https://i/t/", "https://i/t" DISCOVERY},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *url = discovery_url(str_from(cases[i][0]));
        assert_string_equal(url, cases[i][1]);
        free(url);
    }
}

static void one_slash_more_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *issuer, *found;
        bool good, slash;
    } cases[] = {
        {"https://i/", "https://i/", true, false},  {"https://i", "https://i/", true, true},
        {"https://i/", "https://i", true, true},    {"https://i", "https://i//", false, false},
        {"https://i/", "https://j/", false, false}, {"https://i/", "https://I/", false, false},
        {"https://i/", "http://i/", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char document[256];
        char *uri = NULL;
        bool slash = false;
        struct err err = {.text = ""};
        snprintf(document, sizeof(document), "{\"issuer\":\"%s\",\"jwks_uri\":\"https://k/\"}",
                 cases[i].found);
        int code =
            discovery_read(str_from(document), str_from(cases[i].issuer), &uri, &slash, &err);
        assert_int_equal(code == 0, cases[i].good);
        assert_int_equal(uri != NULL, cases[i].good);
        assert_int_equal(err.text[0] != '\0', !cases[i].good);
        if (cases[i].good) {
            assert_int_equal(slash, cases[i].slash);
            assert_string_equal(uri, "https://k/");
        }
        free(uri);
    }
}

static void configured_jwks_uri_needs_no_discovery(void **state)
{
    struct fixture *fx = *state;
    char uri[128];
    struct err err;
    snprintf(uri, sizeof(uri), "%sjwks.json", fx->url);
    struct issuer *issuer = issuers_get(fx->issuers, str_from(fx->url), str_from(uri), &err);
    assert_ptr_not_equal(issuer, fx->issuer);
    want_of(fx, issuer, "a");
    assert_true(has_in(issuer, "a"));
    assert_false(has(fx, "a")); /* nor is it shared through the disk */
    want(fx, "a");
    assert_hits(fx, 1, 2);
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_discoveries_are_refused),
        CASE(bad_sets_replace_no_good_one),
        CASE(cancelled_askers_are_not_called),
        CASE(configured_jwks_uri_needs_no_discovery),
        CASE(damaged_files_are_ignored),
        CASE(everything_may_be_freed_at_any_stage),
        CASE(first_key_costs_one_of_each),
        CASE(floods_cost_one_fetch_a_cooldown),
        cmocka_unit_test(gate_rules),
        CASE(keys_do_not_outlive_the_limit),
        CASE(keys_survive_an_hour_without_provider),
        CASE(large_answers_are_refused),
        CASE(moved_keys_are_found_again),
        CASE(one_stray_kid_does_not_delay_a_rotation),
        cmocka_unit_test(one_slash_goes),
        cmocka_unit_test(one_slash_more_is_told),
        CASE(parallel_askers_share_one_flight),
        CASE(provider_that_was_never_there_is_retried),
        CASE(readiness_follows_the_keys),
        CASE(redirects_lead_to_loopback_only_by_the_rules),
        CASE(restart_refreshes_what_it_takes_from_disk),
        CASE(restart_takes_the_keys_from_disk),
        CASE(rotation_is_picked_up_at_once),
        CASE(unknown_kids_lock_nobody_out),
        CASE(urls_are_https_or_loopback),
        CASE(workers_do_not_wait_for_ever),
        CASE(workers_share_a_cold_start),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
