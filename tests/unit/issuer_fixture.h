/* A key fetcher against a small issuer in the same loop, with a clock of the test's own. */
#pragma once

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
#include "issuer/discovery.h"
#include "issuer/issuer.h"
#include "issuer/kid_gate.h"

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
    double set; /* by how much the wall clock has been set */
    struct issuer *promised[4];
    unsigned promised_count;
};

/* Public key sets by name of their kids: "a", "b", "ab". Made once. */
static char *set_a, *set_b, *set_ab;

static inline double on_now(void *arg)
{
    return ((struct fixture *)arg)->now;
}

static inline double on_wall(void *arg)
{
    const struct fixture *fx = arg;
    return fx->now + fx->set;
}

/* ---- keys ---- */

static inline json_t *make_jwk(const char *kid)
{
    struct key *key;
    struct err err;
    assert_int_equal(key_generate(ALG_ES256, &key, &err), 0);
    key_set_kid(key, str_from(kid));
    json_t *jwk = jwk_write_key(key, ALG_ES256);
    assert_non_null(jwk);
    key_unref(key);
    return jwk;
}

static inline char *dump_set(json_t *first, json_t *second)
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

static inline int make_keys(void **state)
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

static inline int free_keys(void **state)
{
    (void)state;
    free(set_a);
    free(set_b);
    free(set_ab);
    return 0;
}

/* ---- fixture ---- */

static inline void on_guard(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing came");
}

static inline struct issuer *get_from(struct issuers *issuers, const char *url)
{
    struct err err;
    struct issuer *issuer = issuers_get(issuers, str_from(url), STR(""), &err);
    if (issuer == NULL) {
        fail_msg("%s", err.text);
    }
    return issuer;
}

static inline struct issuers *new_issuers(struct fixture *fx)
{
    struct issuers *issuers = issuers_new(&fx->loop, fx->client, fx->folder);
    assert_non_null(issuers);
    issuers_set_clock(issuers, on_now, on_wall, fx);
    return issuers;
}

static inline int setup(void **state)
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

/* A user of fx->issuer who must not wait for keys, until the end of the test. */
static inline void promise(struct fixture *fx)
{
    assert_true(fx->promised_count < 4);
    fx->promised[fx->promised_count++] = fx->issuer;
    issuer_use(fx->issuer, true);
}

static inline void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

static inline int teardown(void **state)
{
    struct fixture *fx = *state;
    issuers_free(fx->issuers);
    client_free(fx->client);
    fake_stop(&fx->fake);
    uv_close((uv_handle_t *)&fx->guard, NULL);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    while (fx->promised_count > 0) {
        issuer_leave(fx->promised[--fx->promised_count], true);
    }
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

static inline void on_keys_done(struct issuer_wait *wait)
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

static inline int ask_of(struct fixture *fx, struct issuer *issuer, const char *kid,
                         struct asker *asker)
{
    *asker = (struct asker){.wait = {.done = on_keys_done}, .fx = fx};
    int queued = issuer_want(issuer, str_from(kid), &asker->wait);
    assert_false(asker->done);
    return queued;
}

static inline void wait_for(struct fixture *fx, const bool *done)
{
    while (!*done) {
        uv_run(&fx->loop, UV_RUN_DEFAULT);
    }
}

/* Asks and waits. Was there anything to wait for? */
static inline bool want_of(struct fixture *fx, struct issuer *issuer, const char *kid)
{
    struct asker asker;
    if (ask_of(fx, issuer, kid, &asker) == 0) {
        return false;
    }
    wait_for(fx, &asker.done);
    return true;
}

static inline bool want(struct fixture *fx, const char *kid)
{
    return want_of(fx, fx->issuer, kid);
}

static inline bool has_in(struct issuer *issuer, const char *kid)
{
    struct keyset *keys = issuer_keys(issuer)->keys;
    return keys != NULL && keyset_find(keys, str_from(kid), ALG_NONE_KNOWN) != NULL;
}

static inline bool has(struct fixture *fx, const char *kid)
{
    return has_in(fx->issuer, kid);
}

static inline void assert_hits(struct fixture *fx, unsigned discovery, unsigned jwks)
{
    assert_int_equal(fx->discovery->hits, discovery);
    assert_int_equal(fx->jwks->hits, jwks);
}

static inline struct issuer_stats stats(struct fixture *fx)
{
    struct issuer_stats out;
    issuer_stats(fx->issuer, &out);
    return out;
}

/* Lets everything that was started come to its end. */
static inline void settle(struct fixture *fx, uint64_t failures, uint64_t fetches)
{
    for (int i = 0;; i++) {
        struct issuer_stats now = stats(fx);
        uv_run(&fx->loop, UV_RUN_NOWAIT);
        if (now.failures >= failures && now.fetches >= fetches && i > 200) {
            return;
        }
        usleep(200); /* the answer travels through the kernel */
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
